//! Close codes, and why a connection has to be failed (RFC 6455 §7).

use std::fmt;
use std::ops::RangeInclusive;

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
    /// Short English reason; at most [`MAX_REASON`](super::close::MAX_REASON) bytes.
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
