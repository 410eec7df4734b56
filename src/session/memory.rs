//! What all connections of an engine make the server keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// The sum of what is kept for connections, and the bound of it. Shared by all threads of an engine.
#[derive(Debug)]
pub struct Memory {
    /// Most bytes.
    limit: usize,
    /// Bytes that are kept: unfinished messages, bytes that nobody has parsed yet, queues. A frame
    /// that many connections share counts once.
    used: AtomicUsize,
    /// Connections that were ended because of the limit.
    shed: AtomicU64,
}

impl Memory {
    /// Nothing is kept yet, and at most `limit` bytes may be.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), shed: AtomicU64::new(0) }
    }

    /// Most bytes that may be kept.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are kept.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// How many bytes too many are kept.
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.limit)
    }

    /// Connections that were ended because of the limit.
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// A connection has been ended because of the limit.
    pub fn count_shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    /// So many more bytes are kept, or fewer.
    pub(super) fn change(&self, by: isize) {
        if by >= 0 {
            self.used.fetch_add(by as usize, Relaxed);
        } else {
            self.used.fetch_sub(by.unsigned_abs(), Relaxed);
        }
    }

    /// Encoded bytes that are counted until the last connection that has to send them has done so.
    /// Those in `bytes` before `start` are of no use.
    pub fn keep(self: &Arc<Self>, mut bytes: Vec<u8>, start: usize) -> Bytes {
        // What counts is the memory, so there should be no more of it than of the bytes.
        bytes.shrink_to_fit();
        self.change(bytes.capacity() as isize);
        Bytes::from_owner(Counted { bytes, start, memory: self.clone() })
    }
}

/// Bytes that count as long as they exist.
struct Counted {
    bytes: Vec<u8>,
    start: usize,
    memory: Arc<Memory>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.change(-(self.bytes.capacity() as isize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_count_once_and_until_the_last_user_is_gone() {
        let memory = Arc::new(Memory::new(10));
        let one = memory.keep(b"..frame".to_vec(), 2);
        let other = one.slice(1..);
        assert_eq!((&one[..], &other[..]), (&b"frame"[..], &b"rame"[..]));
        assert_eq!((memory.used(), memory.excess()), (7, 0));
        let more = memory.keep(vec![0; 5], 0);
        assert_eq!(memory.excess(), 2);
        drop((one, more));
        assert_eq!(memory.used(), 7);
        drop(other);
        assert_eq!(memory.used(), 0);
    }
}
