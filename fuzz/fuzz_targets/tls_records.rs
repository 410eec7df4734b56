//! Records of TLS from a client that may do anything: in any chunking the same comes out of them, and
//! that is what was said.
//!
//! Input: a byte that says where the client begins, the chunk sizes with their count before them, and
//! then either bytes in the place of a handshake, or what a client does after one.

#![no_main]

use std::io::Write;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use nextrush_websocket::tls::config::TlsConfig;
use nextrush_websocket::tls::session::{MAX_PARTIAL, TlsSession};
use nextrush_websocket_fuzz::feeding::arbitrary_sizes;
use nextrush_websocket_fuzz::tls::{client, server_config};
use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};

static CONFIG: LazyLock<TlsConfig> = LazyLock::new(server_config);

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let begin = input.arbitrary::<u8>().unwrap_or(0);
    let sizes = arbitrary_sizes(&mut input);
    match begin % 3 {
        0 => instead_of_a_handshake(input.take_rest(), &sizes),
        1 => after_a_handshake(client(&TLS12), &mut input, &sizes),
        _ => after_a_handshake(client(&TLS13), &mut input, &sizes),
    }
});

/// A server, and what it has received.
struct Server {
    session: TlsSession,
    partial: Vec<u8>,
    received: Vec<u8>,
    out: Vec<u8>,
    failed: bool,
}

impl Server {
    fn new() -> Self {
        let session = TlsSession::new(&CONFIG).unwrap();
        let (partial, received, out) = Default::default();
        Self { session, partial, received, out, failed: false }
    }

    /// Takes records in pieces of these sizes, over and over.
    fn hear(&mut self, mut records: &[u8], sizes: &[usize]) {
        let mut sizes = sizes.iter().copied().cycle();
        while !records.is_empty() && !self.failed && self.partial.len() <= MAX_PARTIAL {
            let size = sizes.next().unwrap_or(usize::MAX).clamp(1, records.len());
            self.partial.extend_from_slice(&records[..size]);
            records = &records[size..];
            let mut plain = |bytes: &[u8]| self.received.extend_from_slice(bytes);
            match self.session.receive(&mut self.partial, &mut plain, &mut self.out) {
                Ok(used) => drop(self.partial.drain(..used)),
                Err(_) => self.failed = true,
            }
        }
    }
}

fn instead_of_a_handshake(bytes: &[u8], sizes: &[usize]) {
    let (mut whole, mut cut) = (Server::new(), Server::new());
    whole.hear(bytes, &[usize::MAX]);
    cut.hear(bytes, sizes);
    assert_eq!(whole.failed, cut.failed);
    assert!(whole.received.is_empty() && cut.received.is_empty());
    assert!(!whole.session.is_established() && !cut.session.is_established());
}

fn after_a_handshake(mut client: ClientConnection, input: &mut Unstructured<'_>, sizes: &[usize]) {
    let mut server = Server::new();
    while client.is_handshaking() || !server.session.is_established() {
        server.hear(&said_by(&mut client), sizes);
        let out = std::mem::take(&mut server.out);
        let mut out = &out[..];
        while !out.is_empty() {
            client.read_tls(&mut out).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let mut said = Vec::new();
    let mut is_valid = true;
    let mut key_updates = 0;
    while !input.is_empty() {
        let act: u8 = input.arbitrary().unwrap_or(0);
        let before = server.out.len();
        match act % 6 {
            0 | 1 => {
                let len = usize::from(input.arbitrary::<u16>().unwrap_or(0));
                let message = vec![act; len];
                client.writer().write_all(&message).unwrap();
                said.extend_from_slice(&message);
                key_updates = 0;
            }
            2 => {
                // Only so many are allowed without anything else.
                key_updates += 1;
                is_valid &= key_updates < 30;
                let _ = client.refresh_traffic_keys();
            }
            3 => {
                client.send_close_notify();
                server.hear(&said_by(&mut client), sizes);
                break;
            }
            4 => {
                is_valid = false;
                let len = usize::from(act).min(input.len());
                server.hear(input.bytes(len).unwrap(), sizes);
            }
            _ => {
                let mut records = said_by(&mut client);
                let at = usize::from(input.arbitrary::<u16>().unwrap_or(0));
                if let Some(byte) = records.get_mut(at) {
                    *byte ^= act | 1;
                    is_valid = false;
                }
                server.hear(&records, sizes);
            }
        }
        server.hear(&said_by(&mut client), sizes);
        assert!(server.out.len() < before + 200);
    }
    assert!(said.starts_with(&server.received), "what was not said has come");
    if is_valid {
        assert!(!server.failed && server.received == said);
        assert!(server.partial.is_empty());
    }
}

fn said_by(client: &mut ClientConnection) -> Vec<u8> {
    let mut said = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut said).unwrap();
    }
    said
}
