//! What an assembler handed out, as values that can be compared.

use nextrush_websocket::protocol::{CloseFrame, Sink};

/// One message or control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping and its payload.
    Ping(Vec<u8>),
    /// A pong and its payload.
    Pong(Vec<u8>),
    /// A close frame: code (1005 where it had none) and reason.
    Close(u16, String),
}

/// Keeps everything, in the order of the wire.
#[derive(Debug, Default)]
pub struct Log(pub Vec<Seen>);

impl Sink for Log {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        self.assembled(is_text, payload.to_vec());
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        self.0.push(if is_text {
            Seen::Text(String::from_utf8(payload).expect("a text message is valid UTF-8"))
        } else {
            Seen::Binary(payload)
        });
    }

    fn ping(&mut self, payload: &[u8]) {
        self.0.push(Seen::Ping(payload.to_vec()));
    }

    fn pong(&mut self, payload: &[u8]) {
        self.0.push(Seen::Pong(payload.to_vec()));
    }

    fn close(&mut self, frame: CloseFrame) {
        self.0.push(Seen::Close(frame.code, frame.reason.into()));
    }
}

/// Keeps nothing, so that all memory in use is the assembler's.
#[derive(Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn message(&mut self, _: bool, _: &[u8]) {}
    fn assembled(&mut self, _: bool, _: Vec<u8>) {}
    fn ping(&mut self, _: &[u8]) {}
    fn pong(&mut self, _: &[u8]) {}
    fn close(&mut self, _: CloseFrame) {}
}
