//! One connection of TLS: records in, plaintext out, and the other way round.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::server::UnbufferedServerConnection;
use rustls::server::danger::ClientCertVerifier;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{Error, HandshakeKind, ProtocolVersion};

use super::config::{TlsConfig, authorization_error, cipher_name, take_server_name};

/// Most bytes that a record can have beyond its plaintext: a header, and what the cipher adds
/// (RFC 8446 §5.2, RFC 5246 §6.2.3).
pub const RECORD_OVERHEAD: usize = 5 + 256;

/// Most bytes of plaintext in a record.
pub const RECORD_BYTES: usize = 16 << 10;

/// Most bytes of records that are kept because they are not whole: a message of a handshake may have
/// 64 KiB, which rustls accepts, and is spread over records of any size.
pub const MAX_PARTIAL: usize = 160 << 10;

/// TLS as the server speaks it with one client. Knows no socket: the caller brings records and takes
/// records away.
pub struct TlsSession {
    connection: Box<UnbufferedServerConnection>,
    /// What the client has asked for, until the handshake is over.
    server_name: Option<Box<str>>,
    /// The handshake is over.
    established: bool,
    /// The client has said that nothing more comes (close_notify).
    peer_closed: bool,
    /// We have said so.
    closed: bool,
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSession")
            .field("established", &self.established)
            .field("peer_closed", &self.peer_closed)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// What is known of a client once the handshake is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: &'static str,
    /// The cipher suite by OpenSSL's name.
    pub cipher: &'static str,
    /// The same by its registered name (RFC 8446 appendix B.4).
    pub standard_cipher: String,
    /// The host name that the client asked for.
    pub server_name: Option<String>,
    /// The client agreed to speak HTTP/1.1 by ALPN.
    pub alpn: bool,
    /// The handshake went on from an earlier connection.
    pub resumed: bool,
    /// Why a client that was asked for a certificate is not authorized, by OpenSSL's name.
    pub authorization_error: Option<&'static str>,
    /// The client's certificate chain in DER, its own first.
    pub peer_certificates: Vec<Vec<u8>>,
}

impl TlsSession {
    /// Waits for a client's first record.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new(config: &TlsConfig) -> Result<Self, Error> {
        let connection = Box::new(UnbufferedServerConnection::new(config.server.clone())?);
        Ok(Self {
            connection,
            server_name: None,
            established: false,
            peer_closed: false,
            closed: false,
        })
    }

    /// Whether the handshake is over, so that there may be plaintext.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the client has said that nothing more comes.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// What is known of the client, to be asked once. `None` before the handshake is over.
    pub fn facts(&mut self, config: &TlsConfig) -> Option<Facts> {
        let protocol = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let suite = self.connection.negotiated_cipher_suite()?;
        let chain = self.connection.peer_certificates().unwrap_or_default();
        Some(Facts {
            protocol,
            cipher: cipher_name(suite),
            standard_cipher: format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"),
            server_name: self.server_name.take().map(String::from),
            alpn: self.connection.alpn_protocol().is_some(),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            authorization_error: config
                .verifier
                .as_ref()
                .and_then(|verifier| self.authorization_error(&**verifier)),
            peer_certificates: chain.iter().map(|each| each.to_vec()).collect(),
        })
    }

    fn authorization_error(&self, verifier: &dyn ClientCertVerifier) -> Option<&'static str> {
        let Some([own, others @ ..]) = self.connection.peer_certificates() else {
            return Some("UNABLE_TO_GET_ISSUER_CERT");
        };
        let verified = verifier.verify_client_cert(own, others, UnixTime::now());
        verified.err().as_ref().map(authorization_error)
    }

    /// Takes records that have come. Hands their plaintext to `plain`, appends what has to be sent
    /// to `out`, and returns how many bytes were used: those behind are no whole record, and have to
    /// stand in front the next time. Never more plaintext comes out than records went in.
    ///
    /// # Errors
    /// Where the client breaks the protocol, or the handshake fails. The alert that says so is in
    /// `out`; nothing more can be received.
    pub fn receive(
        &mut self,
        records: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut records[used..]);
            if !self.established
                && let Some(name) = take_server_name()
            {
                self.server_name = Some(name);
            }
            let mut waits = false;
            let result = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut result = Ok(());
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plain(record.payload);
                            }
                            Err(error) => result = Err(error),
                        }
                    }
                    result
                }
                Ok(ConnectionState::EncodeTlsData(encode)) => append(encode, out),
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.established = true;
                    waits = true;
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    Ok(())
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    waits = true;
                    Ok(())
                }
                // Early data is not offered, and there are no other states.
                Ok(_) => Err(Error::General("an unexpected state".into())),
                Err(error) => Err(error),
            };
            used += discard;
            if let Err(error) = result {
                self.append_alert(out);
                return Err(error);
            }
            if waits {
                return Ok(used);
            }
        }
    }

    /// What rustls has to say of an error.
    fn append_alert(&mut self, out: &mut Vec<u8>) {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        if let Ok(ConnectionState::EncodeTlsData(encode)) = state {
            // Without an alert the end says enough.
            let _ = append(encode, out);
        }
    }

    /// Encrypts `plain`, and returns how many bytes of `out` that took. There is room enough where
    /// `out` has [`encrypted_len`] bytes.
    ///
    /// # Errors
    /// Where the connection has failed, has not been established, or may not encrypt any more.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        loop {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            match state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return match traffic.encrypt(plain, &mut out[len..]) {
                        Ok(count) => Ok(len + count),
                        Err(EncryptError::InsufficientSize(_)) => Err(invalid("too little room")),
                        Err(error) => Err(invalid(error)),
                    };
                }
                ConnectionState::EncodeTlsData(mut encode) => {
                    len += encode.encode(&mut out[len..]).map_err(invalid)?;
                }
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Appends the record that says that nothing more comes (close_notify), unless that has been
    /// said, or there is no connection yet.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.closed || !self.established {
            return;
        }
        self.closed = true;
        let mut record = [0; 2 * RECORD_OVERHEAD];
        loop {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Ok(len) = traffic.queue_close_notify(&mut record) {
                        out.extend_from_slice(&record[..len]);
                    }
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(encode)) => {
                    if append(encode, out).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                _ => return,
            }
        }
    }
}

/// How many bytes records with so much plaintext have at most, and what rustls may have to send
/// before them.
pub const fn encrypted_len(plain: usize) -> usize {
    plain + (plain / RECORD_BYTES + 4) * RECORD_OVERHEAD
}

fn append<Data>(mut encode: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    let needed = match encode.encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(EncodeError::AlreadyEncoded) => return Ok(()),
    };
    out.resize(start + needed, 0);
    encode.encode(&mut out[start..]).map(drop).map_err(|error| Error::General(error.to_string()))
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
