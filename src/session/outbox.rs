//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use smallvec::SmallVec;

/// Frames shorter than this are copied behind one another, so that they leave in one piece of
/// memory; longer ones are shared.
const COPY_BELOW: usize = 2 << 10;

/// A piece of copied frames grows up to this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Buffers for one vectored write. Linux takes up to 1024; beyond a few, the kernel's copying is
/// all that counts.
pub(super) const SLICES: usize = 32;

/// Bytes in the order in which they go to the peer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The piece being written.
    first: Option<Piece>,
    /// What follows it. Allocates only when there is more than one piece.
    #[expect(clippy::box_collection, reason = "three words less for each connection that rests")]
    rest: Option<Box<VecDeque<Piece>>>,
    /// Bytes that wait.
    len: usize,
    /// Memory of the copied pieces in bytes.
    kept: usize,
    /// Memory of the shared pieces in bytes; other queues may count the same bytes.
    shared: usize,
    /// Bytes at the start that must not be dropped: the rest of the 101 response.
    protected: usize,
}

#[derive(Debug)]
enum Piece {
    /// Frames copied here, and how many bytes at the start have been written.
    Copied(Vec<u8>, usize),
    /// Frames shared with other connections, or moved here whole, and how many bytes at the start have
    /// been written.
    Shared(Bytes, usize),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes, written) => &bytes[*written..],
            Self::Shared(bytes, written) => &bytes[*written..],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Copied(_, written) | Self::Shared(_, written) => *written += count,
        }
    }
}

/// Emptied buffers of copied frames, shared by all connections of a thread.
#[derive(Debug, Default)]
pub struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// Fewest buffers that have been here at a time since the last [`Self::trim`]: what nobody has
    /// needed since then.
    unused: usize,
}

impl BufferPool {
    const MAX_BUFFERS: usize = 256;

    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.unused = self.unused.min(self.buffers.len());
        buffer
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < Self::MAX_BUFFERS && buffer.capacity() <= 2 * PIECE_BYTES {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Whether there is nothing to be trimmed.
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// Frees the buffers that nobody has needed since the last time, and returns how many bytes
    /// they had.
    pub fn trim(&mut self) -> usize {
        let freed = self.buffers.drain(..self.unused).map(|buffer| buffer.capacity()).sum();
        self.unused = self.buffers.len();
        self.buffers.shrink_to_fit();
        freed
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

    /// Bytes of the response that wait.
    pub fn response_len(&self) -> usize {
        self.protected
    }

    /// Memory of what only this queue has, in bytes.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Memory of all that it has, in bytes, also of what others have as well.
    pub fn weight(&self) -> usize {
        self.kept + self.shared
    }

    /// The peer takes no more for now: lets go of memory that the frames do not need. A buffer from
    /// the pool may be a thousand times as long as the frame in it.
    pub fn settle(&mut self) {
        for piece in
            self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
        {
            if let Piece::Copied(bytes, _) = piece {
                bytes.shrink_to(bytes.len() + bytes.len() / 8);
            }
        }
        self.count_kept();
    }

    fn count_kept(&mut self) {
        (self.kept, self.shared) = (0, 0);
        for piece in self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter())) {
            match piece {
                Piece::Copied(bytes, _) => self.kept += bytes.capacity(),
                Piece::Shared(bytes, _) => self.shared += bytes.len(),
            }
        }
    }

    /// Queues the response that comes before all frames and is never dropped.
    pub fn push_response(&mut self, response: &[u8], pool: &mut BufferPool) {
        debug_assert!(self.is_empty());
        self.protected = response.len();
        self.push(response, pool);
    }

    /// Puts the rest of a frame before everything else, of which nothing may have been written yet:
    /// its first `written` bytes have. It is not dropped.
    pub fn push_rest(&mut self, frame: &[u8], written: usize) {
        self.len += frame.len() - written;
        let frame = frame.to_vec();
        self.kept += frame.capacity();
        if let Some(first) = self.first.replace(Piece::Copied(frame, written)) {
            self.rest.get_or_insert_default().push_front(first);
        }
    }

    /// Queues a copy of `frame`.
    pub fn push(&mut self, frame: &[u8], pool: &mut BufferPool) {
        self.len += frame.len();
        let rest = self.rest.as_mut().and_then(|rest| rest.back_mut());
        let last = rest.or(self.first.as_mut());
        if let Some(Piece::Copied(bytes, _)) = last
            && bytes.len() + frame.len() <= PIECE_BYTES
        {
            let before = bytes.capacity();
            grow(bytes, frame.len());
            self.kept += bytes.capacity() - before;
            return bytes.extend_from_slice(frame);
        }
        let mut bytes = pool.take();
        grow(&mut bytes, frame.len());
        bytes.extend_from_slice(frame);
        self.kept += bytes.capacity();
        self.append(Piece::Copied(bytes, 0));
    }

    /// Queues `frame` without copying it where that pays.
    pub fn push_shared(&mut self, frame: &Bytes, pool: &mut BufferPool) {
        if frame.len() < COPY_BELOW && !self.is_empty() {
            return self.push(frame, pool);
        }
        self.len += frame.len();
        self.shared += frame.len();
        self.append(Piece::Shared(frame.clone(), 0));
    }

    fn append(&mut self, piece: Piece) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.rest.get_or_insert_default().push_back(piece);
        }
    }

    /// The bytes to write next.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES]> {
        self.first
            .iter()
            .chain(self.rest.iter().flat_map(|rest| rest.iter()))
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
            let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
            match std::mem::replace(&mut self.first, next) {
                Some(Piece::Copied(buffer, _)) => {
                    self.kept -= buffer.capacity();
                    pool.give(buffer);
                }
                Some(Piece::Shared(bytes, _)) => self.shared -= bytes.len(),
                None => {}
            }
        }
        if self.rest.as_ref().is_some_and(|rest| rest.capacity() > SLICES) {
            self.rest = None;
        }
    }

    /// Drops everything that has not begun to be written, except the response, and returns how many
    /// bytes that were. A piece that is partly written stays whole, so that the peer sees whole
    /// frames.
    pub fn drop_unsent(&mut self) -> usize {
        let before = self.len;
        self.rest = None;
        match &mut self.first {
            Some(Piece::Copied(bytes, written)) if self.protected > 0 => {
                bytes.truncate(*written + self.protected);
            }
            Some(Piece::Copied(_, 0) | Piece::Shared(_, 0)) => self.first = None,
            _ => {}
        }
        self.len = self.first.as_ref().map_or(0, |piece| piece.bytes().len());
        self.settle();
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
        let memory = outbox.kept();
        assert!(memory <= outbox.len() + outbox.len() / 7, "{memory} for {}", outbox.len());
        outbox.count_kept();
        assert_eq!(outbox.kept(), memory);
        outbox.consume(outbox.len(), &mut pool);
        assert_eq!(outbox.kept(), 0);
    }

    #[test]
    fn a_shared_frame_has_its_whole_weight_until_its_last_byte_is_written() {
        let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
        let frame = Bytes::from(vec![1; COPY_BELOW]);
        outbox.push_shared(&frame, &mut pool);
        outbox.push_shared(&frame, &mut pool);
        outbox.consume(COPY_BELOW - 1, &mut pool);
        assert_eq!((outbox.weight(), outbox.kept()), (2 * COPY_BELOW, 0));
        outbox.consume(1, &mut pool);
        assert_eq!(outbox.weight(), COPY_BELOW);
        outbox.drop_unsent();
        assert_eq!(outbox.weight(), 0);
    }

    #[test]
    fn a_short_frame_that_stays_does_not_keep_a_long_buffer() {
        let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
        outbox.push(&[1; PIECE_BYTES], &mut pool);
        outbox.consume(PIECE_BYTES, &mut pool);
        outbox.push(b"short", &mut pool);
        assert!(outbox.kept() >= PIECE_BYTES);
        outbox.settle();
        assert!(outbox.kept() < 100);
        assert_eq!(contents(&outbox), b"short");
    }

    #[test]
    fn buffers_that_nobody_needs_any_more_are_freed() {
        let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
        for _ in 0..10 {
            outbox.push(&[1; PIECE_BYTES], &mut pool);
        }
        outbox.consume(10 * PIECE_BYTES, &mut pool);
        // They have all just been needed.
        assert_eq!(pool.trim(), 0);
        outbox.push(&[2; PIECE_BYTES], &mut pool);
        outbox.push(&[2; PIECE_BYTES], &mut pool);
        outbox.consume(2 * PIECE_BYTES, &mut pool);
        assert!(pool.trim() >= 8 * PIECE_BYTES);
        assert_eq!(pool.buffers.len(), 2);
        pool.trim();
        assert!(pool.is_empty());
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
        assert_eq!(pool.buffers.len(), 1);
        outbox.push(b"def", &mut pool);
        assert_eq!(pool.buffers.len(), 0);
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
        let long = Bytes::from(vec![0; COPY_BELOW]);
        outbox.push_shared(&long, &mut pool);
        assert_eq!(outbox.drop_unsent(), COPY_BELOW);
        outbox.push_shared(&long, &mut pool);
        outbox.consume(1, &mut pool);
        assert_eq!((outbox.drop_unsent(), outbox.len()), (0, COPY_BELOW - 1));
    }

    #[test]
    fn the_rest_of_a_frame_comes_first_and_is_not_dropped() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.push(b"later", &mut pool);
        outbox.push_rest(b"begun", 3);
        assert_eq!((contents(&outbox), outbox.len()), (b"unlater".to_vec(), 7));
        assert_eq!(outbox.drop_unsent(), 5);
        outbox.push(b"close", &mut pool);
        assert_eq!(contents(&outbox), b"unclose");
        outbox.consume(7, &mut pool);
        assert_eq!((outbox.len(), outbox.kept()), (0, 0));
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
