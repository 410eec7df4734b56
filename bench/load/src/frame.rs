//! RFC 6455 frames, as far as a client that only counts needs them.
//!
//! In: payloads (to be masked once, before the clock starts) and bytes from a server. Out: bytes
//! to write, and one event per message or control frame. Never here: sockets, DEFLATE.

/// The opcode of a text frame (RFC 6455 §5.2).
pub const TEXT: u8 = 0x1;
/// The opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping frame.
const PING: u8 = 0x9;
/// The opcode of a pong frame.
pub const PONG: u8 = 0xA;
/// RSV1 of the first byte: a compressed message begins (RFC 7692 §6). Goes with an opcode.
pub const COMPRESSED: u8 = 0x40;

/// One mask for all frames: servers have to unmask whatever it is, as long as it is not zero.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The largest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;

/// One whole, masked client frame.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The same masked frame several times in a row. How often decides how many messages one write
/// may carry: once for one write per message, more for bursts.
pub struct FrameRun {
    bytes: Vec<u8>,
    frame_length: usize,
}

impl FrameRun {
    /// A run of `copies` (at least one) of a frame.
    pub fn new(frame: &[u8], copies: usize) -> Self {
        Self { bytes: frame.repeat(copies.max(1)), frame_length: frame.len() }
    }

    /// The length of one frame in bytes.
    pub fn frame_length(&self) -> usize {
        self.frame_length
    }

    /// What the next write should carry, when `owed` frames are to be sent and `offset` bytes of
    /// the first of them are out already.
    pub fn slice(&self, owed: usize, offset: usize) -> &[u8] {
        let end = self.bytes.len().min(owed.saturating_mul(self.frame_length));
        &self.bytes[offset..end]
    }
}

/// What a server said.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// A whole message, however many frames it had.
    Message {
        /// Its opcode, [`TEXT`] or [`BINARY`].
        opcode: u8,
        /// Its length in bytes, compressed where it is.
        length: u64,
        /// Whether it is compressed.
        compressed: bool,
        /// Its payload, where one unfragmented frame lay in one read.
        payload: Option<&'a [u8]>,
    },
    /// A ping; its payload is in [`FrameReader::control`].
    Ping,
    /// A close frame with its code (1005 where there is none).
    Close(u16),
}

/// A server broke the framing rules.
#[derive(Debug, PartialEq)]
pub struct BadFrame(pub &'static str);

/// Splits what a server sends into events, from headers alone: payloads are skipped, not copied
/// (those of control frames excepted).
pub struct FrameReader {
    /// Whether messages may be compressed.
    deflate: bool,
    /// The header of the frame that is being read: two bytes and up to eight of length.
    header: [u8; 10],
    /// How many bytes of `header` are there.
    header_filled: u8,
    /// Whether the header is complete and the payload is being skipped.
    in_payload: bool,
    /// Payload bytes still to come.
    remaining: u64,
    /// Opcode of the unfinished message; 0 between messages.
    message_opcode: u8,
    /// Whether the unfinished message is compressed.
    message_compressed: bool,
    /// Bytes of the unfinished message in its frames so far.
    message_length: u64,
    /// Payload of the control frame that is being read, or was read last.
    control: [u8; MAX_CONTROL],
    /// How much of `control` is filled.
    control_filled: u8,
}

impl FrameReader {
    /// A reader before the first frame. `deflate`: permessage-deflate was agreed on.
    pub fn new(deflate: bool) -> Self {
        Self {
            deflate,
            header: [0; 10],
            header_filled: 0,
            in_payload: false,
            remaining: 0,
            message_opcode: 0,
            message_compressed: false,
            message_length: 0,
            control: [0; MAX_CONTROL],
            control_filled: 0,
        }
    }

    /// The payload of the last control frame.
    pub fn control(&self) -> &[u8] {
        &self.control[..self.control_filled as usize]
    }

    /// Takes bytes off the front of `input` up to the next event. `None`: all of it is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, BadFrame> {
        loop {
            if !self.in_payload && !self.take_header(input)? {
                return Ok(None);
            }
            let payload = self.take_payload(input);
            if self.remaining > 0 {
                return Ok(None);
            }
            self.in_payload = false;
            if let Some(event) = self.finish_frame(payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Reads on in the header; true once it is complete.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<bool, BadFrame> {
        while (self.header_filled as usize) < self.header_length() {
            let missing = self.header_length() - self.header_filled as usize;
            let taken = missing.min(input.len());
            if taken == 0 {
                return Ok(false);
            }
            let (head, rest) = input.split_at(taken);
            self.header[self.header_filled as usize..][..taken].copy_from_slice(head);
            self.header_filled += taken as u8;
            *input = rest;
        }
        self.header_filled = 0;
        self.in_payload = true;
        self.remaining = match self.header[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(self.header[2..10].try_into().expect("eight bytes")),
            short => u64::from(short),
        };
        self.start_frame()?;
        Ok(true)
    }

    /// The length of the header, as far as it is known: the second byte decides.
    fn header_length(&self) -> usize {
        match self.header[1] & 0x7F {
            _ if self.header_filled < 2 => 2,
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    /// Checks the header and opens the frame's account.
    fn start_frame(&mut self) -> Result<(), BadFrame> {
        if self.header[1] & 0x80 != 0 {
            return Err(BadFrame("a server must not mask its frames"));
        }
        let compressed = self.header[0] & COMPRESSED != 0;
        let may_be = self.deflate && matches!(self.opcode(), TEXT | BINARY);
        if self.header[0] & 0x30 != 0 || (compressed && !may_be) {
            return Err(BadFrame("reserved bits that no extension has given a meaning"));
        }
        match self.opcode() {
            0 if self.message_opcode == 0 => Err(BadFrame("a continuation of nothing")),
            0 => {
                self.message_length += self.remaining;
                Ok(())
            }
            TEXT | BINARY if self.message_opcode != 0 => {
                Err(BadFrame("a message inside a message"))
            }
            opcode @ (TEXT | BINARY) => {
                self.message_opcode = opcode;
                self.message_compressed = compressed;
                self.message_length = self.remaining;
                Ok(())
            }
            CLOSE | PING | PONG if self.remaining <= MAX_CONTROL as u64 => {
                self.control_filled = 0;
                Ok(())
            }
            CLOSE | PING | PONG => Err(BadFrame("a control frame over 125 bytes")),
            _ => Err(BadFrame("an unknown opcode")),
        }
    }

    /// Skips payload; control payload is kept. Returns what was skipped.
    fn take_payload<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let taken = self.remaining.min(input.len() as u64) as usize;
        let (payload, rest) = input.split_at(taken);
        *input = rest;
        self.remaining -= taken as u64;
        if self.opcode() >= CLOSE {
            self.control[self.control_filled as usize..][..taken].copy_from_slice(payload);
            self.control_filled += taken as u8;
        }
        payload
    }

    /// The event that the end of this frame makes, if it makes one.
    fn finish_frame<'a>(&mut self, last: &'a [u8]) -> Result<Option<Event<'a>>, BadFrame> {
        let finished = self.header[0] & 0x80 != 0;
        match self.opcode() {
            PING => Ok(Some(Event::Ping)),
            PONG => Ok(None),
            CLOSE => match self.control() {
                [] => Ok(Some(Event::Close(1005))),
                [high, low, ..] => Ok(Some(Event::Close(u16::from_be_bytes([*high, *low])))),
                _ => Err(BadFrame("a close frame of one byte")),
            },
            _ if !finished => Ok(None),
            _ => {
                let (opcode, length) = (self.message_opcode, self.message_length);
                let compressed = self.message_compressed;
                self.message_opcode = 0;
                let payload = (last.len() as u64 == length).then_some(last);
                Ok(Some(Event::Message { opcode, length, compressed, payload }))
            }
        }
    }

    fn opcode(&self) -> u8 {
        self.header[0] & 0x0F
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(reader: &mut FrameReader, mut input: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(event) = reader.next(&mut input).expect("good frames") {
            seen.push(match event {
                Event::Message { opcode, length, payload, .. } => {
                    format!("{opcode}:{length}:{}", payload.is_some())
                }
                other => format!("{other:?}"),
            });
        }
        seen
    }

    #[test]
    fn masks_as_the_rfc_example_does() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(masked(TEXT, b"Hello"), hello);
    }

    #[test]
    fn uses_the_shortest_length_field() {
        assert_eq!(masked(TEXT, &[0; 125]).len(), 2 + 4 + 125);
        assert_eq!(masked(TEXT, &[0; 126]).len(), 4 + 4 + 126);
        assert_eq!(masked(TEXT, &[0; 65_536]).len(), 10 + 4 + 65_536);
    }

    #[test]
    fn a_run_of_one_never_joins_messages() {
        let run = FrameRun::new(&masked(TEXT, b"ab"), 1);
        assert_eq!(run.slice(5, 0).len(), 8);
        assert_eq!(run.slice(5, 3).len(), 5);
    }

    #[test]
    fn a_longer_run_stops_at_what_is_owed() {
        let run = FrameRun::new(&masked(TEXT, b"ab"), 4);
        assert_eq!(run.slice(9, 0).len(), 32);
        assert_eq!(run.slice(2, 3).len(), 13);
    }

    #[test]
    fn finds_several_messages_in_one_read() {
        let input = [0x81, 0x01, b'a', 0x82, 0x00, 0x81, 0x02, b'b', b'c'];
        assert_eq!(
            events(&mut FrameReader::new(false), &input),
            ["1:1:true", "2:0:true", "1:2:true"]
        );
    }

    #[test]
    fn finds_the_same_when_every_byte_comes_alone() {
        let mut reader = FrameReader::new(false);
        let mut input = vec![0x82, 126, 0x01, 0x00];
        input.extend([b'a'; 256]);
        input.extend([0x89, 0x02, b'h', b'i', 0x88, 0x02, 0x03, 0xE8]);
        let seen: Vec<String> =
            input.iter().flat_map(|byte| events(&mut reader, std::slice::from_ref(byte))).collect();
        assert_eq!(seen, ["2:256:false", "Ping", "Close(1000)"]);
    }

    #[test]
    fn counts_a_fragmented_message_once() {
        let input = [0x01, 0x01, b'a', 0x89, 0x00, 0x80, 0x01, b'b'];
        assert_eq!(events(&mut FrameReader::new(false), &input), ["Ping", "1:2:false"]);
    }

    #[test]
    fn rejects_masked_frames_and_reserved_bits() {
        assert!(FrameReader::new(false).next(&mut &[0x81, 0x81][..]).is_err());
        assert!(FrameReader::new(false).next(&mut &[0xC1, 0x00][..]).is_err());
        assert!(FrameReader::new(true).next(&mut &[0xA1, 0x00][..]).is_err());
        assert!(FrameReader::new(true).next(&mut &[0xC9, 0x00][..]).is_err());
    }

    #[test]
    fn tells_compressed_messages_from_others() {
        let mut reader = FrameReader::new(true);
        let mut input = &[0xC1, 0x01, b'a', 0x81, 0x00][..];
        for expected in [true, false] {
            match reader.next(&mut input) {
                Ok(Some(Event::Message { compressed, .. })) => assert_eq!(compressed, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
