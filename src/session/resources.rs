//! What the sessions of one thread share.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::memory::Memory;
use super::outbox::BufferPool;
use super::terms::Compression;
use crate::protocol::{Deflater, EncodedFrame, Frames};

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

/// Limits that all sessions have in common.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes queued for one connection.
    pub max_backpressure: usize,
    /// What happens beyond that.
    pub overflow: Overflow,
    /// Milliseconds for the answer to a ping; zero means forever.
    pub pong_timeout: u64,
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
    /// Compressors for messages that share no context, by level and window size in bits: ten levels,
    /// seven sizes.
    deflaters: FxHashMap<(u8, u8), Box<Deflater>>,
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
            deflaters: FxHashMap::default(),
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

    /// Compresses those frames that are worth it, and copies the others, for a connection whose
    /// messages share no context.
    pub(super) fn compress_alone<'a>(
        &mut self,
        compression: &Compression,
        frames: impl Iterator<Item = EncodedFrame<'a>>,
    ) -> Frames {
        let key = compression.alone().compressor();
        let known = self.deflaters.remove(&key);
        let mut deflater = known.unwrap_or_else(|| compression.new_deflater());
        let compressed = self.compress(compression, &mut deflater, frames);
        self.deflaters.insert(key, deflater);
        compressed
    }

    /// As [`Self::compress_alone`], in the context of the messages that `deflater` had before.
    pub(super) fn compress<'a>(
        &self,
        compression: &Compression,
        deflater: &mut Deflater,
        frames: impl Iterator<Item = EncodedFrame<'a>>,
    ) -> Frames {
        let (mut encoded, mut ends) = (Vec::new(), Vec::new());
        for frame in frames {
            if compression.is_worth_it(frame) {
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
