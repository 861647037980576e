//! One message with its descriptors, as one packet of a `SOCK_SEQPACKET` socket.
//!
//! What comes out of [`receive`] has the size, the magic, the version and the number of descriptors that its kind asks
//! for; the fields of a message are still the sender's word.

use crate::protocol::{
    Header, Hello, Kind, MAGIC, MAX_FDS, MAX_MESSAGE, Notice, Offer, Prepare, StatusReply, VERSION, Welcome,
};
use bytemuck::pod_read_unaligned;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A message by its kind.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "handled one at a time, on the stack")]
pub enum Message {
    /// [`Kind::Hello`].
    Hello(Hello),
    /// [`Kind::Offer`].
    Offer(Offer),
    /// [`Kind::Welcome`].
    Welcome(Welcome),
    /// [`Kind::Prepare`].
    Prepare(Prepare),
    /// [`Kind::StatusReply`].
    StatusReply(StatusReply),
    /// Every other kind.
    Notice(Kind, Notice),
}

/// A message and what came with it.
#[derive(Debug)]
pub struct Packet {
    /// The message.
    pub message: Message,
    /// Its descriptors, as many as the kind asks for, all close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Why a packet is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header, or not the size of its kind.
    #[error("a packet of the wrong size")]
    Size,
    /// The first word is not [`MAGIC`].
    #[error("a packet that is not Slipstream's")]
    Magic,
    /// Another protocol version.
    #[error("a message of version {0}, not {VERSION}")]
    Version(u16),
    /// A kind that does not exist.
    #[error("a message of unknown kind {0}")]
    Kind(u16),
    /// More or fewer descriptors than the kind asks for.
    #[error("a message with the wrong number of descriptors")]
    Descriptors,
}

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The other end is gone.
    #[error("the other side closed the connection")]
    Closed,
    /// What came is not a message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The socket says so; `WOULDBLOCK` when there is nothing to read.
    #[error(transparent)]
    System(#[from] Errno),
}

/// Checks bytes and the number of descriptors beside them.
pub fn decode(bytes: &[u8], fds: usize) -> Result<Message, Malformed> {
    let Some(start) = bytes.first_chunk::<{ size_of::<Header>() }>() else { return Err(Malformed::Size) };
    let header: Header = pod_read_unaligned(start);
    if header.magic != MAGIC {
        return Err(Malformed::Magic);
    }
    if header.version != VERSION {
        return Err(Malformed::Version(header.version));
    }
    let kind = Kind::from_wire(header.kind).ok_or(Malformed::Kind(header.kind))?;
    if bytes.len() != kind.size() {
        return Err(Malformed::Size);
    }
    let wanted = match kind {
        Kind::Hello | Kind::Attach | Kind::StatusReply => 1..=1,
        Kind::Welcome => 0..=1,
        Kind::Prepare => 3..=4,
        _ => 0..=0,
    };
    if !wanted.contains(&fds) {
        return Err(Malformed::Descriptors);
    }
    Ok(match kind {
        Kind::Hello => Message::Hello(pod_read_unaligned(bytes)),
        Kind::Offer => Message::Offer(pod_read_unaligned(bytes)),
        Kind::Welcome => Message::Welcome(pod_read_unaligned(bytes)),
        Kind::Prepare => Message::Prepare(pod_read_unaligned(bytes)),
        Kind::StatusReply => Message::StatusReply(pod_read_unaligned(bytes)),
        _ => Message::Notice(kind, pod_read_unaligned(bytes)),
    })
}

/// Receives one packet; `flags` may say [`RecvFlags::DONTWAIT`].
///
/// # Errors
///
/// See [`ReceiveError`]. Descriptors of a packet that is refused are closed.
pub fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Packet, ReceiveError> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    // Taken out first: whatever is wrong with the packet, its descriptors must be owned in order to be closed.
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    for fd in &fds {
        // It may be a connection of the sender's whose closing would wait. Fails where it means nothing.
        let _ = rustix::net::sockopt::set_socket_linger(fd, None);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Malformed::Descriptors.into());
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Malformed::Size.into());
    }
    if received.bytes == 0 {
        // An empty packet looks the same; nobody who follows the protocol sends one.
        return Err(ReceiveError::Closed);
    }
    let message = decode(&bytes[..received.bytes], fds.len())?;
    Ok(Packet { message, fds })
}

/// Sends one packet without waiting.
///
/// # Errors
///
/// `WOULDBLOCK` when the other side does not read, `TOOMANYREFS` when too many descriptors are on their way.
pub fn send(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    loop {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&socket, &[IoSlice::new(message)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reason;
    use proptest::prelude::*;

    fn notice(kind: Kind) -> Vec<u8> {
        let notice =
            Notice { header: Header::new(kind, 7), pair: 0, reason: Reason::None as u16, side: 0, reserved: [0; 5] };
        bytemuck::bytes_of(&notice).to_vec()
    }

    #[test]
    fn each_check_has_its_error() {
        let good = notice(Kind::Withdraw);
        assert!(matches!(decode(&good, 0), Ok(Message::Notice(Kind::Withdraw, n)) if n.header.endpoint == 7));
        assert_eq!(decode(&[], 0).unwrap_err(), Malformed::Size);
        assert_eq!(decode(&good[..31], 0).unwrap_err(), Malformed::Size);
        assert_eq!(decode(&good, 1).unwrap_err(), Malformed::Descriptors);
        assert_eq!(decode(&notice(Kind::Attach), 0).unwrap_err(), Malformed::Descriptors);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            decode(&bytes, 0).unwrap_err()
        };
        assert_eq!(with(0, 0), Malformed::Magic);
        assert_eq!(with(4, 9), Malformed::Version(9));
        assert_eq!(with(6, 99), Malformed::Kind(99));
        assert_eq!(with(6, Kind::Offer as u8), Malformed::Size);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..MAX_MESSAGE), fds in 0usize..6) {
            let _ = decode(&bytes, fds);
            // The same behind a valid start, so that the kinds are reached.
            if bytes.len() >= 8 {
                bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
                bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
                bytes[7] = 0;
                if let Ok(Message::Notice(kind, _)) = decode(&bytes, fds) {
                    prop_assert_eq!(kind as u16, u16::from(bytes[6]));
                }
            }
        }
    }
}
