//! Encoded frames on their way to a peer, with the places where one ends and the next begins.

use bytes::Bytes;

use super::frame::Opcode;

/// One whole, final, unmasked frame, as [`encode_frame`](super::encode_frame) writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedFrame<'a>(&'a [u8]);

impl<'a> EncodedFrame<'a> {
    /// `bytes` are exactly one frame that this crate has encoded.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All of it.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Length in bytes, header included.
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header at least")]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// What it carries.
    pub fn opcode(self) -> Opcode {
        let bits = self.0.first().map_or(0, |first| first & 0x0f);
        Opcode::from_bits(bits).unwrap_or(Opcode::Binary)
    }

    /// Its payload.
    pub fn payload(self) -> &'a [u8] {
        let header = match self.0.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.0.get(header..).unwrap_or_default()
    }
}

/// Frames that leave in this order, in one piece of memory that many connections share.
#[derive(Debug, Clone)]
pub struct Frames {
    bytes: Bytes,
    /// Where each frame ends, except the last one, which ends with the bytes. So a single frame,
    /// which is what nearly everything is, allocates nothing here.
    ends: Vec<usize>,
}

impl From<Bytes> for Frames {
    /// `frame` is exactly one frame that this crate has encoded.
    fn from(frame: Bytes) -> Self {
        Self { bytes: frame, ends: Vec::new() }
    }
}

impl Frames {
    /// Frames that end at each of `ends`, of which the last is the length of `bytes`.
    pub fn with_ends(bytes: Bytes, mut ends: Vec<usize>) -> Self {
        debug_assert_eq!(ends.last(), Some(&bytes.len()));
        ends.pop();
        Self { bytes, ends }
    }

    /// How many frames there are: at least one.
    pub fn count(&self) -> usize {
        self.ends.len() + 1
    }

    /// Length of all of them in bytes.
    #[expect(clippy::len_without_is_empty, reason = "there is one frame at least")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of them behind one another.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = EncodedFrame<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends.iter().copied().chain(std::iter::once(self.bytes.len()));
        starts.zip(ends).map(|(start, end)| EncodedFrame(&self.bytes[start..end]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode_frame;
    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            sizes in prop::collection::vec(
                prop_oneof![0usize..130, 65_530usize..65_540], 1..6,
            ),
            text in any::<bool>(),
        ) {
            let opcode = if text { Opcode::Text } else { Opcode::Binary };
            let payloads: Vec<Vec<u8>> = sizes.iter().map(|len| vec![b'x'; *len]).collect();
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            for payload in &payloads {
                encode_frame(&mut bytes, opcode, payload);
                ends.push(bytes.len());
            }
            let frames = Frames::with_ends(Bytes::from(bytes), ends);
            prop_assert_eq!(frames.count(), payloads.len());
            let found: Vec<_> = frames.iter().collect();
            prop_assert_eq!(found.len(), payloads.len());
            for (frame, payload) in found.iter().zip(&payloads) {
                prop_assert_eq!(frame.opcode(), opcode);
                prop_assert_eq!(frame.payload(), &payload[..]);
            }
            prop_assert_eq!(found.iter().map(|frame| frame.len()).sum::<usize>(), frames.len());
        }
    }
}
