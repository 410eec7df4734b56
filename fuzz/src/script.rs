//! Valid and broken streams with the outcome that RFC 6455 asks for.
//!
//! A script is a row of steps; each step is a letter and what it needs. Steps are read from the
//! front of the input, so that a step can be added, changed or cut off without touching the others.

use arbitrary::Unstructured;
use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output,
    create_comp_flags_from_zip_params,
};
use nextrush_websocket::protocol::frame::MAX_CONTROL_PAYLOAD;

use crate::feeding::{Connection, Timeline};
use crate::seen::Seen;

/// A script that is longer than this stops: more of the same shows nothing new.
const MOST_WIRE: usize = 80_000;

/// Longer than the largest limit, and long enough for a length of 64 bits. Rare, for it takes time.
const LONGEST_RUN: usize = 65_600;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

/// What text is made of: the first and last characters of each length in UTF-8, and next to the
/// surrogates.
const CHARACTERS: [char; 16] = [
    'a',
    '\0',
    '\u{7f}',
    '\u{80}',
    '\u{7ff}',
    '\u{800}',
    '\u{d7ff}',
    '\u{e000}',
    '\u{ffff}',
    '\u{10000}',
    '\u{10ffff}',
    'é',
    '€',
    '😀',
    ' ',
    'z',
];

/// The bytes of a client, and what a server has to make of them.
#[derive(Debug)]
pub struct Script {
    /// What the client sends.
    pub wire: Vec<u8>,
    /// Each event, with the number of bytes that bring it about.
    seen: Vec<(usize, Seen)>,
    breach: Option<Breach>,
    /// Numbers of bytes behind which nothing is under way.
    idle_at: Vec<usize>,
}

/// What has to end the connection.
#[derive(Debug)]
struct Breach {
    /// The number of bytes that show it. What inflating shows may come earlier.
    at: usize,
    exact: bool,
    /// The close codes that fit.
    codes: &'static [u16],
}

/// A message that is not complete.
struct Open {
    is_text: bool,
    compressed: bool,
    data: Vec<u8>,
}

struct Writer<'a, 'b> {
    input: &'a mut Unstructured<'b>,
    connection: Connection,
    script: Script,
    open: Option<Open>,
    /// Behind a close frame or a breach: whatever follows plays no part.
    over: bool,
    compressor: Option<Box<CompressorOxide>>,
    /// What the compressed message under way says.
    plain: Vec<u8>,
}

impl Script {
    /// Reads steps until the input ends.
    pub fn arbitrary(input: &mut Unstructured<'_>, connection: Connection) -> Self {
        let script = Script { wire: Vec::new(), seen: Vec::new(), breach: None, idle_at: vec![0] };
        let mut writer = Writer {
            input,
            connection,
            script,
            open: None,
            over: false,
            compressor: None,
            plain: Vec::new(),
        };
        while !writer.input.is_empty() && writer.script.wire.len() < MOST_WIRE {
            writer.step();
        }
        writer.script
    }

    /// Compares what RFC 6455 asks for with what happened byte by byte.
    ///
    /// # Panics
    /// They differ.
    pub fn assert_met_by(&self, timeline: &Timeline) {
        let end = timeline.refused.map_or(usize::MAX, |(at, _)| at);
        let expected: Vec<_> = self.seen.iter().filter(|(at, _)| *at <= end).cloned().collect();
        assert_eq!(timeline.seen, expected);
        match (&self.breach, timeline.refused) {
            (None, None) => {
                let idle = self.over_at_end() || self.idle_at.last() == Some(&self.wire.len());
                assert_eq!(timeline.idle, idle);
            }
            (Some(breach), Some((at, violation))) => {
                assert!(breach.codes.contains(&violation.code), "{violation} is not {breach:?}");
                let in_time = if breach.exact { at == breach.at } else { at <= breach.at };
                assert!(in_time, "{violation} at {at} is not {breach:?}");
            }
            (expected, found) => panic!("{found:?} is not {expected:?}"),
        }
    }

    fn over_at_end(&self) -> bool {
        matches!(self.seen.last(), Some((_, Seen::Close(..))))
    }

    /// Drops the last `count` bytes, and what they would have brought about.
    fn truncate(&mut self, count: usize) {
        let len = self.wire.len().saturating_sub(count);
        // Where exactly inflating fails is not known here.
        if self.breach.as_ref().is_some_and(|breach| !breach.exact && breach.at > len) {
            return;
        }
        self.wire.truncate(len);
        self.seen.retain(|(at, _)| *at <= len);
        self.breach.take_if(|breach| breach.at > len);
        self.idle_at.retain(|at| *at <= len);
    }
}

impl Writer<'_, '_> {
    fn byte(&mut self) -> u8 {
        self.input.arbitrary().unwrap_or(0)
    }

    fn step(&mut self) {
        match self.byte() {
            b'm' => self.message(),
            b'f' => self.fragment(),
            b'p' => self.control(PING),
            b'o' => self.control(PONG),
            b'c' => self.close(),
            b'x' => self.broken_header(),
            b'd' => self.data_frame_as_it_comes(),
            b'e' => {
                let count = usize::from(self.byte());
                self.script.truncate(count);
                // What follows is not joined to half a frame.
                let _ = self.input.bytes(self.input.len());
            }
            // Mutations that hit no letter mean a message, the most common thing.
            _ => self.message(),
        }
    }

    /// `m`: a whole message, possibly in fragments with control frames in between.
    fn message(&mut self) {
        let kind = self.byte();
        let is_text = kind & 1 != 0;
        let compressed = kind & 2 != 0 && self.connection.deflate.is_some();
        let payload = self.payload();
        let payload = if compressed { self.compress(payload, kind & 4 != 0) } else { payload };
        let opcode = if is_text { TEXT } else { BINARY };
        let mut first = if compressed { opcode | RSV1 } else { opcode };
        let mut rest = &payload[..];
        for _ in 0..kind >> 5 {
            let (fragment, behind) = rest.split_at(usize::from(self.byte()).min(rest.len()));
            self.frame(first, fragment);
            if kind & 8 != 0 {
                let opcode = if kind & 16 != 0 { PING } else { PONG };
                self.frame(FIN | opcode, &fragment[..fragment.len().min(MAX_CONTROL_PAYLOAD)]);
            }
            (first, rest) = (CONTINUATION, behind);
        }
        self.frame(first | FIN, rest);
    }

    /// `f`: a frame that goes on with the open message, or begins one.
    fn fragment(&mut self) {
        let kind = self.byte();
        let opcode = match (&self.open, kind & 1) {
            (Some(_), _) => CONTINUATION,
            (None, 0) => BINARY,
            (None, _) => TEXT,
        };
        let fin = if kind & 2 != 0 { FIN } else { 0 };
        let payload = self.payload();
        self.frame(opcode | fin, &payload);
    }

    /// `d`: a data frame, whether it may stand here or not.
    fn data_frame_as_it_comes(&mut self) {
        let kind = self.byte();
        let payload = self.payload();
        self.frame((kind & FIN) | (kind % 3), &payload);
    }

    fn control(&mut self, opcode: u8) {
        let mut payload = self.payload();
        payload.truncate(MAX_CONTROL_PAYLOAD);
        self.frame(FIN | opcode, &payload);
    }

    /// `c`: a close frame of a code and a reason; one with fewer than two bytes at times.
    fn close(&mut self) {
        let shape = self.byte();
        let mut payload = vec![self.byte(), self.byte()];
        match shape % 8 {
            0 => payload.clear(),
            1 => payload.truncate(1),
            _ => payload.extend(self.payload()),
        }
        payload.truncate(MAX_CONTROL_PAYLOAD);
        self.frame(FIN | CLOSE, &payload);
    }

    /// `x`: a header that breaks one rule, and a few bytes behind it.
    fn broken_header(&mut self) {
        let (kind, detail) = (self.byte(), self.byte());
        let data = [CONTINUATION, TEXT, BINARY][usize::from(detail % 3)];
        let control = [CLOSE, PING, PONG][usize::from(detail % 3)];
        let short = MASKED | ((detail >> 2) % 126);
        let (bytes, seen_in): (Vec<u8>, usize) = match kind % 9 {
            0 => (vec![FIN | data | 0x10 << (detail >> 7), short], 1),
            1 => (vec![FIN | control | RSV1, short], 1),
            2 => (vec![FIN | [3, 4, 5, 6, 7, 11, 12, 13, 14, 15][usize::from(detail % 10)]], 1),
            3 => (vec![control, short], 1),
            4 => (vec![FIN | data, short & !MASKED], 2),
            5 => (vec![FIN | control, MASKED | 126 | detail >> 7, 1, 0], 2),
            6 => (vec![FIN | data, MASKED | 126, 0, detail % 126], 4),
            7 => (vec![FIN | data, MASKED | 127, 0, 0, 0, 0, 0, 0, detail, kind], 10),
            _ => (vec![data, MASKED | 127, 0x80 | detail, 0, 0, 0, 0, 0, 0, kind], 10),
        };
        let at = self.script.wire.len() + seen_in;
        self.script.wire.extend(bytes);
        self.breach(at, &[1002]);
        let junk = self.payload();
        self.script.wire.extend(junk);
    }

    /// Bytes as they come, text, or a short or long run of one byte; then possibly one byte changed.
    fn payload(&mut self) -> Vec<u8> {
        let kind = self.byte();
        let len = usize::from(self.byte());
        let mut payload = match kind % 4 {
            0 => self.input.bytes(len.min(self.input.len())).expect("there are so many").to_vec(),
            1 => vec![self.byte(); len << (kind >> 5) | usize::from(kind >> 4 & 1)],
            2 if kind >> 4 == 0xf => vec![self.byte(); (len << 9).min(LONGEST_RUN)],
            _ => (0..len.min(self.input.len()))
                .map(|_| CHARACTERS[usize::from(self.byte() & 15)])
                .collect::<String>()
                .into_bytes(),
        };
        if kind & 8 != 0 && !payload.is_empty() {
            let at = usize::from(self.byte()) % payload.len();
            payload[at] = self.byte();
        }
        payload
    }

    /// The payload of a compressed message as RFC 7692 §7.2.1 writes it, or with a last block that
    /// is marked as such, as §7.2.3.4 does.
    fn compress(&mut self, payload: Vec<u8>, last_block: bool) -> Vec<u8> {
        let params = self.connection.deflate.expect("compression was negotiated");
        // miniz_oxide looks back over 32 KiB, unless it does not look back at all.
        let strategy = match params.client_max_window_bits {
            15 => CompressionStrategy::Default,
            _ => CompressionStrategy::HuffmanOnly,
        };
        let fresh = || {
            let flags = create_comp_flags_from_zip_params(6, 0, strategy as i32);
            Box::new(CompressorOxide::new(flags))
        };
        let mut compressor = self
            .compressor
            .take()
            .filter(|_| !params.client_no_context_takeover && !last_block)
            .unwrap_or_else(fresh);
        let flush = if last_block { TDEFLFlush::Finish } else { TDEFLFlush::Sync };
        let mut out = Vec::new();
        let (status, _) = compress_to_output(&mut compressor, &payload, flush, |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        assert!(matches!(status, TDEFLStatus::Okay | TDEFLStatus::Done), "{status:?}");
        if last_block {
            out.push(0);
        } else {
            self.compressor = Some(compressor);
            assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
            out.truncate(out.len() - 4);
        }
        self.plain = payload;
        out
    }
}

/// What a frame does to the outcome.
impl Writer<'_, '_> {
    /// Writes a valid header, the masked payload, and what follows from them.
    fn frame(&mut self, first: u8, payload: &[u8]) {
        let key = [self.byte(), 0x34, 0x56, 0x78];
        let wire = &mut self.script.wire;
        wire.push(first);
        match payload.len() {
            len @ 0..=125 => wire.push(MASKED | len as u8),
            len @ 126..=0xffff => {
                wire.push(MASKED | 126);
                wire.extend((len as u16).to_be_bytes());
            }
            len => {
                wire.push(MASKED | 127);
                wire.extend((len as u64).to_be_bytes());
            }
        }
        wire.extend(key);
        let payload_at = wire.len();
        wire.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        if self.over {
            return;
        }
        match first & 0x0f {
            CLOSE => self.expect_close(payload),
            PING => self.expect(Seen::Ping(payload.to_vec())),
            PONG => self.expect(Seen::Pong(payload.to_vec())),
            opcode => self.expect_data(first, opcode, payload_at, payload),
        }
        if self.open.is_none() {
            self.script.idle_at.push(self.script.wire.len());
        }
    }

    fn expect(&mut self, event: Seen) {
        self.script.seen.push((self.script.wire.len(), event));
    }

    fn breach(&mut self, at: usize, codes: &'static [u16]) {
        if !self.over {
            self.over = true;
            self.script.breach = Some(Breach { at, exact: true, codes });
        }
    }

    fn expect_close(&mut self, payload: &[u8]) {
        let end = self.script.wire.len();
        let (code, reason) = match payload {
            [] => (1005, &[][..]),
            [_] => return self.breach(end, &[1002]),
            [high, low, reason @ ..] => (u16::from(*high) << 8 | u16::from(*low), reason),
        };
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) && !payload.is_empty() {
            return self.breach(end, &[1002]);
        }
        match str::from_utf8(reason) {
            Ok(reason) => {
                self.expect(Seen::Close(code, reason.to_owned()));
                self.over = true;
                self.open = None;
            }
            Err(_) => self.breach(end, &[1007]),
        }
    }

    fn expect_data(&mut self, first: u8, opcode: u8, payload_at: usize, payload: &[u8]) {
        let mut open = match (opcode, self.open.take()) {
            (CONTINUATION, Some(open)) => open,
            (TEXT | BINARY, None) => {
                Open { is_text: opcode == TEXT, compressed: first & RSV1 != 0, data: Vec::new() }
            }
            _ => return self.breach(payload_at, &[1002]),
        };
        let fin = first & FIN != 0;
        if open.compressed && fin {
            return self.expect_inflated(open.is_text);
        }
        if open.compressed {
            self.open = Some(open);
            return;
        }
        if (open.data.len() + payload.len()) as u64 > self.connection.limit {
            return self.breach(payload_at, &[1009]);
        }
        let before = open.data.len();
        open.data.extend_from_slice(payload);
        if let Some(index) = open.is_text.then(|| offending_byte(&open.data)).flatten() {
            return self.breach(payload_at + index - before + 1, &[1007]);
        }
        if !fin {
            self.open = Some(open);
            return;
        }
        self.expect_message(open.is_text, open.data);
    }

    fn expect_inflated(&mut self, is_text: bool) {
        let data = std::mem::take(&mut self.plain);
        let too_big = data.len() as u64 > self.connection.limit;
        let bad_text = is_text && str::from_utf8(&data).is_err();
        let codes: &[u16] = match (too_big, bad_text) {
            (false, false) => return self.expect_message(is_text, data),
            (true, false) => &[1009],
            (false, true) => &[1007],
            (true, true) => &[1007, 1009],
        };
        self.breach(self.script.wire.len(), codes);
        self.script.breach.as_mut().expect("just found").exact = false;
    }

    fn expect_message(&mut self, is_text: bool, data: Vec<u8>) {
        if !is_text {
            return self.expect(Seen::Binary(data));
        }
        match String::from_utf8(data) {
            Ok(text) => self.expect(Seen::Text(text)),
            Err(_) => self.breach(self.script.wire.len(), &[1007]),
        }
    }
}

/// The first byte that no continuation could make valid UTF-8.
fn offending_byte(text: &[u8]) -> Option<usize> {
    let valid = str::from_utf8(text).err()?.valid_up_to();
    let fails = |end: &usize| {
        str::from_utf8(&text[valid..*end]).is_err_and(|error| error.error_len().is_some())
    };
    (valid + 1..=text.len()).take(4).find(fails).map(|end| end - 1)
}
