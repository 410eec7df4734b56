//! One connection's bytes, fed to an assembler whole, byte by byte and in any chunks.

use arbitrary::Unstructured;
use nextrush_websocket::protocol::{Assembler, DeflateParams, Violation};

use crate::memory::peak_during;
use crate::seen::{Discard, Log, Seen};

/// What an [`Assembler`] owns beside the payload of one message: its states, one control frame, and
/// the least capacities of vectors.
const ASSEMBLER_BYTES: usize = 1 << 10;

/// What inflating adds: a window of 32 KiB and the tables, and the step in which it asks for room.
const INFLATER_BYTES: usize = 96 << 10;

/// How much capacity a message may have for each byte of its limit. A `Vec` doubles as it grows.
const CAPACITY_FACTOR: usize = 2;

/// The limits that are tried: the ends of the three length forms, and small ones.
const LIMITS: [u64; 8] = [65_536, 0, 1, 10, 125, 126, 1_000, 65_535];

/// What was agreed before the first frame.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// `maxMessageSize` in bytes.
    pub limit: u64,
    /// Parameters of permessage-deflate, where it was negotiated.
    pub deflate: Option<DeflateParams>,
}

/// What came out of an assembler, and the violation that ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In the order of the wire.
    pub seen: Vec<Seen>,
    /// The assembler's verdict.
    pub verdict: Result<(), Violation>,
    /// Whether the assembler ended without an unfinished frame or message.
    pub idle: bool,
}

/// [`Outcome`] with the number of bytes that had been fed at each event.
#[derive(Debug)]
pub struct Timeline {
    /// Each event and the bytes it took.
    pub seen: Vec<(usize, Seen)>,
    /// Where a violation was found.
    pub refused: Option<(usize, Violation)>,
    /// Whether the assembler ended without an unfinished frame or message.
    pub idle: bool,
}

impl Connection {
    /// Reads one byte: three bits of limit, then whether there is compression, and its parameters.
    pub fn arbitrary(input: &mut Unstructured<'_>) -> Self {
        let bits: u8 = input.arbitrary().unwrap_or(0);
        let window = |small: u8| if bits & small == 0 { 15 } else { 9 };
        let params = DeflateParams {
            server_no_context_takeover: false,
            client_no_context_takeover: bits & 0x10 != 0,
            server_max_window_bits: 15,
            client_max_window_bits: window(0x20),
        };
        Self { limit: LIMITS[usize::from(bits & 7)], deflate: (bits & 0x08 != 0).then_some(params) }
    }

    /// An assembler for this connection.
    pub fn assembler(&self) -> Assembler {
        match self.deflate {
            Some(params) => Assembler::with_deflate(self.limit as u32, params),
            None => Assembler::new(self.limit as u32),
        }
    }

    /// Feeds `wire` in chunks of these sizes, over and over; without any, at once.
    pub fn feed(&self, wire: &[u8], sizes: &[usize]) -> Outcome {
        let mut assembler = self.assembler();
        let mut log = Log::default();
        let mut verdict = Ok(());
        for chunk in chunks(wire, sizes) {
            verdict = assembler.feed(&mut chunk.to_vec(), &mut log).map(drop);
            if verdict.is_err() {
                break;
            }
        }
        Outcome { seen: log.0, verdict, idle: assembler.is_idle() }
    }

    /// Feeds `wire` byte by byte.
    pub fn feed_bytewise(&self, wire: &[u8]) -> Timeline {
        let mut assembler = self.assembler();
        let mut log = Log::default();
        let mut seen = Vec::new();
        let mut refused = None;
        for (index, &byte) in wire.iter().enumerate() {
            let verdict = assembler.feed(&mut [byte], &mut log).map(drop);
            seen.extend(log.0.drain(..).map(|event| (index + 1, event)));
            if let Err(violation) = verdict {
                refused = Some((index + 1, violation));
                break;
            }
        }
        Timeline { seen, refused, idle: assembler.is_idle() }
    }

    /// Feeds `wire` whole, byte by byte and in the given chunks.
    ///
    /// # Panics
    /// These differ in what comes out, or more memory is held than the limit allows.
    pub fn feed_in_every_way(&self, wire: &[u8], sizes: &[usize]) -> (Outcome, Timeline) {
        let whole = self.feed(wire, &[]);
        let bytewise = self.feed_bytewise(wire);
        self.assert_same(&whole, &Outcome::from(&bytewise));
        self.assert_same(&whole, &self.feed(wire, sizes));
        if let Some((end, _)) = bytewise.refused {
            // The offending byte decides, however the bytes before it came.
            self.assert_same(&whole, &self.feed(&wire[..end], &[]));
            assert_eq!(self.feed(&wire[..end - 1], &[]).verdict, Ok(()), "refused too early");
        }
        self.assert_little_memory(wire, &[]);
        self.assert_little_memory(wire, sizes);
        (whole, bytewise)
    }

    fn assert_same(&self, one: &Outcome, other: &Outcome) {
        assert_eq!(one.seen, other.seen);
        match (&one.verdict, &other.verdict) {
            // How far a compressed chunk is inflated before its text is looked at depends on where
            // it ends. So where a message breaks several rules, any of them may be named.
            (Err(one), Err(other)) if self.deflate.is_some() && one != other => {
                let codes = [one.code, other.code];
                assert!(codes.iter().all(|code| matches!(code, 1007 | 1009)), "{codes:?}");
            }
            (one, other) => assert_eq!(one, other),
        }
        if one.verdict.is_ok() {
            assert_eq!(one.idle, other.idle);
        }
    }

    fn assert_little_memory(&self, wire: &[u8], sizes: &[usize]) {
        let mut wire = wire.to_vec();
        let most = (self.limit as usize).min(match self.deflate {
            Some(_) => usize::MAX,
            None => wire.len(),
        });
        let inflater = self.deflate.map_or(0, |_| INFLATER_BYTES);
        let allowed = CAPACITY_FACTOR * most + ASSEMBLER_BYTES + inflater;
        let peak = peak_during(|| {
            let mut assembler = self.assembler();
            let mut rest = &mut wire[..];
            for size in cycle(sizes) {
                let (chunk, behind) = rest.split_at_mut(size.min(rest.len()));
                if assembler.feed(chunk, &mut Discard).is_err() || behind.is_empty() {
                    break;
                }
                rest = behind;
            }
        });
        assert!(peak <= allowed, "{peak} bytes are held, {allowed} are allowed");
    }
}

impl From<&Timeline> for Outcome {
    fn from(timeline: &Timeline) -> Self {
        Outcome {
            seen: timeline.seen.iter().map(|(_, event)| event.clone()).collect(),
            verdict: timeline.refused.map_or(Ok(()), |(_, violation)| Err(violation)),
            idle: timeline.idle,
        }
    }
}

/// Reads up to four chunk sizes of 1 to 8448 bytes; none means one chunk.
pub fn arbitrary_sizes(input: &mut Unstructured<'_>) -> Vec<usize> {
    let count = input.arbitrary::<u8>().unwrap_or(0) % 5;
    let size = |byte: u8| match byte {
        0..0xe0 => usize::from(byte) + 1,
        large => usize::from(large - 0xdf) << 8,
    };
    (0..count).map(|_| size(input.arbitrary().unwrap_or(0))).collect()
}

fn cycle(sizes: &[usize]) -> impl Iterator<Item = usize> {
    let sizes = if sizes.is_empty() { &[usize::MAX] } else { sizes };
    sizes.iter().copied().cycle()
}

fn chunks<'a>(mut wire: &'a [u8], sizes: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    cycle(sizes).map_while(move |size| {
        let (chunk, rest) = wire.split_at(size.min(wire.len()));
        wire = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}
