//! sock_diag questions and answers, as bytes. No system calls here.
//!
//! A question names one TCP socket by its two addresses, and by its cookie where that is known; the kernel looks it up in its hash table (no
//! walk, no dump) and answers with what `ss` would print of it. `linux/inet_diag.h` and `linux/netlink.h` fix the
//! layouts below.

use crate::protocol::Address;
use bytemuck::{Pod, Zeroable, bytes_of, pod_read_unaligned};

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `INET_DIAG_INFO`: the attribute that holds `struct tcp_info`; asked for by bit `INFO - 1`.
const INFO: u16 = 2;
/// `INET_DIAG_NOCOOKIE`, in both words: any cookie.
const ANY_COOKIE: u64 = u64::MAX;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// `ENOENT`: no such socket, or (asked by a cookie) another one by now.
const ENOENT: i32 = 2;
/// `ESTALE`: there is a socket with these addresses, but its cookie differs.
const ESTALE: i32 = 116;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NetlinkHeader {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// `struct inet_diag_sockid`. Ports and addresses are in network byte order; the cookie's low half comes first.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SocketId {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: SocketId,
}

/// `struct inet_diag_msg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Response {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SocketId,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

/// Bytes of a question.
pub const QUESTION: usize = size_of::<NetlinkHeader>() + size_of::<Request>();

/// What to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The socket's own address.
    pub local: Address,
    /// The socket's peer address.
    pub remote: Address,
    /// The socket's cookie; `None` for whichever socket has these addresses now.
    pub cookie: Option<u64>,
    /// Whether the byte counts are wanted (they cost the kernel a lock of the socket).
    pub counts: bool,
}

/// What the kernel knows of one TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The socket's own address.
    pub local: Address,
    /// The socket's peer address.
    pub remote: Address,
    /// `SO_COOKIE`.
    pub cookie: u64,
    /// Whether both directions are open.
    pub established: bool,
    /// The device that the socket is bound to, 0 for none.
    pub interface: u32,
    /// The socket's owner, as the user namespace of the asking socket's maker sees it.
    pub uid: u32,
    /// Stream bytes in both directions, where they were asked for.
    pub counts: Option<Counts>,
}

/// `tcpi_bytes_acked` and `tcpi_bytes_received`, in bytes, as the kernel counts them: a SYN or a FIN may count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Sent, and acknowledged by the peer.
    pub acked: u64,
    /// Received, whether read by the program or not.
    pub received: u64,
}

/// What a datagram on the netlink socket says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel found the socket.
    Found(SocketFacts),
    /// There is no such socket.
    Absent,
    /// The kernel refused the question, with this errno.
    Failed(i32),
    /// Not an answer to this question.
    Foreign,
}

/// Whether an address is IPv4 in its mapped form.
fn is_v4(address: &Address) -> bool {
    address.ip.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
}

/// An address as `struct inet_diag_sockid` wants it under `family`.
fn to_kernel(address: &Address, family: u8) -> [u8; 16] {
    if family == AF_INET6 {
        return address.ip;
    }
    let mut out = [0; 16];
    out[..4].copy_from_slice(&address.ip[12..]);
    out
}

/// The reverse of [`to_kernel`].
fn from_kernel(raw: [u8; 16], port: [u8; 2], family: u8) -> Address {
    let mut ip = raw;
    if family == AF_INET {
        ip = [0; 16];
        ip[10..12].fill(0xff);
        ip[12..].copy_from_slice(&raw[..4]);
    }
    Address { ip, port: u16::from_be_bytes(port), reserved: 0 }
}

impl Question {
    /// The datagram that asks it. `sequence` is what the answer must carry.
    ///
    /// Two IPv4 addresses are asked for as `AF_INET`: the kernel finds an IPv6 socket with mapped addresses by the same
    /// key, so the socket's own family need not be known.
    pub fn encode(&self, sequence: u32) -> [u8; QUESTION] {
        let family = if is_v4(&self.local) && is_v4(&self.remote) { AF_INET } else { AF_INET6 };
        let cookie = self.cookie.unwrap_or(ANY_COOKIE);
        let header = NetlinkHeader { length: QUESTION as u32, kind: BY_FAMILY, flags: REQUEST, sequence, port: 0 };
        let request = Request {
            family,
            protocol: IPPROTO_TCP,
            extensions: if self.counts { 1 << (INFO - 1) } else { 0 },
            pad: 0,
            states: u32::MAX,
            id: SocketId {
                source_port: self.local.port.to_be_bytes(),
                destination_port: self.remote.port.to_be_bytes(),
                source: to_kernel(&self.local, family),
                destination: to_kernel(&self.remote, family),
                interface: 0,
                cookie: [cookie as u32, (cookie >> 32) as u32],
            },
        };
        let mut out = [0; QUESTION];
        out[..size_of::<NetlinkHeader>()].copy_from_slice(bytes_of(&header));
        out[size_of::<NetlinkHeader>()..].copy_from_slice(bytes_of(&request));
        out
    }

    /// Reads one datagram. What does not fit the question in sequence, kind, addresses or cookie is
    /// [`Answer::Foreign`]: someone else may be asking through the same socket.
    pub fn decode(&self, sequence: u32, datagram: &[u8]) -> Answer {
        let Some((header, body)) = split::<NetlinkHeader>(datagram) else { return Answer::Foreign };
        let length = header.length as usize;
        if header.sequence != sequence || length < size_of::<NetlinkHeader>() || length > datagram.len() {
            return Answer::Foreign;
        }
        let body = &body[..length - size_of::<NetlinkHeader>()];
        match header.kind {
            ERROR => match split::<i32>(body) {
                Some((code, _)) if code == -ENOENT || code == -ESTALE => Answer::Absent,
                Some((code, _)) if code < 0 => Answer::Failed(code.saturating_neg()),
                _ => Answer::Foreign,
            },
            BY_FAMILY => match self.read_response(body) {
                Some(facts) => Answer::Found(facts),
                None => Answer::Foreign,
            },
            _ => Answer::Foreign,
        }
    }

    fn read_response(&self, body: &[u8]) -> Option<SocketFacts> {
        let (response, attributes) = split::<Response>(body)?;
        if response.family != AF_INET && response.family != AF_INET6 {
            return None;
        }
        let id = response.id;
        let facts = SocketFacts {
            local: from_kernel(id.source, id.source_port, response.family),
            remote: from_kernel(id.destination, id.destination_port, response.family),
            cookie: u64::from(id.cookie[0]) | u64::from(id.cookie[1]) << 32,
            established: response.state == ESTABLISHED,
            interface: id.interface,
            uid: response.uid,
            counts: if self.counts { counts(attributes) } else { None },
        };
        // A listener answers for a connection that it does not have: then the addresses differ, and it is none.
        let same_socket = self.cookie.is_none_or(|cookie| cookie == facts.cookie);
        (facts.local == self.local && facts.remote == self.remote && same_socket).then_some(facts)
    }
}

/// A `T` at the start of `bytes`, and the rest.
fn split<T: Pod>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (start, rest) = bytes.split_at_checked(size_of::<T>())?;
    Some((pod_read_unaligned(start), rest))
}

/// Finds `struct tcp_info` among netlink attributes and takes the two counts out of it.
fn counts(mut attributes: &[u8]) -> Option<Counts> {
    /// Offsets in `struct tcp_info`, which only ever grows at its end.
    const ACKED: usize = 120;
    const RECEIVED: usize = 128;
    while let Some(([length, kind], _)) = split::<[u16; 2]>(attributes) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        if kind == INFO {
            let word = |at: usize| Some(u64::from_ne_bytes(*value.get(at..)?.first_chunk()?));
            return Some(Counts { acked: word(ACKED)?, received: word(RECEIVED)? });
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(last: u8, port: u16) -> Address {
        let mut ip = [0; 16];
        ip[10..12].fill(0xff);
        ip[12..].copy_from_slice(&[127, 0, 0, last]);
        Address { ip, port, reserved: 0 }
    }

    fn question() -> Question {
        Question { local: v4(1, 1000), remote: v4(2, 2000), cookie: Some(0x1_0000_0002), counts: true }
    }

    /// An answer to `question()`, as the kernel writes it.
    fn answer(sequence: u32) -> Vec<u8> {
        let mut info = vec![0u8; 200];
        info[120..128].copy_from_slice(&11u64.to_ne_bytes());
        info[128..136].copy_from_slice(&22u64.to_ne_bytes());
        let mut out = Vec::new();
        let response = Response {
            family: AF_INET,
            state: ESTABLISHED,
            id: SocketId {
                source_port: 1000u16.to_be_bytes(),
                destination_port: 2000u16.to_be_bytes(),
                source: to_kernel(&v4(1, 0), AF_INET),
                destination: to_kernel(&v4(2, 0), AF_INET),
                interface: 0,
                cookie: [2, 1],
            },
            uid: 1000,
            ..Response::zeroed()
        };
        out.extend(bytes_of(&response));
        out.extend(bytes_of(&[5u16, 99])); // an attribute of one byte, padded
        out.extend([1, 0, 0, 0]);
        out.extend(bytes_of(&[4 + info.len() as u16, INFO]));
        out.extend(info);
        let length = (size_of::<NetlinkHeader>() + out.len()) as u32;
        let header = NetlinkHeader { length, kind: BY_FAMILY, flags: 0, sequence, port: 0 };
        [bytes_of(&header), &out].concat()
    }

    #[test]
    fn an_answer_is_read() {
        let Answer::Found(facts) = question().decode(5, &answer(5)) else { panic!() };
        assert_eq!((facts.local, facts.remote, facts.cookie), (v4(1, 1000), v4(2, 2000), 0x1_0000_0002));
        assert!(facts.established && facts.uid == 1000 && facts.interface == 0);
        assert_eq!(facts.counts, Some(Counts { acked: 11, received: 22 }));
    }

    #[test]
    fn an_answer_to_another_question_is_foreign() {
        assert_eq!(question().decode(6, &answer(5)), Answer::Foreign);
        for other in [
            Question { cookie: Some(3), ..question() },
            Question { local: v4(1, 1001), ..question() },
            Question { remote: v4(3, 2000), ..question() },
        ] {
            assert_eq!(other.decode(5, &answer(5)), Answer::Foreign);
        }
        let any = Question { cookie: None, ..question() };
        assert!(matches!(any.decode(5, &answer(5)), Answer::Found(_)));
    }

    #[test]
    fn errors_are_told_apart() {
        let error = |code: i32| {
            let header = NetlinkHeader { length: 20, kind: ERROR, flags: 0, sequence: 5, port: 0 };
            question().decode(5, &[bytes_of(&header), bytes_of(&code)].concat())
        };
        assert_eq!(error(-ENOENT), Answer::Absent);
        assert_eq!(error(-ESTALE), Answer::Absent);
        assert_eq!(error(-22), Answer::Failed(22));
        assert_eq!(error(0), Answer::Foreign);
        assert_eq!(error(i32::MIN), Answer::Failed(i32::MAX));
    }

    proptest! {
        #[test]
        fn damaged_answers_never_panic(cut in 0usize..500, at in 0usize..400, value: u8) {
            let mut bytes = answer(5);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = question().decode(5, &bytes);
        }

        #[test]
        fn addresses_survive_the_kernels_form(ip: [u8; 16], port: u16) {
            let address = Address { ip, port, reserved: 0 };
            let family = if is_v4(&address) { AF_INET } else { AF_INET6 };
            prop_assert_eq!(from_kernel(to_kernel(&address, family), port.to_be_bytes(), family), address);
        }
    }
}
