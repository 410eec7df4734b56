//! Whole sessions: any order of bytes, commands, partial writes and ticks.
//!
//! An input is a byte of settings and then steps; [`Steps`] says how they are written. After each
//! step the session has to keep its promises: see [`Dialogue::check`].

#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nextrush_websocket::protocol::{
    CloseFrame, DeflateParams, EncodedFrame, Frames, Opcode, close, encode_frame,
};
use nextrush_websocket::session::{
    Account, Appetite, Compression, Course, Deadline, Effects, Events, Limits, Memory, MessageRate,
    Outgoing, Overflow, RatePolicy, Resources, Session, Terms,
};

const MAX_MESSAGE: usize = 1 << 16;
const MAX_BACKPRESSURE: usize = 4096;
const PONG_TIMEOUT: u64 = 100;
const PER_SECOND: u32 = 50;
const BURST: u32 = 3;
const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// Control frames, of which few wait at a time: pings, a pong, a close frame, and as many pongs as
/// one read brings until a queue is thought to be long.
const CONTROL_FRAMES: usize = (64 << 10) + 4 * 127;

/// A piece of a queue that has begun to leave stays whole.
const PIECE: usize = 64 << 10;

/// What an unfinished message takes beside its payload, and vectors that have grown by doubling.
const OVERHEAD: usize = 1 << 10;

#[derive(Default)]
struct Heard {
    messages: usize,
    full: bool,
    over: bool,
    /// When the last ping was sent whose answer is timed.
    last_ping: Option<u64>,
    /// Times that the peer was told to have sent too fast.
    too_fast: usize,
}

impl Events for Heard {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        assert!(!self.over, "a message after the end");
        assert!(payload.len() <= MAX_MESSAGE);
        assert!(!is_text || std::str::from_utf8(payload).is_ok());
        self.messages += 1;
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        self.message(is_text, &payload);
    }

    fn pong(&mut self, pinged_at: u64) {
        assert!(self.last_ping.is_some_and(|last| pinged_at <= last), "an answer to no ping");
    }

    fn too_fast(&mut self, policy: RatePolicy) {
        assert_ne!(policy, RatePolicy::Pause, "it has to wait");
        self.too_fast += 1;
    }

    fn is_full(&self) -> bool {
        self.full
    }
}

/// Reads steps: a byte says which, and what it needs follows it. What is missing at the end is zero.
struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Two bytes, the lower one first.
    fn number(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    fn bytes(&mut self) -> &'a [u8] {
        let count = self.number().min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }
}

struct Dialogue {
    session: Session,
    resources: Resources,
    memory: Arc<Memory>,
    account: Arc<Account>,
    heard: Heard,
    now: u64,
    pumped: bool,
    /// Bytes that were given to a pumped transport, which the account still has.
    under_way: usize,
    /// The transport takes no more, and the session has met with that.
    stuck: bool,
    blocked: bool,
    /// A frame that the JavaScript thread has begun to write itself, and how much of it, until the rest
    /// comes through the log.
    begun: Option<(Vec<u8>, usize)>,
    /// It may do so at all.
    writes_alone: bool,
    is_limited: bool,
    /// Bytes of the response that have not been written. They are in no account.
    response_left: usize,
    ends: usize,
    courses: Vec<Course>,
    /// All that was written.
    wire: Vec<u8>,
}

impl Dialogue {
    fn new(settings: u8) -> Self {
        let limits = Limits {
            max_backpressure: MAX_BACKPRESSURE,
            overflow: if settings & 1 == 0 { Overflow::Close } else { Overflow::Drop },
            pong_timeout: PONG_TIMEOUT,
        };
        let deflate = (settings & 2 != 0).then_some(DeflateParams {
            server_no_context_takeover: settings & 4 != 0,
            client_no_context_takeover: settings & 8 != 0,
            server_max_window_bits: 9,
            client_max_window_bits: 15,
        });
        let compression = deflate.map(|params| Compression { params, threshold: 16, level: 1 });
        let message_rate = (settings & 32 != 0).then_some(MessageRate {
            per_second: PER_SECOND,
            burst: BURST,
            policy: match settings >> 6 {
                0 => RatePolicy::Close,
                1 => RatePolicy::Drop,
                _ => RatePolicy::Pause,
            },
        });
        let max_message_size = MAX_MESSAGE as u32;
        let terms = Terms { max_message_size, message_rate, compression };
        let pumped = settings & 16 != 0;
        let memory = Arc::new(Memory::new(1 << 20));
        let mut resources = Resources::new(limits, memory.clone());
        let account = Arc::new(Account::default());
        let session = Session::new(account.clone(), RESPONSE, terms, pumped, &mut resources);
        Self {
            session,
            resources,
            memory,
            account,
            heard: Heard::default(),
            now: 0,
            pumped,
            under_way: 0,
            stuck: false,
            blocked: false,
            begun: None,
            writes_alone: deflate.is_none() && !pumped,
            is_limited: message_rate.is_some(),
            response_left: RESPONSE.len(),
            ends: 0,
            courses: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn step(&mut self, steps: &mut Steps<'_>) {
        let kind = steps.byte() % 24;
        // What JavaScript does goes through the log as well, behind the rest of a frame.
        if matches!(kind, 5..=11 | 18..) {
            self.bring_rest();
        }
        let Self { session, resources, account, heard, .. } = self;
        let before = session.appetite(self.now, resources);
        let effects = match kind {
            0 => {
                let bytes = steps.bytes();
                self.peer(&mut bytes.to_vec())
            }
            1 => {
                let (first, payload) = (steps.byte(), steps.bytes());
                self.peer(&mut client_frame(first, payload))
            }
            2 if before != Appetite::Held => session.peer_ended(resources),
            3 => {
                heard.full = !heard.full;
                Effects::default()
            }
            4 => session.go_on(self.now, heard, resources),
            5 => {
                session.handler_is_ready(self.now, resources)
            }
            6 => {
                let frame = encoded(steps.number());
                if account.is_alive() && account.admits(frame.len(), MAX_BACKPRESSURE) {
                    account.add(frame.len());
                    let shared = Bytes::from(frame.clone());
                    let shared = (frame.len() > 100).then_some(&shared);
                    let may_compress = frame.len() % 3 > 0;
                    session.send(EncodedFrame::new(&frame), shared, may_compress, resources);
                }
                Effects::default()
            }
            7 => {
                let mut bytes = encoded(steps.number());
                let mut ends = vec![bytes.len()];
                for _ in 0..steps.byte() % 4 {
                    bytes.append(&mut encoded(steps.number()));
                    ends.push(bytes.len());
                }
                let frames = Frames::with_ends(Bytes::from(bytes), ends);
                session.broadcast(&mut Outgoing::from(frames), resources).1
            }
            8 => {
                let reason = "r".repeat(usize::from(steps.byte()));
                session.close(CloseFrame { code: 1000, reason: reason.into() }, resources)
            }
            9 => session.ping(resources),
            10 => {
                session.mark_alive();
                Effects::default()
            }
            11 => session.release(resources),
            12 => {
                let most = steps.number();
                self.write(most);
                self.stuck = true;
                Effects::default()
            }
            13 => {
                self.unblock();
                Effects::default()
            }
            14 => {
                let deadlines = [Deadline::Heartbeat, Deadline::Pong, Deadline::Close];
                let deadline = deadlines[usize::from(steps.byte() % 3)];
                self.now += u64::from(steps.byte());
                session.tick(deadline, self.now, !heard.full, resources)
            }
            15 => match session.answered() {
                Some(question) => session.conclude(question, self.now, !heard.full, resources),
                None => Effects::default(),
            },
            16 if steps.byte() % 8 == 0 => session.lose(resources),
            17 if steps.byte() % 8 == 0 => session.shed(resources),
            18 => {
                let frame = encoded(steps.number());
                self.write_alone(frame, steps.number());
                Effects::default()
            }
            19 => {
                session.pace(resources);
                Effects::default()
            }
            // As much as JavaScript may have been sent before it counts.
            20 => {
                session.holds(steps.number(), resources);
                Effects::default()
            }
            21 => session.took(usize::from(steps.byte()), self.now, resources),
            22 => {
                session.time_pongs(steps.byte() % 4 > 0);
                Effects::default()
            }
            23 => {
                self.now += u64::from(steps.byte());
                Effects::default()
            }
            _ => Effects::default(),
        };
        self.follow(effects);
        self.check();
    }

    /// The JavaScript thread sends a frame, and writes up to `most` bytes of it itself if it may.
    fn write_alone(&mut self, frame: Vec<u8>, most: usize) {
        let Self { session, resources, account, .. } = self;
        if !account.is_alive() || !account.admits(frame.len(), MAX_BACKPRESSURE) {
            return;
        }
        account.add(frame.len());
        let written = match account.writer().take() {
            None => 0,
            Some(taken) => {
                let written = if self.stuck { 0 } else { most.min(frame.len()) };
                self.wire.extend_from_slice(&frame[..written]);
                account.remove(written);
                if (1..frame.len()).contains(&written) {
                    taken.owe();
                    self.begun = Some((frame, written));
                    return;
                }
                assert!(!taken.give_back());
                written
            }
        };
        if written == 0 {
            session.send(EncodedFrame::new(&frame), None, true, resources);
        }
    }

    fn bring_rest(&mut self) {
        if let Some((frame, written)) = self.begun.take() {
            let frame = EncodedFrame::new(&frame);
            let effects = self.session.queue_rest(frame, written, &mut self.resources);
            self.follow(effects);
        }
    }

    /// Bytes come as fast as the session takes them.
    fn peer(&mut self, bytes: &mut [u8]) -> Effects {
        let Appetite::Hungry(most) = self.session.appetite(self.now, &self.resources) else {
            return Effects::default();
        };
        let most = most.min(bytes.len());
        self.session.receive(&mut bytes[..most], self.now, &mut self.heard, &mut self.resources)
    }

    /// What whoever drives the session would do.
    fn follow(&mut self, effects: Effects) {
        if let Some(report) = effects.ended {
            self.ends += 1;
            self.heard.over = true;
            let sendable = close::is_sendable(report.code);
            assert!(sendable || [close::ABNORMAL, close::NO_STATUS].contains(&report.code));
        }
        self.courses.extend(effects.course);
        if effects.pinged {
            self.heard.last_ping = Some(self.now);
            self.session.pinged(self.now);
        }
        if !self.stuck {
            self.write(usize::MAX);
        } else if !self.blocked && self.session.may_write() && !self.session.slices().is_empty() {
            self.blocked = true;
            self.session.block(&mut self.resources);
        }
    }

    fn write(&mut self, most: usize) {
        if !self.session.may_write() {
            assert!(self.begun.is_some());
            return;
        }
        let mut left = most;
        loop {
            let bytes: Vec<u8> =
                self.session.slices().iter().flat_map(|slice| slice.to_vec()).collect();
            let count = bytes.len().min(left);
            if count == 0 {
                return;
            }
            left -= count;
            self.wire.extend_from_slice(&bytes[..count]);
            let response = self.response_left.min(count);
            self.response_left -= response;
            if self.pumped {
                self.under_way += count - response;
            }
            self.session.wrote(count, &mut self.resources);
        }
    }

    fn unblock(&mut self) {
        self.write(usize::MAX);
        if self.blocked && self.session.unblock(&mut self.resources) {
            self.write(usize::MAX);
        }
        (self.stuck, self.blocked) = (false, false);
        self.account.remove(std::mem::take(&mut self.under_way));
    }

    fn check(&mut self) {
        // The end is told once, and a connection leaves once, or is cut off while it does.
        assert!(self.ends <= 1);
        match &self.courses[..] {
            [] | [_] => {}
            [first, second] => {
                assert_eq!((*first, *second), (Course::Drain, Course::HangUp));
            }
            more => panic!("it leaves in {} ways", more.len()),
        }
        assert!(self.courses.is_empty() || self.ends == 1, "nobody was told that it left");
        assert!(!(self.session.is_open() && self.heard.over));
        // Messages come no faster than they may.
        if self.is_limited {
            let most = BURST as usize + (self.now as usize * PER_SECOND as usize).div_ceil(1000);
            assert!(self.heard.messages <= most, "{} messages", self.heard.messages);
        } else {
            assert_eq!(self.heard.too_fast, 0);
        }
        // What is queued is counted, and is within its limits.
        let queued: usize = self.queued();
        let most = MAX_BACKPRESSURE.max(MAX_MESSAGE) + CONTROL_FRAMES + PIECE;
        assert!(queued <= most, "{queued} bytes are queued");
        // The JavaScript thread may write if nothing that is queued comes before it.
        let alone = self.writes_alone && self.session.is_open() && self.response_left == 0;
        let free = alone && !self.blocked && queued == 0 && self.begun.is_none();
        let taken = self.account.writer().take();
        assert_eq!(taken.map(|taken| assert!(!taken.give_back())).is_some(), free);
        // So is the memory of it, and of what is unfinished: a message, bytes of one read that wait,
        // and messages that are held.
        let unfinished = 3 * MAX_MESSAGE + 3 * (64 << 10) + OVERHEAD;
        let memory = if self.heard.over { most + PIECE } else { most + PIECE + unfinished };
        let weight = self.session.weight();
        assert!(weight >= queued && weight <= memory, "{weight} bytes are kept");
        if self.heard.over {
            assert_eq!(self.session.appetite(self.now, &self.resources), Appetite::Done);
        }
    }

    fn queued(&self) -> usize {
        // Slices show only the first pieces; the weight has all of them.
        let shown: usize = self.session.slices().iter().map(|slice| slice.len()).sum();
        let begun = self.begun.as_ref().map_or(0, |(frame, written)| frame.len() - written);
        let queued = self.account.buffered() - self.under_way - begun;
        assert!(shown <= queued + self.response_left);
        queued
    }

    fn finish(mut self) {
        self.bring_rest();
        self.unblock();
        assert_eq!(self.account.buffered(), 0);
        self.check_wire();
        let effects = self.session.lose(&mut self.resources);
        self.follow(effects);
        assert_eq!(self.ends, 1);
        self.resources.tell();
        assert_eq!((self.session.weight(), self.memory.used()), (0, 0));
        assert_eq!(self.account.buffered(), 0);
        assert!(!self.account.is_alive());
    }

    /// The response, whole frames, and nothing behind a close frame. A session that was cut off in
    /// the middle of a frame ends there.
    fn check_wire(&self) {
        let whole = !self.session.is_over();
        let Some(mut rest) = self.wire.strip_prefix(RESPONSE) else {
            assert!(!whole, "the response is missing");
            return;
        };
        while let Some((first, after)) = rest.split_first() {
            let header = match after.first() {
                Some(126) => {
                    after.get(1..3).map(|len| (4, u16::from_be_bytes([len[0], len[1]]).into()))
                }
                Some(127) => after.get(1..9).map(|len| {
                    (10, u64::from_be_bytes(len.try_into().expect("eight bytes")) as usize)
                }),
                Some(len) => Some((2, usize::from(*len))),
                None => None,
            };
            let frame = header.and_then(|(header, len): (usize, usize)| rest.get(header + len..));
            let Some(behind) = frame else {
                assert!(!whole, "a frame is cut off");
                return;
            };
            assert_eq!(first & 0xb0, 0x80, "final frames");
            assert!([1, 2, 8, 9, 10].contains(&(first & 0x0f)));
            assert!(first & 0x0f != 8 || behind.is_empty(), "something follows the close frame");
            rest = behind;
        }
    }
}

fn encoded(len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, Opcode::Text, &b"abcdefgh".repeat(len % 8192 / 8));
    frame
}

/// A frame as a client sends it, masked with zeros.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, Opcode::Binary, payload);
    frame[0] = first;
    frame[1] |= 0x80;
    let header = frame.len() - payload.len();
    frame.splice(header..header, [0; 4]);
    frame
}

fuzz_target!(|input: &[u8]| {
    let mut steps = Steps(input);
    let mut dialogue = Dialogue::new(steps.byte());
    dialogue.check();
    while !steps.0.is_empty() {
        dialogue.step(&mut steps);
    }
    dialogue.finish();
});
