//! Bytes that have been read from sockets and not been looked at yet, as JavaScript takes no more.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// So many of these bytes, of all connections of a thread together, and no socket is read any more.
/// One read may exceed it.
const MAX_UNREAD: usize = 4 << 20;

/// What all connections of an I/O thread keep. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct UnreadBytes(Rc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    len: Cell<usize>,
    room: Notify,
}

impl UnreadBytes {
    /// Keeps the bytes of one connection.
    pub fn keep(&self, bytes: Vec<u8>) -> Unread {
        let mut unread = Unread { all: self.clone(), bytes, taken: 0, counted: 0 };
        unread.count_again();
        unread
    }

    /// Whether sockets have to wait until some of the bytes have been taken.
    pub fn is_full(&self) -> bool {
        self.0.len.get() >= MAX_UNREAD
    }

    /// Returns once there may be room again.
    pub async fn wait_for_room(&self) {
        if self.is_full() {
            // Nothing else runs between the question and the first poll.
            self.0.room.notified().await;
        }
    }

    fn add(&self, count: usize) {
        self.0.len.set(self.0.len.get() + count);
    }

    fn give_back(&self, count: usize) {
        let was_full = self.is_full();
        self.0.len.set(self.0.len.get() - count);
        if was_full && !self.is_full() {
            self.0.room.notify_waiters();
        }
    }
}

/// The bytes of one connection, which count until all of them are taken, or this is dropped.
#[derive(Debug)]
pub(super) struct Unread {
    all: UnreadBytes,
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
    /// How many of them count.
    counted: usize,
}

impl Unread {
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Those that have not been taken.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    /// `count` more have been taken.
    pub fn took(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            // They counted until now because all of their memory was still held.
            self.set_aside();
            self.bytes = Vec::new();
            self.taken = 0;
        }
    }

    /// They do not count for now.
    pub fn set_aside(&mut self) {
        self.all.give_back(std::mem::take(&mut self.counted));
    }

    /// Undoes [`Self::set_aside`].
    pub fn count_again(&mut self) {
        self.all.add(self.bytes.len() - self.counted);
        self.counted = self.bytes.len();
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.set_aside();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_of_them_is_taken() {
        let all = UnreadBytes::default();
        let mut one = all.keep(vec![1; MAX_UNREAD - 1]);
        assert!(!all.is_full());
        let other = all.keep(vec![2]);
        assert!(all.is_full());
        one.took(MAX_UNREAD - 2);
        assert_eq!(one.bytes(), [1]);
        assert!(all.is_full());
        one.took(1);
        assert!(one.is_empty() && !all.is_full());
        drop(one);
        let mut third = all.keep(vec![3; MAX_UNREAD]);
        third.set_aside();
        assert!(!all.is_full());
        third.count_again();
        assert!(all.is_full());
        drop(third);
        drop(other);
        assert_eq!(all.0.len.get(), 0);
    }
}
