//! One connection: TCP connect, hand-written upgrade, then frames in and out.
//!
//! In: readiness from the poll. Out: how many messages arrived. It answers pings on its own and
//! never blocks.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;

use mio::net::TcpStream;

use crate::dialect::{Dialect, Packet};
use crate::frame::{BadFrame, CLOSE, Event, FrameReader, FrameRun, PONG, TEXT, masked};
use crate::message::Expected;
use crate::target::Target;
use crate::wire::{Buffers, Wire};

/// The key of every handshake and the answer that belongs to it (the example of RFC 6455 §1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What permessage-deflate is offered with, and what the answer has to have: each message is
/// compressed on its own. Then the same frame can be sent again and again, and all servers do the
/// same work.
const DEFLATE: [&str; 3] =
    ["permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"];

/// What all connections share: the read buffers and what a right message looks like.
pub struct Shared {
    buffers: Buffers,
    /// Every message that the server should send.
    expected: Expected,
    /// Whether the bytes of one message per connection are compared, not only headers.
    compare_once: bool,
}

impl Shared {
    /// `compare_once` also compares the bytes of the first message of each connection that
    /// arrives in one read; of all others only the header is looked at.
    pub fn new(expected: Expected, compare_once: bool) -> Self {
        Self { buffers: Buffers::new(), expected, compare_once }
    }
}

/// What one readiness event brought.
#[derive(Default)]
pub struct Batch {
    /// Whole messages.
    pub messages: usize,
    /// Those among them that were not the expected one.
    pub wrong: usize,
    /// Bytes of frames, headers included.
    pub bytes: usize,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum Ended {
    /// The system says so.
    Io(io::Error),
    /// The peer closed the TCP connection without a close frame.
    Eof,
    /// The answer to the upgrade request was not the right 101.
    Refused(String),
    /// The server sent a close frame with this code.
    Closed(u16),
    /// The server broke the protocol.
    Protocol(&'static str),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(formatter),
            Self::Eof => {
                formatter.write_str("the server closed the connection without a close frame")
            }
            Self::Refused(answer) => write!(formatter, "the upgrade was refused: {answer}"),
            Self::Closed(code) => write!(formatter, "the server closed with code {code}"),
            Self::Protocol(what) => write!(formatter, "the server broke the protocol: {what}"),
        }
    }
}

impl std::error::Error for Ended {}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Eof,
            _ => Self::Io(error),
        }
    }
}

impl From<BadFrame> for Ended {
    fn from(BadFrame(what): BadFrame) -> Self {
        Self::Protocol(what)
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Stage {
    /// The TCP handshake is under way.
    Connecting,
    /// The upgrade request is out.
    Upgrading,
    /// The 101 is here; what is spoken on top of WebSocket begins with packets of its own.
    Joining,
    /// Frames may flow.
    Open,
    /// It is over; the descriptor stays until the connection is dropped.
    Ended,
}

/// One client connection.
pub struct Connection {
    wire: Wire,
    stage: Stage,
    /// Whether permessage-deflate has to be agreed on.
    deflate: bool,
    dialect: Dialect,
    /// The packet that asks for the namespace, where there is one, until it is sent.
    join: Vec<u8>,
    /// The upgrade request before it is sent; after that the response as far as it is there.
    head: Vec<u8>,
    reader: FrameReader,
    outbox: Outbox,
    /// Whether one message was compared byte by byte already.
    compared: bool,
}

impl Connection {
    /// Starts to connect; the rest follows in [`Connection::on_ready`].
    pub fn start(target: &Target, source: Option<SocketAddr>) -> io::Result<Self> {
        Ok(Self {
            wire: Wire::connect(target, source)?,
            stage: Stage::Connecting,
            deflate: target.deflate,
            dialect: target.dialect,
            join: match target.dialect {
                Dialect::Plain => Vec::new(),
                Dialect::SocketIo => Dialect::join(&target.path),
            },
            head: upgrade_request(target),
            reader: FrameReader::new(target.deflate),
            outbox: Outbox::default(),
            compared: false,
        })
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The socket, for the poll to register.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.wire.stream
    }

    /// Sets the frames that [`Connection::owe`] sends.
    pub fn set_run(&mut self, run: Rc<FrameRun>) {
        self.outbox.run = Some(run);
    }

    /// Sends `count` more frames of the run, now as far as the socket takes them.
    pub fn owe(&mut self, count: usize) -> io::Result<()> {
        self.outbox.owed += count;
        self.outbox.flush(&mut self.wire)
    }

    /// Sends one frame of its own, after the frames that are partly out.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.outbox.queued.extend(masked(opcode, payload));
        self.outbox.flush(&mut self.wire)
    }

    /// Starts the close handshake with code 1000.
    pub fn close(&mut self) -> io::Result<()> {
        self.send(CLOSE, &1000u16.to_be_bytes())
    }

    /// Does what readiness allows and adds to `batch` what arrived, also when it ends.
    pub fn on_ready(
        &mut self,
        event: &mio::event::Event,
        shared: &mut Shared,
        batch: &mut Batch,
    ) -> Result<(), Ended> {
        let outcome = self.advance(event, shared, batch);
        if outcome.is_err() {
            self.stage = Stage::Ended;
        }
        outcome
    }

    fn advance(
        &mut self,
        event: &mio::event::Event,
        shared: &mut Shared,
        batch: &mut Batch,
    ) -> Result<(), Ended> {
        match self.stage {
            Stage::Ended => return Ok(()),
            Stage::Connecting => self.finish_connect()?,
            Stage::Upgrading => {}
            Stage::Open if event.is_writable() => {
                self.wire.flush()?;
                self.outbox.flush(&mut self.wire)?;
            }
            Stage::Open | Stage::Joining => {}
        }
        if event.is_readable() { self.read(event.is_read_closed(), shared, batch) } else { Ok(()) }
    }

    /// Sends the upgrade request once the TCP connection stands.
    fn finish_connect(&mut self) -> io::Result<()> {
        if let Some(error) = self.wire.stream.take_error()? {
            return Err(error);
        }
        match self.wire.stream.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
            other => other?,
        };
        // The send buffer of a fresh connection is empty: a request of 300 bytes always fits. With
        // TLS it waits in the session for the end of its handshake.
        if self.wire.write(&self.head)? < self.head.len() {
            return Err(ErrorKind::WriteZero.into());
        }
        self.head.clear();
        self.stage = Stage::Upgrading;
        Ok(())
    }

    /// Reads until the socket is empty. The poll tells when there is more, so another read would
    /// bring nothing, unless it is the end.
    fn read(&mut self, closed: bool, shared: &mut Shared, batch: &mut Batch) -> Result<(), Ended> {
        loop {
            let received = match self.wire.read(&mut shared.buffers) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.take(received.length, shared, batch)?;
            if received.emptied && !closed {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: usize, shared: &Shared, batch: &mut Batch) -> Result<(), Ended> {
        let mut input = &shared.buffers.plain[..length];
        if self.stage == Stage::Upgrading && !self.take_response(&mut input)? {
            return Ok(());
        }
        batch.bytes += input.len();
        while let Some(event) = self.reader.next(&mut input)? {
            match event {
                Event::Message { payload, .. }
                    if self.dialect != Dialect::Plain && self.take_packet(payload)? => {}
                Event::Message { payload, .. } => {
                    batch.messages += 1;
                    let mut good = shared.expected.has_header_of(&event);
                    if shared.compare_once
                        && !self.compared
                        && let Some(payload) = payload
                    {
                        self.compared = true;
                        good = good && shared.expected.has_bytes(payload);
                    }
                    batch.wrong += usize::from(!good);
                }
                Event::Ping => {
                    self.outbox.queued.extend(masked(PONG, self.reader.control()));
                    self.outbox.flush(&mut self.wire)?;
                }
                Event::Close(code) => return Err(Ended::Closed(code)),
            }
        }
        Ok(())
    }

    /// Deals with a packet that is no message of the scenario; false if it is one.
    fn take_packet(&mut self, payload: Option<&[u8]>) -> Result<bool, Ended> {
        let joining = self.stage == Stage::Joining;
        match payload.map_or(Packet::Other, Packet::of) {
            Packet::Open if joining => {
                let join = std::mem::take(&mut self.join);
                self.send(TEXT, &join)?;
            }
            Packet::Joined if joining => self.stage = Stage::Open,
            Packet::Ping => self.send(TEXT, Packet::PONG)?,
            Packet::Other if !joining => return Ok(false),
            packet => return Err(Ended::Refused(format!("the packet {packet:?} out of turn"))),
        }
        Ok(true)
    }

    /// Collects the response head; true when the connection is open, with the rest in `input`.
    fn take_response(&mut self, input: &mut &[u8]) -> Result<bool, Ended> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if self.head.len() > 16 * 1024 {
                Err(Ended::Refused("a response head without an end".into()))
            } else {
                Ok(false)
            };
        };
        *input = &input[end + 4 - before..];
        check_response(&String::from_utf8_lossy(&self.head[..end]), self.deflate)?;
        self.head = Vec::new();
        self.stage = match self.dialect {
            Dialect::Plain => Stage::Open,
            Dialect::SocketIo => Stage::Joining,
        };
        Ok(true)
    }
}

/// What still has to be written.
#[derive(Default)]
struct Outbox {
    /// The frame that the scenario sends again and again.
    run: Option<Rc<FrameRun>>,
    /// How many of them are to be sent, one that is partly out included.
    owed: usize,
    /// How much of the first of them is out.
    offset: usize,
    /// Whole other frames; they go out where no frame of the run is partly out.
    queued: Vec<u8>,
}

impl Outbox {
    /// Writes until nothing is left or the socket is full.
    fn flush(&mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let queued_first = self.offset == 0 && !self.queued.is_empty();
            let bytes = match &self.run {
                _ if queued_first => &self.queued,
                Some(run) if self.owed > 0 => {
                    // What is queued waits only for the frame that is partly out.
                    let limit = if self.queued.is_empty() { self.owed } else { 1 };
                    run.slice(limit, self.offset)
                }
                _ => return Ok(()),
            };
            match wire.write(bytes) {
                Ok(written) if queued_first => drop(self.queued.drain(..written)),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, written: usize) {
        let frame = self.run.as_ref().map_or(1, |run| run.frame_length());
        let position = self.offset + written;
        self.owed -= position / frame;
        self.offset = position % frame;
    }
}

fn upgrade_request(target: &Target) -> Vec<u8> {
    let path = target.dialect.request_path(&target.path);
    let extensions = if target.deflate {
        format!("Sec-WebSocket-Extensions: {}\r\n", DEFLATE.join("; "))
    } else {
        String::new()
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n",
        target.host
    )
    .into_bytes()
}

fn check_response(head: &str, deflate: bool) -> Result<(), Ended> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(Ended::Refused(status.to_owned()));
    }
    let header = |wanted: &str| {
        let mut headers = lines.clone().filter_map(|line| line.split_once(':'));
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    if header("sec-websocket-accept") != Some(ACCEPT) {
        return Err(Ended::Refused("wrong Sec-WebSocket-Accept".into()));
    }
    let extensions = header("sec-websocket-extensions").unwrap_or_default();
    let agreed = extensions.split(';').map(str::trim).collect::<Vec<_>>();
    match deflate {
        true if DEFLATE.iter().all(|part| agreed.contains(part)) => Ok(()),
        false if extensions.is_empty() => Ok(()),
        _ => Err(Ended::Refused(format!("extensions \"{extensions}\" in the answer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::TEXT;

    #[test]
    fn accepts_only_the_right_101() {
        let head = |status: &str, accept: &str| {
            format!("HTTP/1.1 {status}\r\nsec-websocket-accept: {accept}")
        };
        assert!(check_response(&head("101 Switching Protocols", ACCEPT), false).is_ok());
        assert!(check_response(&head("101 Switching Protocols", "x"), false).is_err());
        assert!(check_response(&head("404 Not Found", ACCEPT), false).is_err());
    }

    #[test]
    fn insists_on_the_extension_that_it_offered() {
        let plain = format!("HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: {ACCEPT}");
        let with = |parameters: &str| {
            format!("{plain}\r\nSec-WebSocket-Extensions: permessage-deflate{parameters}")
        };
        let both = with("; client_no_context_takeover;server_no_context_takeover");
        assert!(check_response(&both, true).is_ok());
        assert!(check_response(&both, false).is_err());
        assert!(check_response(&with("; server_no_context_takeover"), true).is_err());
        assert!(check_response(&plain, true).is_err());
    }

    #[test]
    fn the_outbox_counts_partial_writes() {
        let run = Rc::new(FrameRun::new(&masked(TEXT, b"abcd"), 3));
        let mut outbox = Outbox { run: Some(run), owed: 3, ..Outbox::default() };
        outbox.advance(4);
        assert_eq!((outbox.owed, outbox.offset), (3, 4));
        outbox.advance(17);
        assert_eq!((outbox.owed, outbox.offset), (1, 1));
        outbox.advance(9);
        assert_eq!((outbox.owed, outbox.offset), (0, 0));
    }
}
