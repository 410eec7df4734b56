//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

/// Frames shorter than this are copied behind one another, so that they leave in one piece of
/// memory; longer ones are shared.
const COPY_BELOW: usize = 2 << 10;

/// A piece of copied frames grows up to this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Buffers for one vectored write. Linux takes up to 1024; beyond a few, the kernel's copying is
/// all that counts.
const SLICES: usize = 32;

/// Bytes in the order in which they go to the peer. Owned by the I/O thread.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The piece being written.
    first: Option<Piece>,
    /// What follows it. Allocates only when there is more than one piece.
    rest: VecDeque<Piece>,
    len: usize,
    /// Bytes at the start that must not be dropped: the rest of the 101 response.
    protected: usize,
}

#[derive(Debug)]
enum Piece {
    /// Frames copied here, and how many bytes at the start have been written.
    Copied(Vec<u8>, usize),
    /// A frame, or what is left of it, shared with other connections or moved here whole.
    Shared(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes, written) => &bytes[*written..],
            Self::Shared(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Copied(_, written) => *written += count,
            Self::Shared(bytes) => bytes.advance(count),
        }
    }
}

/// Emptied buffers of copied frames, shared by all connections of a thread.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Vec<Vec<u8>>);

impl BufferPool {
    const MAX_BUFFERS: usize = 256;

    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::MAX_BUFFERS && buffer.capacity() <= 2 * PIECE_BYTES {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Makes room for `more` bytes, and for an eighth of all beyond: doubling would have a queue take twice
/// what is counted.
fn grow(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more + (bytes.len() + more) / 8);
    }
}

impl Outbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Queues the response that comes before all frames and is never dropped.
    pub fn push_response(&mut self, response: &[u8], pool: &mut BufferPool) {
        debug_assert!(self.is_empty());
        self.protected = response.len();
        self.push(response, pool);
    }

    /// Queues a copy of `frame`.
    pub fn push(&mut self, frame: &[u8], pool: &mut BufferPool) {
        self.len += frame.len();
        let last = self.rest.back_mut().or(self.first.as_mut());
        if let Some(Piece::Copied(bytes, _)) = last
            && bytes.len() + frame.len() <= PIECE_BYTES
        {
            grow(bytes, frame.len());
            return bytes.extend_from_slice(frame);
        }
        let mut bytes = pool.take();
        grow(&mut bytes, frame.len());
        bytes.extend_from_slice(frame);
        self.append(Piece::Copied(bytes, 0));
    }

    /// Queues `frame` without copying it where that pays.
    pub fn push_shared(&mut self, frame: &Bytes, pool: &mut BufferPool) {
        if frame.len() < COPY_BELOW && !self.is_empty() {
            return self.push(frame, pool);
        }
        self.len += frame.len();
        self.append(Piece::Shared(frame.clone()));
    }

    fn append(&mut self, piece: Piece) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.rest.push_back(piece);
        }
    }

    /// The bytes to write next.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES]> {
        self.first
            .iter()
            .chain(&self.rest)
            .take(SLICES)
            .map(|piece| IoSlice::new(piece.bytes()))
            .collect()
    }

    /// Forgets `count` bytes that have been written.
    pub fn consume(&mut self, mut count: usize, pool: &mut BufferPool) {
        self.len -= count;
        self.protected = self.protected.saturating_sub(count);
        while let Some(first) = &mut self.first {
            let have = first.bytes().len();
            if count < have {
                return first.advance(count);
            }
            count -= have;
            let next = self.rest.pop_front();
            if let Some(Piece::Copied(buffer, _)) = std::mem::replace(&mut self.first, next) {
                pool.give(buffer);
            }
        }
        if self.rest.capacity() > SLICES {
            self.rest = VecDeque::new();
        }
    }

    /// Drops everything that has not begun to be written, except the response, and returns how many
    /// bytes that were. A piece that is partly written stays whole, so that the peer sees whole
    /// frames.
    pub fn drop_unsent(&mut self) -> usize {
        let before = self.len;
        self.rest = VecDeque::new();
        match &mut self.first {
            Some(Piece::Copied(bytes, written)) if self.protected > 0 => {
                bytes.truncate(*written + self.protected);
            }
            Some(Piece::Copied(_, 0)) => self.first = None,
            // A shared piece does not tell whether it has begun; keeping one is always sound.
            _ => {}
        }
        self.len = self.first.as_ref().map_or(0, |piece| piece.bytes().len());
        before - self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_little_more_memory_than_they_count() {
        let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
        for _ in 0..100 {
            outbox.push(&[1; 15_900], &mut pool);
            outbox.push(&[2; 6], &mut pool);
        }
        let memory: usize = outbox
            .first
            .iter()
            .chain(&outbox.rest)
            .map(|piece| match piece {
                Piece::Copied(bytes, _) => bytes.capacity(),
                Piece::Shared(bytes) => bytes.len(),
            })
            .sum();
        assert!(memory <= outbox.len() + outbox.len() / 7, "{memory} for {}", outbox.len());
    }

    fn contents(outbox: &Outbox) -> Vec<u8> {
        outbox.slices().iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn short_frames_leave_as_one_slice() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.push(b"one", &mut pool);
        outbox.push_shared(&Bytes::from_static(b"two"), &mut pool);
        assert_eq!((outbox.slices().len(), outbox.len()), (1, 6));
        assert_eq!(contents(&outbox), b"onetwo");
    }

    #[test]
    fn order_holds_over_copied_and_shared_pieces_and_partial_writes() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        let large = Bytes::from(vec![b'L'; COPY_BELOW]);
        outbox.push_shared(&Bytes::from_static(b"first"), &mut pool);
        outbox.push(b"second", &mut pool);
        outbox.push_shared(&large, &mut pool);
        outbox.push(b"last", &mut pool);
        let mut expected = b"firstsecond".to_vec();
        expected.extend_from_slice(&large);
        expected.extend_from_slice(b"last");
        let mut written = Vec::new();
        for step in [3, 1, 5, 900, 2000] {
            let step = step.min(outbox.len());
            written.extend_from_slice(&contents(&outbox)[..step]);
            outbox.consume(step, &mut pool);
        }
        assert_eq!(written, expected);
        assert!(outbox.is_empty() && outbox.slices().is_empty());
    }

    #[test]
    fn emptied_buffers_are_used_again() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.push(b"abc", &mut pool);
        outbox.consume(3, &mut pool);
        assert_eq!(pool.0.len(), 1);
        outbox.push(b"def", &mut pool);
        assert_eq!(pool.0.len(), 0);
    }

    #[test]
    fn dropping_what_is_unsent_keeps_a_frame_that_has_begun() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.push(b"begun", &mut pool);
        outbox.push_shared(&Bytes::from(vec![0; COPY_BELOW]), &mut pool);
        outbox.consume(2, &mut pool);
        assert_eq!(outbox.drop_unsent(), COPY_BELOW);
        assert_eq!(contents(&outbox), b"gun");
        outbox.consume(3, &mut pool);
        outbox.push(b"whole", &mut pool);
        assert_eq!(outbox.drop_unsent(), 5);
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_response_is_never_dropped() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.push_response(b"HTTP/1.1 101", &mut pool);
        outbox.push(b"frame", &mut pool);
        outbox.push_shared(&Bytes::from(vec![0; COPY_BELOW]), &mut pool);
        outbox.consume(5, &mut pool);
        assert_eq!(outbox.drop_unsent(), 5 + COPY_BELOW);
        assert_eq!(contents(&outbox), b"1.1 101");
        outbox.consume(7, &mut pool);
        outbox.push(b"frame", &mut pool);
        assert_eq!(outbox.drop_unsent(), 5);
    }
}
