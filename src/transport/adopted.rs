//! A connection whose descriptor is taken over from Node.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};

use socket2::{Domain, Socket, Type};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket that is watched by the runtime of an I/O thread.
#[derive(Debug)]
pub struct Adopted(AsyncFd<Socket>);

pub(super) type ReadyGuard<'a> = AsyncFdReadyGuard<'a, Socket>;

/// A peer that is gone must not raise SIGPIPE.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const NO_SIGNAL: i32 = 0x4000;
/// Node ignores SIGPIPE, which covers systems without the flag.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const NO_SIGNAL: i32 = 0;

impl Adopted {
    /// Registers `socket` with the runtime of the calling thread.
    ///
    /// # Errors
    /// When the operating system has no room for a further registration.
    pub fn watch(socket: Socket) -> io::Result<Self> {
        // SAFETY: the socket owns its descriptor and is neither closed nor exchanged while the
        // `AsyncFd` has it; `Socket::as_raw_fd` always names that descriptor.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    pub(super) async fn readable(&self) -> io::Result<ReadyGuard<'_>> {
        std::future::poll_fn(|context| self.0.poll_read_ready(context)).await
    }

    pub(super) async fn writable(&self) -> io::Result<ReadyGuard<'_>> {
        self.0.writable().await
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_ref().read(buffer)
    }

    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.0.get_ref().send_with_flags(one, NO_SIGNAL),
            many => self.0.get_ref().send_vectored_with_flags(many, NO_SIGNAL),
        }
    }

    pub(super) fn shut_down(&self, how: Shutdown) {
        // Fails only where the peer has gone already, which the reader sees as well.
        let _ = self.0.get_ref().shutdown(how);
    }
}

/// Duplicates `fd`, so that the connection lives on when Node closes its own descriptor.
///
/// The duplicate is close-on-exec and, for TCP, has Nagle's algorithm switched off.
///
/// # Errors
/// `InvalidInput` where the descriptor is not a connected TCP or unix stream socket; otherwise
/// what the operating system says, for example that the process is out of descriptors.
pub fn adopt(fd: RawFd) -> io::Result<Socket> {
    if fd < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket has no descriptor"));
    }
    // SAFETY: `fd` is only borrowed for the length of this call, in which Node's socket, which
    // owns it, is alive on the calling JavaScript thread. A number that is not an open descriptor
    // makes the system call fail with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = Socket::from(borrowed.try_clone_to_owned()?);
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let domain = socket.domain()?;
    if !is_stream || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is not a TCP or unix stream socket",
        ));
    }
    socket.set_nonblocking(true)?;
    if domain != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
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
        let mut adopted = adopt(ours.as_raw_fd()).unwrap();
        drop(ours);
        adopted.write_all(b"still here").unwrap();
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
