//! TLS: the certificate that the servers show, and the client side of a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::Failure;

/// Prints a new self-signed certificate for 127.0.0.1 and its key, PEM in JSON.
pub fn print_certificate() -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let json = serde_json::json!({
        "cert": made.cert.pem(),
        "key": made.signing_key.serialize_pem(),
    });
    println!("{json}");
    Ok(())
}

/// How to encrypt, and whom to believe.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Trust {
    /// Trusts the certificate in a PEM file, for a server at this address.
    pub fn from_file(path: &Path, server: IpAddr) -> Result<Self, Failure> {
        let certificate = CertificateDer::from_pem_file(path)
            .map_err(|error| format!("--ca {}: {error}", path.display()))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        // One version and one cipher suite, so that all servers do the same work.
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Every connection is a new client.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), server: ServerName::IpAddress(server.into()) })
    }

    /// A session that has not begun.
    pub fn session(&self) -> io::Result<Box<ClientConnection>> {
        ClientConnection::new(Arc::clone(&self.config), self.server.clone())
            .map(Box::new)
            .map_err(io::Error::other)
    }
}

/// Encrypts as much of `plain` as the session takes, and sends what it can. What the socket does
/// not take stays in the session: see [`flush`].
pub fn write(
    session: &mut ClientConnection,
    stream: &mut TcpStream,
    plain: &[u8],
) -> io::Result<usize> {
    flush(session, stream)?;
    let taken = session.writer().write(plain)?;
    match flush(session, stream) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(taken),
    }
}

/// Sends what the session has ready.
pub fn flush(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(stream)?;
    }
    Ok(())
}

/// Decrypts what was received into `plain`, which must be longer by a record (16 KiB) than
/// `received`: part of one may be left from before. Returns how much that is.
pub fn decrypt(
    session: &mut ClientConnection,
    mut received: &[u8],
    plain: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    // The session takes a few KiB at a time, however much there is.
    while !received.is_empty() {
        session.read_tls(&mut received)?;
        session.process_new_packets().map_err(io::Error::other)?;
        loop {
            match session.reader().read(&mut plain[filled..]) {
                Ok(0) => break, // the server's close_notify; the end of the stream follows
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(filled)
}
