//! Bytes that have been read from sockets and not been looked at yet, as JavaScript takes no more.

use std::cell::Cell;

use tokio::sync::Notify;

/// So many of these bytes, of all connections of a thread together, and no socket is read any more.
/// One read may exceed it.
const MAX_UNREAD: usize = 4 << 20;

/// What all connections of an I/O thread have of them.
#[derive(Debug, Default)]
pub(super) struct UnreadBytes {
    len: Cell<usize>,
    room: Notify,
}

impl UnreadBytes {
    /// A connection, which had `counted` of them, has `now` so many.
    pub fn recount(&self, counted: &Cell<usize>, now: usize) {
        let before = counted.replace(now);
        if now == before {
            return;
        }
        let was_full = self.is_full();
        self.len.set(self.len.get() - before + now);
        if was_full && !self.is_full() {
            self.room.notify_waiters();
        }
    }

    /// Whether sockets have to wait until some of the bytes have been taken.
    pub fn is_full(&self) -> bool {
        self.len.get() >= MAX_UNREAD
    }

    /// Returns once there may be room again.
    pub async fn wait_for_room(&self) {
        if self.is_full() {
            // Nothing else runs between the question and the first poll.
            self.room.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_all_connections_count_together_until_they_are_gone() {
        let all = UnreadBytes::default();
        let (one, other) = (Cell::new(0), Cell::new(0));
        all.recount(&one, MAX_UNREAD - 1);
        assert!(!all.is_full());
        all.recount(&other, 1);
        assert!(all.is_full());
        all.recount(&one, 10);
        assert!(!all.is_full());
        all.recount(&one, MAX_UNREAD);
        assert!(all.is_full());
        all.recount(&one, 0);
        assert!(!all.is_full());
        all.recount(&other, 0);
        assert_eq!(all.len.get(), 0);
    }
}
