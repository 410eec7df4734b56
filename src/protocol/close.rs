//! The close frame (RFC 6455 §5.5.1).

pub use super::codes::*;
use super::frame::MAX_CONTROL_PAYLOAD;

/// Longest reason in bytes: a control frame's payload less the two bytes of the code.
pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// What a close frame says. `code` is [`NO_STATUS`] where the frame was empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// Close code.
    pub code: u16,
    /// Reason, possibly empty.
    pub reason: Box<str>,
}

impl CloseFrame {
    /// Reads the payload of a received close frame.
    ///
    /// # Errors
    /// A one-byte payload and codes that must not be on the wire are protocol errors; a reason
    /// that is not UTF-8 is [`INVALID_PAYLOAD`].
    pub fn parse(payload: &[u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(Self { code: NO_STATUS, reason: "".into() }),
            [_] => Err(Violation::protocol("close frame with a one-byte payload")),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !is_sendable(code) {
                    return Err(Violation::protocol("close frame with an invalid code"));
                }
                let reason = simdutf8::basic::from_utf8(reason)
                    .map_err(|_| Violation::utf8("close reason is not valid UTF-8"))?;
                Ok(Self { code, reason: reason.into() })
            }
        }
    }

    /// The payload of this close frame on the wire: empty for [`NO_STATUS`], else the code and as
    /// much of the reason as fits, cut at a character boundary.
    pub fn payload(&self) -> Vec<u8> {
        if self.code == NO_STATUS {
            return Vec::new();
        }
        let mut end = self.reason.len().min(MAX_REASON);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        let mut payload = Vec::with_capacity(2 + end);
        payload.extend_from_slice(&self.code.to_be_bytes());
        payload.extend_from_slice(&self.reason.as_bytes()[..end]);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_close_frame_means_no_status() {
        let frame = CloseFrame::parse(b"").unwrap();
        assert_eq!((frame.code, &*frame.reason), (NO_STATUS, ""));
        assert!(frame.payload().is_empty());
    }

    #[test]
    fn code_and_reason_survive_a_round_trip() {
        let frame = CloseFrame::parse(b"\x03\xe8bye \xe2\x82\xac").unwrap();
        assert_eq!((frame.code, &*frame.reason), (1000, "bye €"));
        assert_eq!(frame.payload(), b"\x03\xe8bye \xe2\x82\xac");
    }

    #[test]
    fn malformed_close_frames_are_violations() {
        assert_eq!(CloseFrame::parse(b"\x03").unwrap_err().code, PROTOCOL_ERROR);
        assert_eq!(CloseFrame::parse(b"\x03\xe8\xff").unwrap_err().code, INVALID_PAYLOAD);
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()).unwrap_err().code, PROTOCOL_ERROR);
        }
        for code in [1000u16, 1003, 1007, 1014, 3000, 4999] {
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()).unwrap().code, code);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = CloseFrame { code: 1000, reason: "€".repeat(60).into() };
        let payload = frame.payload();
        assert_eq!(payload.len(), 2 + 123);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
        let frame = CloseFrame { code: 1000, reason: format!("a{}", "€".repeat(60)).into() };
        assert_eq!(frame.payload().len(), 2 + 121);
    }
}
