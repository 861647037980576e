//! TCP and Unix-domain stream sockets behind one face, made with std and so with libc's own calls.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use serde::{Deserialize, Serialize};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// An IPv4 address and port.
    Tcp(SocketAddrV4),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
}

impl Address {
    /// A loopback port of the kernel's choice.
    pub fn any_port() -> Address {
        Address::Tcp(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of the Unix domain.
    Unix(UnixListener),
}

impl Listener {
    /// Listens on `address`.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        Ok(match address {
            Address::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
            Address::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
        })
    }

    /// The address that a client connects to.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Listener::Tcp(listener) => Address::Tcp(ipv4(listener.local_addr()?)?),
            Listener::Unix(listener) => {
                let address = listener.local_addr()?;
                Address::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default())
            }
        })
    }

    /// Accepts one connection.
    pub fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Stream::tcp(listener.accept()?.0),
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Of TCP, with TCP_NODELAY.
    Tcp(TcpStream),
    /// Of the Unix domain.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `address`, with the congestion control named, if one is.
    pub fn connect(address: &Address, congestion: Option<&str>) -> io::Result<Stream> {
        match address {
            Address::Tcp(address) => {
                let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
                if let Some(name) = congestion {
                    setsockopt(&fd, sockopt::TcpCongestion, &OsStr::new(name).to_owned())?;
                }
                connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(*address))?;
                Stream::tcp(TcpStream::from(fd))
            }
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path)?)),
        }
    }

    fn tcp(stream: TcpStream) -> io::Result<Stream> {
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// The local address and the peer's, as `slipstream status` writes them; empty for the Unix domain.
    pub fn names(&self) -> io::Result<(String, String)> {
        Ok(match self {
            Stream::Tcp(stream) => (stream.local_addr()?.to_string(), stream.peer_addr()?.to_string()),
            Stream::Unix(_) => Default::default(),
        })
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buffer),
            Stream::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        match stream {
            Stream::Tcp(stream) => stream.into(),
            Stream::Unix(stream) => stream.into(),
        }
    }
}

fn ipv4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::other("not an IPv4 address")),
    }
}
