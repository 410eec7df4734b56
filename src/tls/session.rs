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
    /// The client has broken the protocol, and been told by an alert.
    failed: bool,
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
            failed: false,
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
                self.failed = true;
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
        // Behind what was to be sent before it, if there is something.
        while let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(encode)), .. } =
            self.connection.process_tls_records(&mut [])
        {
            // Without an alert the end says enough.
            if append(encode, out).is_err() {
                return;
            }
        }
    }

    /// Encrypts `plain`, and returns how many bytes of `out` that took. There is room enough where
    /// `out` has [`encrypted_len`] bytes.
    ///
    /// # Errors
    /// Where the connection has failed, has not been established, or may not encrypt any more.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
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
        if self.closed || self.failed || !self.established {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::ClientConnection;
    use rustls::SupportedProtocolVersion;
    use rustls::version::{TLS12, TLS13};

    use super::*;
    use crate::tls::testing::{client, server_config};

    /// A server and its client, in memory. What the client says comes in pieces of a size.
    struct Pair {
        config: TlsConfig,
        session: TlsSession,
        client: ClientConnection,
        piece: usize,
        /// What has come of a record that is not whole.
        partial: Vec<u8>,
        /// Plaintext that the server has received.
        received: Vec<u8>,
        /// Records for the client.
        out: Vec<u8>,
        /// Plaintext that the client has received.
        heard: Vec<u8>,
    }

    impl Pair {
        fn new(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
            let config = server_config();
            let session = TlsSession::new(&config).unwrap();
            let client = client(version);
            let (partial, received, out, heard) = Default::default();
            Self { config, session, client, piece, partial, received, out, heard }
        }

        /// The same after the handshake.
        fn established(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
            let mut pair = Self::new(version, piece);
            while pair.client.is_handshaking() || !pair.session.is_established() {
                pair.exchange().unwrap();
            }
            pair
        }

        fn said_by_client(&mut self) -> Vec<u8> {
            let mut said = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut said).unwrap();
            }
            said
        }

        /// Brings to each what the other one has said.
        fn exchange(&mut self) -> Result<(), Error> {
            let said = self.said_by_client();
            self.hear(&said)?;
            let mut out = &std::mem::take(&mut self.out)[..];
            while !out.is_empty() {
                self.client.read_tls(&mut out).unwrap();
                self.client.process_new_packets().unwrap();
                // At the end of what is there it says that there may be more.
                let _ = self.client.reader().read_to_end(&mut self.heard);
            }
            Ok(())
        }

        fn hear(&mut self, records: &[u8]) -> Result<(), Error> {
            for piece in records.chunks(self.piece) {
                self.partial.extend_from_slice(piece);
                let mut plain = |bytes: &[u8]| self.received.extend_from_slice(bytes);
                let used = self.session.receive(&mut self.partial, &mut plain, &mut self.out)?;
                self.partial.drain(..used);
            }
            Ok(())
        }

        fn send(&mut self, plain: &[u8]) {
            let mut records = vec![0; encrypted_len(plain.len())];
            let len = self.session.encrypt(plain, &mut records).unwrap();
            self.out.extend_from_slice(&records[..len]);
        }

        fn heard_by_client(&mut self) -> Vec<u8> {
            std::mem::take(&mut self.heard)
        }
    }

    #[test]
    fn records_may_be_cut_anywhere() {
        let message: Vec<u8> = (0..40_000_u32).map(|index| index as u8).collect();
        for version in [&TLS12, &TLS13] {
            for piece in [1, 2, 3, 4, 5, 6, 7, 21, 22, 23, 1000, 16_384, 16_406, 1 << 20] {
                let mut pair = Pair::established(version, piece);
                pair.client.writer().write_all(&message).unwrap();
                pair.exchange().unwrap();
                assert_eq!(pair.received, message, "in pieces of {piece}");
                assert!(pair.partial.is_empty());
                pair.send(&message[..10_000]);
                pair.exchange().unwrap();
                assert_eq!(pair.heard_by_client(), &message[..10_000]);
            }
        }
    }

    #[test]
    fn what_is_encrypted_at_once_has_room() {
        for version in [&TLS12, &TLS13] {
            let mut pair = Pair::established(version, usize::MAX);
            for len in [1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 5 * RECORD_BYTES] {
                // The client has asked for something that goes out first.
                let _ = pair.client.refresh_traffic_keys();
                let said = pair.said_by_client();
                pair.hear(&said).unwrap();
                pair.send(&vec![7; len]);
                pair.exchange().unwrap();
                assert_eq!(pair.heard_by_client().len(), len);
            }
        }
    }

    #[test]
    fn a_client_is_told_of_once() {
        let mut pair = Pair::new(&TLS13, usize::MAX);
        assert_eq!(pair.session.facts(&pair.config), None);
        while !pair.session.is_established() {
            pair.exchange().unwrap();
        }
        let facts = pair.session.facts(&pair.config).unwrap();
        assert_eq!(facts.server_name.as_deref(), Some("localhost"));
        assert_eq!((facts.protocol, facts.cipher), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
        assert_eq!(facts.standard_cipher, "TLS_AES_256_GCM_SHA384");
        assert!(!facts.resumed && !facts.alpn && facts.peer_certificates.is_empty());
    }

    #[test]
    fn the_end_of_the_client_is_not_ours_and_what_comes_behind_it_is_ignored() {
        for version in [&TLS12, &TLS13] {
            let mut pair = Pair::established(version, 3);
            pair.client.writer().write_all(b"the last").unwrap();
            pair.client.send_close_notify();
            let mut said = pair.said_by_client();
            said.extend_from_slice(b"no record at all");
            pair.hear(&said).unwrap();
            assert_eq!(pair.received, b"the last");
            assert!(pair.session.peer_has_closed());
            pair.send(b"an answer");
            pair.session.close(&mut pair.out);
            let len = pair.out.len();
            pair.session.close(&mut pair.out);
            assert_eq!(pair.out.len(), len, "the end is said once");
            pair.exchange().unwrap();
            assert_eq!(pair.heard_by_client(), b"an answer");
            assert!(pair.session.encrypt(b"late", &mut [0; 1000]).is_err());
        }
    }

    #[test]
    fn nothing_is_said_before_the_handshake_is_over() {
        let mut pair = Pair::new(&TLS13, usize::MAX);
        assert!(pair.session.encrypt(b"early", &mut [0; 1000]).is_err());
        pair.session.close(&mut pair.out);
        assert_eq!(pair.out, b"");
        assert_eq!(pair.config.server.max_early_data_size, 0);
    }

    #[test]
    fn what_is_wrong_is_answered_by_an_alert() {
        let mut pair = Pair::new(&TLS13, usize::MAX);
        assert!(pair.hear(b"GET / HTTP/1.1\r\n\r\n").is_err());
        assert_eq!(pair.out[..3], [21, 3, 3]);
        let mut pair = Pair::established(&TLS12, usize::MAX);
        assert!(
            pair.hear(&[23, 3, 3, 0, 40].into_iter().chain([0; 40]).collect::<Vec<_>>()).is_err()
        );
        assert_eq!(pair.out[..3], [21, 3, 3]);
        assert!(pair.session.encrypt(b"afterwards", &mut [0; 1000]).is_err());
    }

    #[test]
    fn new_keys_are_answered_once_and_not_made_without_end() {
        let mut pair = Pair::established(&TLS13, usize::MAX);
        let ask = |pair: &mut Pair| {
            pair.client.refresh_traffic_keys().unwrap();
            let said = pair.said_by_client();
            pair.hear(&said)
        };
        for _ in 0..30 {
            ask(&mut pair).unwrap();
        }
        pair.send(b"by the new keys");
        assert!(pair.out.len() < 100, "{} bytes", pair.out.len());
        pair.client.writer().write_all(b"likewise").unwrap();
        pair.exchange().unwrap();
        assert_eq!(pair.heard_by_client(), b"by the new keys");
        assert_eq!(pair.received, b"likewise");
        assert!((0..100).any(|_| ask(&mut pair).is_err()));
    }
}
