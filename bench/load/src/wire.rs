//! A TCP stream, encrypted or not, without blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use crate::system::bind_source;
use crate::target::Target;
use crate::tls;

/// How much one read may bring.
const READ_BUFFER: usize = 256 * 1024;

/// The longest record of TLS, and some room.
const RECORD: usize = 17 * 1024;

/// Where reads go; one pair for all connections.
pub struct Buffers {
    /// What the last read brought, decrypted.
    pub plain: Vec<u8>,
    /// The same as it was received; without TLS that is never written.
    encrypted: Vec<u8>,
}

impl Buffers {
    /// Empty buffers.
    pub fn new() -> Self {
        Self { plain: vec![0; READ_BUFFER + RECORD], encrypted: vec![0; READ_BUFFER] }
    }
}

/// What one read brought.
pub struct Received {
    /// Bytes in [`Buffers::plain`]; 0 where TLS talked to itself.
    pub length: usize,
    /// Whether the socket is empty now: a read that does not fill the buffer has emptied it.
    pub emptied: bool,
}

/// One stream.
pub struct Wire {
    /// The socket, for the poll to register.
    pub stream: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Starts to connect.
    pub fn connect(target: &Target, source: Option<SocketAddr>) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            bind_source(&socket, source)?;
        }
        match socket.connect(&target.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let session = target.trust.as_ref().map(|trust| trust.session()).transpose()?;
        Ok(Self { stream: TcpStream::from_std(socket.into()), session })
    }

    /// One read. The end of the stream is an [`ErrorKind::UnexpectedEof`].
    pub fn read(&mut self, buffers: &mut Buffers) -> io::Result<Received> {
        let buffer = match self.session {
            None => &mut buffers.plain[..READ_BUFFER],
            Some(_) => &mut buffers.encrypted[..],
        };
        let received = self.stream.read(buffer)?;
        if received == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let length = match &mut self.session {
            None => received,
            Some(session) => {
                tls::decrypt(session, &buffers.encrypted[..received], &mut buffers.plain)?
            }
        };
        // TLS may have to answer, in its handshake.
        self.flush()?;
        Ok(Received { length, emptied: received < READ_BUFFER })
    }

    /// Writes what fits; with TLS, one call makes one record, unless it is too long for that.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.stream.write(bytes),
            Some(session) => tls::write(session, &mut self.stream, bytes),
        }
    }

    /// Sends what TLS has encrypted and the socket did not take before, as far as it does now.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match tls::flush(session, &mut self.stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}
