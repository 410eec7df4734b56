//! What holds for one connection from its beginning: its route may have said it.

use super::rate::MessageRate;
use crate::protocol::{DeflateParams, Deflater, EncodedFrame, Frames};

/// What holds for one connection, set once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Longest message in bytes, over all its fragments.
    pub max_message_size: u32,
    /// How many messages the peer may send; `None` is no limit.
    pub message_rate: Option<MessageRate>,
    /// How messages are compressed, where that was agreed on.
    pub compression: Option<Compression>,
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// What was agreed on in the handshake.
    pub params: DeflateParams,
    /// Payloads shorter than this many bytes are not compressed.
    pub threshold: u32,
    /// Compression level, 0 to 9.
    pub level: u8,
}

/// What decides on the bytes of a message that shares no context with others: where this is equal, the
/// same bytes go to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alone {
    threshold: u32,
    level: u8,
    window_bits: u8,
}

impl Compression {
    pub(super) fn is_worth_it(&self, frame: EncodedFrame<'_>) -> bool {
        let payload = frame.payload();
        !payload.is_empty() && payload.len() >= self.threshold as usize
    }

    pub(super) fn any_worth_it(&self, frames: &Frames) -> bool {
        frames.iter().any(|frame| self.is_worth_it(frame))
    }

    pub(super) fn alone(&self) -> Alone {
        let Self { params, threshold, level } = *self;
        Alone { threshold, level, window_bits: params.server_max_window_bits }
    }

    pub(super) fn new_deflater(&self) -> Box<Deflater> {
        let DeflateParams { server_max_window_bits, server_no_context_takeover, .. } = self.params;
        let level = u32::from(self.level);
        Box::new(Deflater::new(level, server_max_window_bits, server_no_context_takeover))
    }
}

impl Alone {
    /// What a compressor is made for: level and window in bits.
    pub fn compressor(self) -> (u8, u8) {
        (self.level, self.window_bits)
    }
}
