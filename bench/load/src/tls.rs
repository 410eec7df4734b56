//! TLS: the certificate that the servers show, and the client side of a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
};

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
    /// Trusts the certificate in a PEM file, and no other, for a server at this address.
    pub fn from_file(path: &Path, server: IpAddr) -> Result<Self, Failure> {
        let certificate = CertificateDer::from_pem_file(path)
            .map_err(|error| format!("--ca {}: {error}", path.display()))?;
        // One version and one cipher suite, so that all servers do the same work.
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Known::new(certificate)))
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

/// Accepts one certificate. The server has to prove once that it has the key; later on only the
/// certificate is compared: it is a server of ours, and a signature costs more to verify than to
/// make, so that the generator would have more to do in a handshake than what it measures.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    proven: AtomicBool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Known {
    fn new(certificate: CertificateDer<'static>) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Self { certificate, proven: AtomicBool::new(false), algorithms }
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 is the only version that was offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.proven.load(Ordering::Relaxed) {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)?;
            self.proven.store(true, Ordering::Relaxed);
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
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
