//! Close codes and the close frame (RFC 6455 §5.5.1 and §7.4).

use std::fmt;
use std::ops::RangeInclusive;

use super::frame::MAX_CONTROL_PAYLOAD;

/// An endpoint goes away: a server shuts down, a page is left, a peer stopped answering.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// Never sent: stands for a close frame without a code (RFC 6455 §7.1.5).
pub const NO_STATUS: u16 = 1005;
/// Never sent: stands for a connection that ended without a close handshake.
pub const ABNORMAL: u16 = 1006;
/// A text message or a close reason was not valid UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// The peer broke a rule of the application or of this server.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message was larger than this server accepts.
pub const MESSAGE_TOO_BIG: u16 = 1009;

/// The server is overloaded for now: the peer may come again later (IANA registry).
pub const TRY_AGAIN_LATER: u16 = 1013;

/// Longest reason in bytes: a control frame's payload less the two bytes of the code.
pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// The codes that may stand in a close frame on the wire (RFC 6455 §7.4 and the IANA registry).
pub const SENDABLE: [RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];

/// Whether `code` is one of [`SENDABLE`].
pub fn is_sendable(code: u16) -> bool {
    SENDABLE.iter().any(|codes| codes.contains(&code))
}

/// Why a connection has to be failed (RFC 6455 §7.1.7): the code that the peer is sent, and words
/// for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Close code for the peer.
    pub code: u16,
    /// Short English reason; at most [`MAX_REASON`] bytes.
    pub reason: &'static str,
}

impl Violation {
    /// A breach of the framing rules, closed with 1002.
    pub const fn protocol(reason: &'static str) -> Self {
        Self { code: PROTOCOL_ERROR, reason }
    }

    /// Bytes that had to be UTF-8 and are not, closed with 1007.
    pub const fn utf8(reason: &'static str) -> Self {
        Self { code: INVALID_PAYLOAD, reason }
    }

    /// A message over the size limit, closed with 1009.
    pub const fn too_big() -> Self {
        Self { code: MESSAGE_TOO_BIG, reason: "message exceeds maxMessageSize" }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

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
