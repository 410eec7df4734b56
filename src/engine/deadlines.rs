//! Time limits that all have the same length, for many connections at once.

use std::collections::VecDeque;

use super::ids::ConnectionId;

/// Connections in the order in which their time runs out. As every limit of a queue has the same
/// length, appending keeps it sorted: no timer per connection, and O(1) for each of them.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// Length of the limit in milliseconds.
    after: u64,
    queue: VecDeque<(u64, ConnectionId)>,
}

impl Deadlines {
    pub fn new(after: u64) -> Self {
        Self { after, queue: VecDeque::new() }
    }

    /// Starts the limit for `id` at `now` (milliseconds). Returns whether the queue was empty, so
    /// that whoever sleeps until [`Self::next`] has to look again.
    pub fn start(&mut self, now: u64, id: ConnectionId) -> bool {
        self.queue.push_back((now.saturating_add(self.after), id));
        self.queue.len() == 1
    }

    /// When the first limit runs out.
    pub fn next(&self) -> Option<u64> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// Takes a connection whose limit has run out at `now`.
    pub fn take_due(&mut self, now: u64) -> Option<ConnectionId> {
        let (due, id) = *self.queue.front()?;
        if due > now {
            return None;
        }
        self.queue.pop_front();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_run_out_in_the_order_in_which_they_started() {
        let id = |slot| ConnectionId { slot, generation: 0 };
        let mut deadlines = Deadlines::new(50);
        assert!(deadlines.start(0, id(1)));
        assert!(!deadlines.start(10, id(2)));
        assert_eq!(deadlines.next(), Some(50));
        assert_eq!(deadlines.take_due(49), None);
        assert_eq!(deadlines.take_due(55), Some(id(1)));
        assert_eq!(deadlines.take_due(55), None);
        assert_eq!(deadlines.take_due(60), Some(id(2)));
        assert_eq!(deadlines.next(), None);
    }
}
