//! Bytes that have been read from sockets and not been looked at yet, as JavaScript takes no more.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// So many of these bytes, of all connections of a thread together, and no socket is read any more.
/// One read may exceed it.
const MAX_UNREAD: usize = 4 << 20;

/// What all connections of an I/O thread have of them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct UnreadBytes(Rc<Sum>);

#[derive(Debug, Default)]
struct Sum {
    len: Cell<usize>,
    room: Notify,
}

impl UnreadBytes {
    /// The share of one connection, which has none yet.
    pub fn share(&self) -> Share {
        Share { all: self.clone(), counted: 0 }
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
}

/// What one connection has of the sum, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    all: UnreadBytes,
    counted: usize,
}

impl Share {
    /// It has so many bytes now.
    pub fn set(&mut self, count: usize) {
        if count == self.counted {
            return;
        }
        let was_full = self.all.is_full();
        let Sum { len, room } = &*self.all.0;
        len.set(len.get() - self.counted + count);
        self.counted = count;
        if was_full && !self.all.is_full() {
            room.notify_waiters();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_all_connections_count_together_until_they_are_gone() {
        let all = UnreadBytes::default();
        let (mut one, mut other) = (all.share(), all.share());
        one.set(MAX_UNREAD - 1);
        assert!(!all.is_full());
        other.set(1);
        assert!(all.is_full());
        one.set(10);
        assert!(!all.is_full());
        one.set(MAX_UNREAD);
        drop(one);
        assert!(!all.is_full());
        drop(other);
        assert_eq!(all.0.len.get(), 0);
    }
}
