//! The messages of a scenario: what is sent, and what should come back.

use std::fmt::Write as _;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::frame::{COMPRESSED, Event, TEXT, masked};

/// What a DEFLATE block that was flushed ends with, and a compressed message goes without
/// (RFC 7692 §7.2.1).
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// `size` bytes of ASCII, so that text is valid UTF-8 at every size. It resembles JSON with changing
/// values, which DEFLATE makes about 3.5 times smaller: a repeated alphabet would all but vanish,
/// and random bytes would not shrink at all.
pub fn payload(size: usize) -> Vec<u8> {
    let mut text = String::with_capacity(size + 64);
    let mut random: u32 = 1;
    while text.len() < size {
        // The generator of Numerical Recipes: the same text in every run.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let side = if random & 0x8000 == 0 { "buy" } else { "sell" };
        let (id, price) = (random >> 8, random % 1_000_000);
        let _ = write!(
            text,
            r#"{{"id":{id},"price":{}.{:02},"side":"{side}"}},"#,
            price / 100,
            price % 100
        );
    }
    text.truncate(size);
    text.into_bytes()
}

/// A message as the server should send it.
pub struct Expected {
    /// Its opcode.
    pub opcode: u8,
    /// Its payload, before compression.
    pub payload: Vec<u8>,
    /// Whether it should be compressed.
    pub compressed: bool,
}

impl Expected {
    /// For scenarios in which no message is sent.
    pub fn nothing() -> Self {
        Self { opcode: TEXT, payload: Vec::new(), compressed: false }
    }

    /// The masked client frame with this message, compressed without a look at earlier ones if it
    /// is to be compressed: such a frame can be sent again and again.
    pub fn client_frame(&self) -> Vec<u8> {
        if self.compressed {
            masked(self.opcode | COMPRESSED, &compress(&self.payload))
        } else {
            masked(self.opcode, &self.payload)
        }
    }

    /// Whether an event is this message, judged by its header: by its length, unless it is
    /// compressed, because then the length is the server's choice.
    pub fn has_header_of(&self, event: &Event) -> bool {
        matches!(event, Event::Message { opcode, length, compressed, .. }
            if *opcode == self.opcode
                && *compressed == self.compressed
                && (*compressed || *length == self.payload.len() as u64))
    }

    /// Whether these are the bytes of this message.
    pub fn has_bytes(&self, payload: &[u8]) -> bool {
        if self.compressed {
            inflate(payload, self.payload.len()).is_some_and(|text| text == self.payload)
        } else {
            payload == self.payload
        }
    }
}

/// A payload as permessage-deflate has it.
fn compress(payload: &[u8]) -> Vec<u8> {
    // DEFLATE never adds more than a few bytes per block, and a payload is a few blocks.
    let mut compressed = Vec::with_capacity(payload.len() + 64);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut compressed, FlushCompress::Sync)
        .expect("a buffer that is large enough");
    assert!(compressed.ends_with(&FLUSHED), "flushed DEFLATE ends so");
    compressed.truncate(compressed.len() - FLUSHED.len());
    compressed
}

/// The `length` bytes behind a compressed payload, if it can be inflated on its own.
fn inflate(payload: &[u8], length: usize) -> Option<Vec<u8>> {
    let whole = [payload, &FLUSHED].concat();
    // Room for more than is expected: too long is wrong as well.
    let mut text = Vec::with_capacity(length + 64);
    Decompress::new(false).decompress_vec(&whole, &mut text, FlushDecompress::Sync).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_ascii_of_any_size_that_shrinks_as_json_does() {
        for size in [0, 1, 20, 1024, 16_384] {
            let text = payload(size);
            assert!(text.len() == size && text.is_ascii());
        }
        let compressed = compress(&payload(1024)).len();
        assert!((256..384).contains(&compressed), "{compressed} bytes");
    }

    #[test]
    fn inflates_what_it_compressed() {
        let expected = Expected { opcode: TEXT, payload: payload(3000), compressed: true };
        assert!(expected.has_bytes(&compress(&expected.payload)));
        assert!(!expected.has_bytes(&compress(&payload(3001))));
        assert!(!expected.has_bytes(b"not DEFLATE"));
    }
}
