//! One frame on the wire (RFC 6455 §5.2).

use super::codes::Violation;

/// Longest payload of a control frame in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Longest header of a frame that a server sends in bytes: it is never masked.
pub const MAX_HEADER: usize = 10;

/// Longest header of a frame that a client sends in bytes.
pub const MAX_CLIENT_HEADER: usize = 14;

/// What a frame carries (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message under way.
    Continuation = 0,
    /// A text message or its first fragment.
    Text = 1,
    /// A binary message or its first fragment.
    Binary = 2,
    /// Starts or answers the close handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// Control frames stand between the fragments of a message and are never fragmented.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }

    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// Header of a frame that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Last fragment of its message.
    pub fin: bool,
    /// RSV1: the message that begins here is compressed (RFC 7692 §6).
    pub compressed: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// Payload length in bytes.
    pub len: u64,
    /// Masking key.
    pub mask: [u8; 4],
}

impl FrameHeader {
    /// Reads a client's header from the start of `bytes`. Returns it with its own length in
    /// bytes, or `None` while more bytes are needed. `compression` tells whether permessage-deflate
    /// was negotiated, which gives RSV1 its meaning.
    ///
    /// # Errors
    /// Whatever can be seen to be wrong is refused as soon as its byte is there: reserved bits and
    /// opcodes, a fragmented or long control frame, a missing mask, a length that is not in its
    /// shortest form or has its top bit set.
    pub fn parse(bytes: &[u8], compression: bool) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let fin = first & 0x80 != 0;
        let Some(opcode) = Opcode::from_bits(first & 0x0f) else {
            return Err(Violation::protocol("reserved opcode"));
        };
        let compressed = first & 0x40 != 0;
        let starts_message = matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || (compressed && !(compression && starts_message)) {
            return Err(Violation::protocol("reserved bit set without an extension"));
        }
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("fragmented control frame"));
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("client frame is not masked"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && short as usize > MAX_CONTROL_PAYLOAD {
            return Err(Violation::protocol("control frame longer than 125 bytes"));
        }
        let (len, mask_at) = match short {
            126 => match bytes.get(2..4) {
                Some(field) => (u64::from(u16::from_be_bytes([field[0], field[1]])), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(field) => (u64::from_be_bytes(field.try_into().expect("eight bytes")), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if (short == 126 && len < 126) || (short == 127 && len <= 0xffff) {
            return Err(Violation::protocol("payload length not in its shortest form"));
        }
        if len >> 63 != 0 {
            return Err(Violation::protocol("payload length with its top bit set"));
        }
        let Some(mask) = bytes.get(mask_at..mask_at + 4) else { return Ok(None) };
        let mask = mask.try_into().expect("four bytes");
        Ok(Some((Self { fin, compressed, opcode, len, mask }, mask_at + 4)))
    }
}

/// Writes the header of a final, unmasked frame into `out` and returns its length in bytes.
pub fn encode_header(out: &mut [u8; MAX_HEADER], opcode: Opcode, len: usize) -> usize {
    out[0] = 0x80 | opcode as u8;
    match len {
        0..=125 => {
            out[1] = len as u8;
            2
        }
        126..=0xffff => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}

/// As [`encode_header`], for a message compressed by permessage-deflate.
pub fn encode_compressed_header(out: &mut [u8; MAX_HEADER], opcode: Opcode, len: usize) -> usize {
    let written = encode_header(out, opcode, len);
    out[0] |= 0x40;
    written
}

/// The payload of a frame that [`encode_frame`] has written.
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let header_len = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header_len..).unwrap_or_default()
}

/// Appends a whole final, unmasked frame to `out`.
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; MAX_HEADER];
    let header_len = encode_header(&mut header, opcode, payload.len());
    out.reserve(header_len + payload.len());
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::super::codes::PROTOCOL_ERROR;
    use super::*;

    fn refused(bytes: &[u8]) -> &'static str {
        let violation = FrameHeader::parse(bytes, false).unwrap_err();
        assert_eq!(violation.code, PROTOCOL_ERROR);
        violation.reason
    }

    #[test]
    fn the_payload_of_a_frame_is_what_it_was_made_of() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut frame = Vec::new();
            encode_frame(&mut frame, Opcode::Binary, &payload);
            assert_eq!(payload_of(&frame), payload);
        }
    }

    #[test]
    fn a_header_is_read_in_all_three_length_forms() {
        let (header, len) = FrameHeader::parse(b"\x81\x85abcd", false).unwrap().unwrap();
        assert_eq!((header.fin, header.opcode, header.len, len), (true, Opcode::Text, 5, 6));
        assert_eq!(&header.mask, b"abcd");
        let (header, len) = FrameHeader::parse(b"\x02\xfe\x00\x7eabcd", false).unwrap().unwrap();
        assert_eq!((header.fin, header.opcode, header.len, len), (false, Opcode::Binary, 126, 8));
        let (header, len) =
            FrameHeader::parse(b"\x80\xff\0\0\0\0\x00\x01\x00\x00abcd", false).unwrap().unwrap();
        assert_eq!((header.opcode, header.len, len), (Opcode::Continuation, 65536, 14));
    }

    #[test]
    fn an_unfinished_header_asks_for_more() {
        let whole = b"\x80\xff\0\0\0\0\x00\x01\x00\x00abcd";
        for len in 0..whole.len() {
            assert_eq!(FrameHeader::parse(&whole[..len], false), Ok(None));
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_refused_at_its_first_byte() {
        for first in [0xc1, 0xa1, 0x91] {
            assert_eq!(refused(&[first]), "reserved bit set without an extension");
        }
        for opcode in [3, 7, 11, 15] {
            assert_eq!(refused(&[0x80 | opcode]), "reserved opcode");
        }
        assert_eq!(refused(b"\x09"), "fragmented control frame");
        assert_eq!(refused(b"\x81\x05"), "client frame is not masked");
        assert_eq!(refused(b"\x89\xfe"), "control frame longer than 125 bytes");
        assert_eq!(refused(b"\x81\xfe\x00\x7d"), "payload length not in its shortest form");
        assert_eq!(
            refused(b"\x81\xff\0\0\0\0\0\0\xff\xff"),
            "payload length not in its shortest form"
        );
        assert_eq!(refused(b"\x81\xff\x80\0\0\0\0\0\0\0"), "payload length with its top bit set");
    }

    #[test]
    fn rsv1_needs_compression_and_the_start_of_a_message() {
        assert!(FrameHeader::parse(b"\xc1\x80abcd", true).unwrap().unwrap().0.compressed);
        for bytes in [b"\xc0\x80abcd", b"\xc9\x80abcd", b"\xe1\x80abcd"] {
            assert_eq!(FrameHeader::parse(bytes, true).unwrap_err().code, PROTOCOL_ERROR);
        }
    }

    #[test]
    fn encoded_headers_use_the_shortest_form() {
        for (len, expected) in [
            (0usize, &b"\x82\x00"[..]),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65535, b"\x82\x7e\xff\xff"),
            (65536, b"\x82\x7f\0\0\0\0\x00\x01\x00\x00"),
        ] {
            let mut out = [0; MAX_HEADER];
            let written = encode_header(&mut out, Opcode::Binary, len);
            assert_eq!(&out[..written], expected);
        }
    }
}
