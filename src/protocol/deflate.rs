//! permessage-deflate (RFC 7692): what was negotiated, and the two directions of it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::codes::Violation;
use super::deflate_short::ShortDeflater;
use super::frame::{MAX_HEADER, Opcode, encode_compressed_header};

/// The end of every compressed message, which is not transmitted (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Inflated bytes are asked for in steps of this many, so that memory follows what really comes.
const INFLATE_STEP: usize = 16 << 10;

/// Parameters of a connection, as agreed in its handshake (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// We forget what was compressed after each message.
    pub server_no_context_takeover: bool,
    /// The peer does.
    pub client_no_context_takeover: bool,
    /// Base-2 logarithm of our window, 9 to 15.
    pub server_max_window_bits: u8,
    /// Base-2 logarithm of the peer's window, 9 to 15; larger than promised does no harm.
    pub client_max_window_bits: u8,
}

/// Why no more bytes are inflated.
const BAD_DATA: Violation = Violation::utf8("compressed message cannot be inflated");

/// Inflates the messages of one connection. Owns memory only during a message, or between messages
/// where the peer may refer to earlier ones.
#[derive(Debug)]
pub struct Inflater {
    params: DeflateParams,
    stream: Option<Box<Decompress>>,
    at: At,
}

/// Where in a message an [`Inflater`] is, which says whether the tail belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// No byte of the message has come.
    Start,
    Inside,
    /// Behind a final block, with nothing of a new stream yet.
    FinalBlock,
}

impl Inflater {
    /// For a connection with these parameters.
    pub fn new(params: DeflateParams) -> Self {
        Self { params, stream: None, at: At::Start }
    }

    /// Inflates the next bytes of a message onto the end of `out`.
    ///
    /// # Errors
    /// Data that is not DEFLATE is refused with 1007; once `out` would get longer than `limit`
    /// bytes, with 1009: no more than that is ever held.
    pub fn inflate(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        limit: u64,
    ) -> Result<(), Violation> {
        let bits = self.params.client_max_window_bits;
        let stream = self
            .stream
            .get_or_insert_with(|| Box::new(Decompress::new_with_window_bits(false, bits)));
        loop {
            let room = limit.saturating_sub(out.len() as u64).saturating_add(1);
            let step = usize::try_from(room).unwrap_or(usize::MAX).min(INFLATE_STEP);
            if out.capacity() - out.len() < step {
                out.reserve(step);
            }
            let before = (stream.total_in(), stream.total_out());
            let status =
                stream.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| BAD_DATA)?;
            let consumed = (stream.total_in() - before.0) as usize;
            let produced = stream.total_out() - before.1;
            input = &input[consumed..];
            if consumed > 0 {
                self.at = At::Inside;
            }
            if out.len() as u64 > limit {
                return Err(Violation::too_big());
            }
            match status {
                // A final block (RFC 7692 §7.2.3.4): what follows starts a new stream.
                Status::StreamEnd => {
                    stream.reset(false);
                    self.at = At::FinalBlock;
                }
                Status::Ok | Status::BufError => {}
            }
            let out_was_full = out.len() == out.capacity();
            if input.is_empty() && !out_was_full {
                return Ok(());
            }
            if consumed == 0 && produced == 0 && !out_was_full {
                return Err(BAD_DATA);
            }
        }
    }

    /// Ends a message: inflates what its tail brings out.
    ///
    /// Some clients end with a final block and leave the empty block out that RFC 7692 §7.2.1 wants
    /// behind it, or send no bytes at all for an empty message. These get no tail: it would
    /// be taken for the beginning of the next message.
    ///
    /// # Errors
    /// As [`Self::inflate`].
    pub fn finish(&mut self, out: &mut Vec<u8>, limit: u64) -> Result<(), Violation> {
        if self.at == At::Inside {
            self.inflate(&TAIL, out, limit)?;
        }
        self.at = At::Start;
        if self.params.client_no_context_takeover {
            self.stream = None;
        }
        Ok(())
    }
}

/// Compresses messages for one connection, or for all connections that share no context.
#[derive(Debug)]
pub struct Deflater {
    level: u32,
    bits: u8,
    no_context_takeover: bool,
    /// For short messages that share no context.
    short: Option<ShortDeflater>,
    /// For all others. Made by the first of them, as it is large.
    stream: Option<Box<Compress>>,
}

impl Deflater {
    /// A compressor of `level` (0 to 9) with a window of `bits` (9 to 15).
    pub fn new(level: u32, bits: u8, no_context_takeover: bool) -> Self {
        // Level 0 is not to compress at all.
        let short = (no_context_takeover && level > 0).then(|| ShortDeflater::new(level, bits));
        Self { level, bits, no_context_takeover, short, stream: None }
    }

    /// The whole compressed, unmasked frame of a message. `payload` must not be empty.
    pub fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; MAX_HEADER];
        out.reserve(payload.len() / 2 + 64);
        match &mut self.short {
            Some(short) if payload.len() <= short.longest() => short.compress(payload, &mut out),
            _ => self.stream(payload, &mut out),
        }
        let mut header = [0; MAX_HEADER];
        let header_len = encode_compressed_header(&mut header, opcode, out.len() - MAX_HEADER);
        let at = MAX_HEADER - header_len;
        out[at..MAX_HEADER].copy_from_slice(&header[..header_len]);
        out.drain(..at);
        out
    }

    fn stream(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let stream = self.stream.get_or_insert_with(|| {
            let level = Compression::new(self.level);
            Box::new(Compress::new_with_window_bits(level, false, self.bits))
        });
        if self.no_context_takeover {
            stream.reset();
        }
        let start = stream.total_in();
        loop {
            let done = (stream.total_in() - start) as usize;
            // Compressing in memory cannot fail.
            let _ = stream.compress_vec(&payload[done..], out, FlushCompress::Sync);
            let done = (stream.total_in() - start) as usize;
            // With room left over, the flush is complete.
            if done == payload.len() && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len());
        }
        debug_assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(no_takeover: bool, bits: u8) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            server_max_window_bits: bits,
            client_max_window_bits: bits,
        }
    }

    /// The payload of an unmasked frame.
    fn payload(frame: &[u8]) -> &[u8] {
        assert_eq!(frame[0] & 0x70, 0x40, "only RSV1 is set");
        match frame[1] {
            126 => &frame[4..],
            127 => &frame[10..],
            _ => &frame[2..],
        }
    }

    fn inflate(inflater: &mut Inflater, data: &[u8], limit: u64) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::new();
        inflater.inflate(data, &mut out, limit)?;
        inflater.finish(&mut out, limit)?;
        Ok(out)
    }

    #[test]
    fn a_message_may_end_with_its_final_block() {
        for no_takeover in [false, true] {
            let mut inflater = Inflater::new(params(no_takeover, 15));
            let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
            let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
            for payload in [&final_block[..], &hello[..], &final_block[..], &final_block[..]] {
                assert_eq!(inflate(&mut inflater, payload, 100).unwrap(), b"Hello");
            }
        }
    }

    #[test]
    fn a_message_without_any_bytes_is_empty_and_disturbs_no_other() {
        let mut inflater = Inflater::new(params(false, 15));
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        for payload in [&[][..], &hello[..], &[][..], &[][..], &hello[..]] {
            let expected: &[u8] = if payload.is_empty() { b"" } else { b"Hello" };
            assert_eq!(inflate(&mut inflater, payload, 100).unwrap(), expected);
        }
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        // RFC 7692 §7.2.3.1 to §7.2.3.5: Hello, shared window, no compression, BFINAL, two blocks.
        let mut inflater = Inflater::new(params(false, 15));
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &hello, 100).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00], 100).unwrap(), b"Hello");
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflate(&mut inflater, &stored, 100).unwrap(), b"Hello");
        let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&mut inflater, &last_block, 100).unwrap(), b"Hello");
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &two, 100).unwrap(), b"Hello");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut deflater = Deflater::new(9, 15, true);
        let bomb = deflater.frame(Opcode::Binary, &vec![0; 50 << 20]);
        assert!(bomb.len() < 60_000);
        let mut inflater = Inflater::new(params(true, 15));
        let mut out = Vec::new();
        let refused = inflater.inflate(payload(&bomb), &mut out, 1 << 20).unwrap_err();
        assert_eq!(refused.code, 1009);
        assert!(out.capacity() < 3 << 20, "{} bytes are held", out.capacity());
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes() {
        let mut deflater = Deflater::new(6, 15, true);
        let frame = deflater.frame(Opcode::Binary, &vec![7; 40_000]);
        let mut inflater = Inflater::new(params(true, 15));
        assert_eq!(inflate(&mut inflater, payload(&frame), 40_000).unwrap().len(), 40_000);
        assert_eq!(inflate(&mut inflater, payload(&frame), 39_999).unwrap_err().code, 1009);
    }

    #[test]
    fn garbage_is_refused() {
        let mut inflater = Inflater::new(params(true, 15));
        assert_eq!(inflate(&mut inflater, &[0xff; 20], 1000).unwrap_err().code, 1007);
    }

    #[test]
    fn context_takeover_makes_a_repeated_message_shorter() {
        let text = b"a message that comes again and again, word for word";
        let mut keeping = Deflater::new(6, 15, false);
        let first = keeping.frame(Opcode::Text, text).len();
        assert!(keeping.frame(Opcode::Text, text).len() < first / 2);
        let mut forgetting = Deflater::new(6, 15, true);
        let first = forgetting.frame(Opcode::Text, text);
        assert_eq!(forgetting.frame(Opcode::Text, text), first);
    }

    proptest! {
        #[test]
        fn messages_survive_a_round_trip_in_any_chunking(
            messages in prop::collection::vec(prop::collection::vec(0u8..4, 1..5000), 1..5),
            no_takeover in any::<bool>(),
            bits in 9u8..=15,
            level in 0u32..=9,
            piece in 1usize..400,
        ) {
            let mut deflater = Deflater::new(level, bits, no_takeover);
            let mut inflater = Inflater::new(params(no_takeover, bits));
            for message in messages {
                let frame = deflater.frame(Opcode::Binary, &message);
                let mut out = Vec::new();
                for chunk in payload(&frame).chunks(piece) {
                    inflater.inflate(chunk, &mut out, 1 << 20).unwrap();
                }
                inflater.finish(&mut out, 1 << 20).unwrap();
                prop_assert_eq!(out, message);
            }
        }

        #[test]
        fn arbitrary_data_never_exceeds_the_limit(
            data in prop::collection::vec(any::<u8>(), 0..300),
            limit in 0u64..1000,
        ) {
            let mut inflater = Inflater::new(params(false, 15));
            let mut out = Vec::new();
            let _ = inflater.inflate(&data, &mut out, limit);
            prop_assert!(out.len() as u64 <= limit + INFLATE_STEP as u64);
        }
    }
}
