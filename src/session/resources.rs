//! What the sessions of one thread share.

use std::sync::Arc;

use super::memory::Memory;
use super::outbox::BufferPool;
use super::rate::MessageRate;
use crate::protocol::{DeflateParams, Deflater, EncodedFrame, Frames};

/// Window sizes are 9 to 15 bits.
const WINDOW_SIZES: usize = 16;

/// Changes of what is kept are told to all threads once they add up to this many bytes.
const TOLD_FROM: isize = 16 << 10;

/// What happens to a message for a connection whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The connection is closed with 1008.
    Close,
    /// The message is dropped and counted.
    Drop,
}

/// Limits of a session.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest message in bytes, over all its fragments.
    pub max_message_size: u64,
    /// How many messages a peer may send; `None` is no limit.
    pub message_rate: Option<MessageRate>,
    /// Most bytes queued for one connection.
    pub max_backpressure: usize,
    /// What happens beyond that.
    pub overflow: Overflow,
    /// Milliseconds for the answer to a ping; zero means forever.
    pub pong_timeout: u64,
    /// Payloads shorter than this many bytes are not compressed.
    pub deflate_threshold: usize,
    /// Compression level, 0 to 9.
    pub deflate_level: u32,
}

/// Shared by the sessions of one thread, and owned by that thread.
#[derive(Debug)]
pub struct Resources {
    /// Set once.
    pub limits: Limits,
    /// Emptied buffers.
    pub pool: BufferPool,
    /// What is kept, by all threads.
    pub memory: Arc<Memory>,
    /// What is kept more, or less, than `memory` has been told of.
    untold: isize,
    /// Bytes of messages that JavaScript holds for handlers that are not ready, of all connections.
    pub(super) held: usize,
    /// Compressors for messages that share no context, by window size in bits.
    deflaters: [Option<Box<Deflater>>; WINDOW_SIZES],
}

impl Resources {
    /// For a thread on which nothing has happened yet.
    pub fn new(limits: Limits, memory: Arc<Memory>) -> Self {
        Self {
            limits,
            pool: BufferPool::default(),
            memory,
            untold: 0,
            held: 0,
            deflaters: Default::default(),
        }
    }

    /// `now` bytes are kept where `before` were.
    pub fn recount(&mut self, before: usize, now: usize) {
        self.untold += now as isize - before as isize;
        if self.untold.abs() >= TOLD_FROM {
            self.tell();
        }
    }

    /// Tells the other threads what is kept here.
    pub fn tell(&mut self) {
        if self.untold != 0 {
            self.memory.change(std::mem::take(&mut self.untold));
        }
    }

    pub(super) fn is_worth_compressing(&self, frame: EncodedFrame<'_>) -> bool {
        let payload = frame.payload();
        !payload.is_empty() && payload.len() >= self.limits.deflate_threshold
    }

    pub(super) fn any_worth_compressing(&self, frames: &Frames) -> bool {
        frames.iter().any(|frame| self.is_worth_compressing(frame))
    }

    /// A compressor for a connection with `params`.
    pub(super) fn new_deflater(&self, params: DeflateParams) -> Box<Deflater> {
        let DeflateParams { server_max_window_bits, server_no_context_takeover, .. } = params;
        Box::new(Deflater::new(
            self.limits.deflate_level,
            server_max_window_bits,
            server_no_context_takeover,
        ))
    }

    /// Compresses those frames that are worth it, and copies the others, for a connection whose
    /// messages share no context.
    pub(super) fn compress_alone<'a>(
        &mut self,
        params: DeflateParams,
        frames: impl Iterator<Item = EncodedFrame<'a>>,
    ) -> Frames {
        let bits = usize::from(params.server_max_window_bits);
        let mut deflater = match self.deflaters[bits].take() {
            Some(deflater) => deflater,
            None => self.new_deflater(params),
        };
        let compressed = self.compress(&mut deflater, frames);
        self.deflaters[bits] = Some(deflater);
        compressed
    }

    /// As [`Self::compress_alone`], in the context of the messages that `deflater` had before.
    pub(super) fn compress<'a>(
        &self,
        deflater: &mut Deflater,
        frames: impl Iterator<Item = EncodedFrame<'a>>,
    ) -> Frames {
        let (mut encoded, mut ends) = (Vec::new(), Vec::new());
        for frame in frames {
            if self.is_worth_compressing(frame) {
                let mut compressed = deflater.frame(frame.opcode(), frame.payload());
                if encoded.is_empty() {
                    encoded = compressed;
                } else {
                    encoded.append(&mut compressed);
                }
            } else {
                encoded.extend_from_slice(frame.bytes());
            }
            ends.push(encoded.len());
        }
        Frames::with_ends(self.memory.keep(encoded, 0), ends)
    }
}
