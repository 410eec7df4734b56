//! The bytes of a connection as tungstenite reads them, in the role of the server.
//!
//! Where the two differ by design:
//!
//! - tungstenite judges whole frames. It is given enough zeros behind the bytes that were refused
//!   to complete the frame at fault; it must then refuse as well.
//! - It takes lengths that are not in their shortest form, also for control frames. What it says
//!   behind such a frame is not compared.
//! - A close frame with a code that must not be on the wire is, to tungstenite, a close frame with
//!   1002. So is one with 1014, which IANA has registered since.
//! - One frame may break two rules: a control frame that is too long is "too big" to it, and where
//!   both code and reason of a close frame are bad, it names the reason.

use std::io::{self, Read, Write};

use nextrush_websocket::protocol::Violation;
use nextrush_websocket::protocol::frame::{MAX_CLIENT_HEADER, MAX_CONTROL_PAYLOAD};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::feeding::Outcome;
use crate::seen::Seen;

/// Why tungstenite stopped reading.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Unfinished,
    Closed,
    ProtocolError,
    BadUtf8,
    TooBig,
}

/// Compares the outcome of an uncompressed connection with what tungstenite makes of its bytes.
///
/// # Panics
/// They disagree, other than by design.
pub fn assert_agrees(wire: &[u8], limit: u64, ours: &Outcome) {
    let largest_frame = (limit as usize).max(MAX_CONTROL_PAYLOAD);
    let Err(violation) = ours.verdict else {
        let (seen, end) = read_all(Stream { wire, padding: 0 }, limit, largest_frame);
        let closed = matches!(ours.seen.last(), Some(Seen::Close(..)));
        assert_eq!(seen, as_tungstenite(&ours.seen));
        assert_eq!(end, if closed { End::Closed } else { End::Unfinished });
        return;
    };
    let padding = MAX_CLIENT_HEADER + largest_frame;
    let (seen, end) = read_all(Stream { wire, padding }, limit, largest_frame);
    assert!(seen.starts_with(&ours.seen), "{seen:?} are not {:?}", ours.seen);
    assert_refuses(&seen[ours.seen.len()..], end, violation);
}

/// `extra` is what tungstenite delivered where ours had refused.
fn assert_refuses(extra: &[Seen], end: End, violation: Violation) {
    let agrees = match violation.reason {
        "payload length not in its shortest form" | "control frame longer than 125 bytes" => true,
        "close frame with an invalid code" => match extra {
            [Seen::Close(1002, reason)] => reason == "Protocol violation" && end == End::Closed,
            others => others.is_empty() && end == End::BadUtf8,
        },
        _ => {
            extra.is_empty()
                && match violation.code {
                    1002 => matches!(end, End::ProtocolError | End::TooBig),
                    1007 => end == End::BadUtf8,
                    1009 => end == End::TooBig,
                    _ => false,
                }
        }
    };
    assert!(agrees, "{violation}, but tungstenite: {extra:?}, then {end:?}");
}

fn as_tungstenite(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    if let Some(Seen::Close(code @ 1014, reason)) = seen.last_mut() {
        (*code, *reason) = (1002, "Protocol violation".to_owned());
    }
    seen
}

fn read_all(mut stream: Stream<'_>, limit: u64, largest_frame: usize) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(limit as usize))
        .max_frame_size(Some(largest_frame));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut seen = Vec::new();
    let end = loop {
        match context.read(&mut stream) {
            Ok(message) => seen.push(as_seen(message)),
            Err(error) => break end_of(&error),
        }
    };
    (seen, end)
}

fn as_seen(message: Message) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.as_str().to_owned()),
        Message::Binary(payload) => Seen::Binary(payload.to_vec()),
        Message::Ping(payload) => Seen::Ping(payload.to_vec()),
        Message::Pong(payload) => Seen::Pong(payload.to_vec()),
        Message::Close(None) => Seen::Close(1005, String::new()),
        Message::Close(Some(frame)) => {
            Seen::Close(frame.code.into(), frame.reason.as_str().to_owned())
        }
        Message::Frame(_) => unreachable!("a server reads messages"),
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::ConnectionClosed => End::Closed,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Unfinished,
        Error::Protocol(_) => End::ProtocolError,
        Error::Utf8(_) => End::BadUtf8,
        Error::Capacity(_) => End::TooBig,
        other => panic!("tungstenite: {other}"),
    }
}

/// The bytes of the client, then zeros, then the end. What the server writes is dropped.
struct Stream<'a> {
    wire: &'a [u8],
    padding: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.wire.is_empty() {
            return self.wire.read(buffer);
        }
        let zeros = self.padding.min(buffer.len());
        buffer[..zeros].fill(0);
        self.padding -= zeros;
        Ok(zeros)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
