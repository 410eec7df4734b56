//! permessage-deflate in both directions, with miniz_oxide at the other end.
//!
//! Input: a byte for direction and parameters, then what that direction reads.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use nextrush_websocket::protocol::deflate::Inflater;
use nextrush_websocket::protocol::{DeflateParams, Deflater, Opcode, Violation};
use nextrush_websocket_fuzz::feeding::arbitrary_sizes;
use nextrush_websocket_fuzz::memory::{Counting, peak_during};
use tungstenite::protocol::frame::FrameHeader;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is not transmitted of each message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What an inflater owns beside the message: a window of 32 KiB and the tables, and twice the step
/// in which it asks for room.
const INFLATER_BYTES: usize = 128 << 10;

/// Messages at the other end are inflated up to here, and no more than this is deflated.
const MOST: usize = 200_000;

const LIMITS: [u64; 4] = [0, 10, 16_384, 100_000];

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let bits: u8 = input.arbitrary().unwrap_or(0);
    let no_takeover = bits & 2 != 0;
    let window_bits = 9 + (bits >> 2) % 7;
    let params = DeflateParams {
        server_no_context_takeover: no_takeover,
        client_no_context_takeover: no_takeover,
        server_max_window_bits: window_bits,
        client_max_window_bits: window_bits,
    };
    if bits & 1 == 0 {
        what_we_deflate_can_be_inflated(&mut input, params);
    } else {
        what_we_inflate_is_what_others_inflate(&mut input, params);
    }
});

fn what_we_deflate_can_be_inflated(input: &mut Unstructured<'_>, params: DeflateParams) {
    let level = u32::from(input.arbitrary::<u8>().unwrap_or(0)) % 10;
    let sizes = arbitrary_sizes(input);
    let no_takeover = params.server_no_context_takeover;
    let mut deflater = Deflater::new(level, params.server_max_window_bits, no_takeover);
    let mut ours = Inflater::new(params);
    let mut theirs = Other::default();
    let mut total = 0;
    while !input.is_empty() && total < MOST {
        let message = plain_message(input);
        if message.is_empty() {
            continue;
        }
        total += message.len();
        let frame = deflater.frame(Opcode::Text, &message);
        let compressed = payload_of(&frame);
        if no_takeover {
            theirs = Other::default();
        }
        assert_eq!(theirs.message(compressed).as_deref(), Ok(&message[..]));
        let limit = message.len() as u64;
        assert_eq!(our_message(&mut ours, compressed, &sizes, limit).as_ref(), Ok(&message));
    }
}

/// Bytes as they are, or a run of them again and again: back-references of all lengths.
fn plain_message(input: &mut Unstructured<'_>) -> Vec<u8> {
    let repeats = usize::from(input.arbitrary::<u8>().unwrap_or(0));
    let len = usize::from(input.arbitrary::<u8>().unwrap_or(0)).min(input.len());
    let run = input.bytes(len).expect("there are so many");
    match repeats {
        0..0xf0 => run.repeat(1 + repeats % 16),
        many => run.repeat((many - 0xef) * 32),
    }
}

/// The payload of our frame, by tungstenite's reading of the header.
fn payload_of(frame: &[u8]) -> &[u8] {
    let mut cursor = std::io::Cursor::new(frame);
    let (header, len) = FrameHeader::parse(&mut cursor).expect("valid").expect("complete");
    assert!(header.is_final && header.rsv1 && !header.rsv2 && !header.rsv3);
    assert_eq!((u8::from(header.opcode), header.mask), (Opcode::Text as u8, None));
    let payload = &frame[cursor.position() as usize..];
    assert_eq!(payload.len() as u64, len);
    payload
}

fn what_we_inflate_is_what_others_inflate(input: &mut Unstructured<'_>, params: DeflateParams) {
    let limit = LIMITS[usize::from(input.arbitrary::<u8>().unwrap_or(0)) % LIMITS.len()];
    let sizes = arbitrary_sizes(input);
    let mut ours = Inflater::new(params);
    let mut theirs = Other::default();
    while !input.is_empty() {
        let len = usize::from(input.arbitrary::<u16>().unwrap_or(0)).min(input.len());
        let compressed = input.bytes(len).expect("there are so many");
        if params.client_no_context_takeover {
            theirs = Other::default();
            the_chunks_do_not_matter(params, compressed, &sizes, limit);
        }
        let expected = theirs.message(compressed);
        match our_message(&mut ours, compressed, &sizes, limit) {
            // It takes distances that reach back before the beginning, which zlib refuses. Both
            // refuse a block without any codes, zlib not before its first symbol.
            Ok(message) => match expected {
                Ok(whole) => assert_eq!(message, whole),
                Err(partial) => {
                    assert_eq!(message, partial);
                    return;
                }
            },
            Err(violation) if violation.code == 1009 => {
                let most = expected.map_or_else(|partial| partial.len(), |whole| whole.len());
                assert!(most as u64 > limit, "{most} bytes are not too many");
                return;
            }
            Err(violation) => {
                assert_eq!(violation.code, 1007);
                return;
            }
        }
    }
}

fn the_chunks_do_not_matter(params: DeflateParams, data: &[u8], sizes: &[usize], limit: u64) {
    let inflated = |sizes| our_message(&mut Inflater::new(params), data, sizes, limit);
    match (inflated(&[]), inflated(sizes)) {
        // A larger chunk may show first that data is bad, or that there is too much of it.
        (Err(_), Err(_)) => {}
        (whole, chunked) => assert_eq!(whole, chunked),
    }
}

/// One message as our inflater reads it, with the promises that it makes about memory.
fn our_message(
    inflater: &mut Inflater,
    compressed: &[u8],
    sizes: &[usize],
    limit: u64,
) -> Result<Vec<u8>, Violation> {
    let sizes = if sizes.is_empty() { &[usize::MAX] } else { sizes };
    let mut out = Vec::new();
    let mut verdict = Ok(());
    let peak = peak_during(|| {
        let mut rest = compressed;
        for &size in sizes.iter().cycle() {
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            rest = behind;
            verdict = inflater.inflate(chunk, &mut out, limit);
            if verdict.is_err() || rest.is_empty() {
                break;
            }
        }
        verdict = verdict.and_then(|()| inflater.finish(&mut out, limit));
    });
    let allowed = 2 * limit as usize + INFLATER_BYTES;
    assert!(peak <= allowed, "{peak} bytes are held, {allowed} are allowed");
    verdict?;
    assert!(out.len() as u64 <= limit);
    Ok(out)
}

/// The other end's inflater.
struct Other(Box<InflateState>);

impl Default for Other {
    fn default() -> Self {
        Self(InflateState::new_boxed(DataFormat::Raw))
    }
}

impl Other {
    /// The message, or what there is of it where the data turns bad.
    fn message(&mut self, compressed: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let mut input = [compressed, &TAIL].concat();
        let mut message = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        while message.len() < MOST {
            let result = inflate(&mut self.0, &input, &mut buffer, MZFlush::None);
            input.drain(..result.bytes_consumed);
            message.extend_from_slice(&buffer[..result.bytes_written]);
            match result.status {
                // A last block (RFC 7692 §7.2.3.4): what follows starts a new stream.
                Ok(MZStatus::StreamEnd) => *self = Self::default(),
                Ok(_) | Err(miniz_oxide::MZError::Buf) => {}
                Err(_) => return Err(message),
            }
            if input.is_empty() && result.bytes_written < buffer.len() {
                return Ok(message);
            }
        }
        Err(message)
    }
}
