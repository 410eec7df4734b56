//! A connection whose descriptor is taken over from Node.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use rustix::net::{self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, sockopt};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket that is watched by the runtime of an I/O thread.
#[derive(Debug)]
pub struct Adopted(AsyncFd<Arc<OwnedFd>>);

pub(crate) type ReadyGuard<'a> = AsyncFdReadyGuard<'a, Arc<OwnedFd>>;

/// The socket of an [`Adopted`], for another thread to write to. It does not keep the descriptor open:
/// that is closed when its owner lets go of it, or at the end of a write under way.
#[derive(Debug)]
pub struct LentSocket(Weak<OwnedFd>);

/// A peer that is gone must not raise SIGPIPE. Node ignores it, which covers systems without the
/// flag.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// Bytes behind which our side ends at once wait for that, and leave with it in one packet.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BEFORE_END: SendFlags = SendFlags::MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BEFORE_END: SendFlags = SendFlags::empty();

impl Adopted {
    /// Registers `socket` with the runtime of the calling thread.
    ///
    /// # Errors
    /// When the operating system has no room for a further registration.
    pub fn watch(socket: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: the descriptor is owned, and neither closed nor exchanged while the `AsyncFd` has
        // it.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Only one task may wait at a time.
    pub(crate) async fn readable(&self) -> io::Result<ReadyGuard<'_>> {
        std::future::poll_fn(|context| self.poll_readable(context)).await
    }

    pub(crate) fn poll_readable(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyGuard<'_>>> {
        self.0.poll_read_ready(context)
    }

    pub(crate) async fn writable(&self) -> io::Result<ReadyGuard<'_>> {
        self.0.writable().await
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = net::recv(self.0.get_ref(), buffer, RecvFlags::empty())?;
        Ok(count)
    }

    /// As [`Self::read`], and leaves the bytes where they are.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = net::recv(self.0.get_ref(), buffer, RecvFlags::PEEK)?;
        Ok(count)
    }

    /// `ends` says that nothing is written behind these bytes.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>], ends: bool) -> io::Result<usize> {
        let flags = if ends { SEND_FLAGS | BEFORE_END } else { SEND_FLAGS };
        send(self.0.get_ref(), slices, flags)
    }

    pub(crate) fn shut_down(&self, how: Shutdown) {
        let how = match how {
            Shutdown::Read => net::Shutdown::Read,
            Shutdown::Write => net::Shutdown::Write,
            Shutdown::Both => net::Shutdown::Both,
        };
        // Fails only where the peer has gone already, which the reader sees as well.
        let _ = net::shutdown(self.0.get_ref(), how);
    }
}

impl LentSocket {
    /// Lends `socket` out.
    pub fn of(socket: &Arc<OwnedFd>) -> Self {
        Self(Arc::downgrade(socket))
    }

    /// Writes as much as fits and returns how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` where nothing fits, `NotConnected` where the socket has been closed; otherwise the
    /// connection is lost.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.0.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        send(&socket, slices, SEND_FLAGS)
    }

    /// The address of the peer; `None` for a unix socket, and once the socket has been closed.
    pub fn peer_address(&self) -> Option<IpAddr> {
        let socket = self.0.upgrade()?;
        let address: SocketAddr = net::getpeername(&socket).ok()??.try_into().ok()?;
        Some(address.ip())
    }
}

fn send(socket: &OwnedFd, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
    let sent = match slices {
        [one] => net::send(socket, one, flags),
        many => net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), flags),
    };
    Ok(sent?)
}

/// Duplicates `fd`, so that the connection lives on when Node closes its own descriptor.
///
/// The duplicate is close-on-exec and, for TCP, has Nagle's algorithm switched off.
///
/// # Errors
/// `InvalidInput` where the descriptor is not a connected TCP or unix stream socket; otherwise
/// what the operating system says, for example that the process is out of descriptors.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket has no descriptor"));
    }
    // SAFETY: `fd` is only borrowed for the length of this call, in which Node's socket, which
    // owns it, is alive on the calling JavaScript thread. A number that is not an open descriptor
    // makes the system call fail with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = borrowed.try_clone_to_owned()?;
    // Only a TCP socket takes this option, so that nothing else has to be asked of most. Node's
    // descriptors do not block.
    if sockopt::set_tcp_nodelay(&socket, true).is_err() && !is_unix_stream(socket.as_fd()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is not a TCP or unix stream socket",
        ));
    }
    Ok(socket)
}

/// A pair of connected sockets: what is written to one is read from the other.
///
/// # Errors
/// When the process is out of descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    // At once where that can be: a child that is started in between would have them as well.
    #[cfg(not(target_vendor = "apple"))]
    let flags = net::SocketFlags::CLOEXEC | net::SocketFlags::NONBLOCK;
    #[cfg(target_vendor = "apple")]
    let flags = net::SocketFlags::empty();
    let (one, other) = net::socketpair(AddressFamily::UNIX, net::SocketType::STREAM, flags, None)?;
    #[cfg(target_vendor = "apple")]
    for socket in [&one, &other] {
        rustix::io::ioctl_fionbio(socket, true)?;
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((one, other))
}

fn is_unix_stream(socket: BorrowedFd<'_>) -> bool {
    let is_stream = sockopt::socket_type(socket).is_ok_and(|kind| kind == net::SocketType::STREAM);
    is_stream
        && net::getsockname(socket).is_ok_and(|name| name.address_family() == AddressFamily::UNIX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_connection_outlives_the_descriptor_it_was_taken_from() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let adopted = adopt(ours.as_raw_fd()).unwrap();
        drop(ours);
        UnixStream::from(adopted).write_all(b"still here").unwrap();
        let mut seen = [0; 10];
        peer.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"still here");
    }

    #[test]
    fn descriptors_that_are_no_stream_sockets_are_refused() {
        assert_eq!(adopt(-1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let file = std::fs::File::open("Cargo.toml").unwrap();
        assert!(adopt(file.as_raw_fd()).is_err());
        let datagram = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert_eq!(adopt(datagram.as_raw_fd()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
