//! Limits of time for many connections at once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::exchange::ConnectionId;
use crate::session::Deadline;

/// Up to so many limits the queue is not searched for those that mean nothing any more.
const MIN_SEARCHED: usize = 1024;

/// Time after which memory that nobody has needed is freed, in milliseconds.
const TRIM_AFTER: u64 = 5000;

/// All limits of an I/O thread, and its clock.
#[derive(Debug)]
pub(super) struct Timers {
    started: Instant,
    /// By kind and length in milliseconds. There is one only while something is in it, so there are no more
    /// of them than connections, and in fact as many as routes have heartbeats of their own.
    queues: RefCell<BTreeMap<(Deadline, u64), Deadlines>>,
    /// When memory of buffers is to be freed.
    trim_at: Cell<Option<u64>>,
    /// Tells the task that watches limits that there is an earlier one than it sleeps for.
    pub changed: Notify,
}

impl Timers {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            queues: RefCell::default(),
            trim_at: Cell::new(None),
            changed: Notify::new(),
        }
    }

    /// Milliseconds since the thread started.
    pub fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Microseconds since the thread started.
    pub fn now_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// When the first limit runs out.
    pub fn next(&self) -> Option<u64> {
        let first = self.queues.borrow().values().filter_map(Deadlines::next).min();
        first.into_iter().chain(self.trim_at.get()).min()
    }

    /// Starts a limit of `after` milliseconds for `id`; `counts` as in [`Deadlines::start`].
    pub fn start(
        &self,
        deadline: Deadline,
        after: u64,
        id: ConnectionId,
        counts: impl Fn(u64, ConnectionId) -> bool,
    ) {
        let mut queues = self.queues.borrow_mut();
        let queue = queues.entry((deadline, after)).or_insert_with(|| Deadlines::new(after));
        if queue.start(self.now(), id, counts) {
            self.changed.notify_one();
        }
    }

    /// Takes a connection whose limit has run out at `now`, with the length of that limit.
    pub fn take_due(&self, deadline: Deadline, now: u64) -> Option<(ConnectionId, u64)> {
        let mut queues = self.queues.borrow_mut();
        let all = queues.range_mut((deadline, 0)..=(deadline, u64::MAX));
        let due = |((_, after), queue): (&(Deadline, u64), &mut Deadlines)| {
            queue.take_due(now).map(|id| (id, *after, queue.next().is_none()))
        };
        let (id, after, is_empty) = all.into_iter().find_map(due)?;
        if is_empty {
            queues.remove(&(deadline, after));
        }
        Some((id, after))
    }

    /// Has memory of buffers looked at in a while.
    pub fn schedule_trim(&self) {
        if self.trim_at.get().is_none() {
            self.trim_at.set(Some(self.now() + TRIM_AFTER));
            self.changed.notify_one();
        }
    }

    /// Whether that is now, once.
    pub fn take_trim(&self, now: u64) -> bool {
        let due = self.trim_at.get().is_some_and(|at| at <= now);
        if due {
            self.trim_at.set(None);
        }
        due
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Connections in the order in which their time runs out. As every limit of a queue has the same
/// length, appending keeps it sorted: no timer per connection, and O(1) for each of them.
#[derive(Debug)]
struct Deadlines {
    /// Length of the limit in milliseconds.
    after: u64,
    queue: VecDeque<(u64, ConnectionId)>,
    /// At this length the queue is searched: twice what was left the last time, so that it costs O(1)
    /// for each limit, and the queue is never longer than twice the limits that count.
    searched_at: usize,
}

impl Deadlines {
    pub fn new(after: u64) -> Self {
        Self { after, queue: VecDeque::new(), searched_at: MIN_SEARCHED }
    }

    /// Starts the limit for `id` at `now` (milliseconds). Returns whether the queue was empty, so
    /// that whoever sleeps until [`Self::next`] has to look again.
    ///
    /// `counts` tells whether a limit that was started for a connection at a time still matters: those
    /// of connections that have ended would otherwise stay until they run out.
    pub fn start(
        &mut self,
        now: u64,
        id: ConnectionId,
        counts: impl Fn(u64, ConnectionId) -> bool,
    ) -> bool {
        if self.queue.len() >= self.searched_at {
            let after = self.after;
            self.queue.retain(|(due, id)| counts(due.saturating_sub(after), *id));
            self.searched_at = MIN_SEARCHED.max(2 * self.queue.len());
            self.queue.shrink_to(self.searched_at);
        }
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
    fn limits_of_one_kind_may_have_different_lengths() {
        let id = |slot| ConnectionId { slot, generation: 0 };
        let timers = Timers::new();
        for (slot, after) in [(1, 50_000), (2, 20_000), (3, 50_000), (4, 20_000)] {
            timers.start(Deadline::Heartbeat, after, id(slot), |_, _| true);
        }
        timers.start(Deadline::Pong, 10_000, id(5), |_, _| true);
        let first = timers.next().unwrap();
        assert!((10_000..20_000).contains(&first));
        assert_eq!(timers.take_due(Deadline::Heartbeat, first), None);
        let now = timers.now() + 20_000;
        assert_eq!(timers.take_due(Deadline::Heartbeat, now), Some((id(2), 20_000)));
        assert_eq!(timers.take_due(Deadline::Heartbeat, now), Some((id(4), 20_000)));
        assert_eq!(timers.take_due(Deadline::Heartbeat, now), None);
        assert_eq!(timers.take_due(Deadline::Pong, now), Some((id(5), 10_000)));
        assert_eq!(timers.queues.borrow().len(), 1);
        assert_eq!(timers.take_due(Deadline::Heartbeat, u64::MAX), Some((id(1), 50_000)));
        assert_eq!(timers.take_due(Deadline::Heartbeat, u64::MAX), Some((id(3), 50_000)));
        assert_eq!((timers.next(), timers.queues.borrow().len()), (None, 0));
    }

    #[test]
    fn limits_run_out_in_the_order_in_which_they_started() {
        let id = |slot| ConnectionId { slot, generation: 0 };
        let mut deadlines = Deadlines::new(50);
        assert!(deadlines.start(0, id(1), |_, _| true));
        assert!(!deadlines.start(10, id(2), |_, _| true));
        assert_eq!(deadlines.next(), Some(50));
        assert_eq!(deadlines.take_due(49), None);
        assert_eq!(deadlines.take_due(55), Some(id(1)));
        assert_eq!(deadlines.take_due(55), None);
        assert_eq!(deadlines.take_due(60), Some(id(2)));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn limits_that_no_longer_count_are_forgotten_before_they_run_out() {
        let id = |slot| ConnectionId { slot, generation: 0 };
        let mut deadlines = Deadlines::new(1_000_000);
        for now in 0..100_000 {
            // Ten at a time are open.
            deadlines.start(now, id(now as u32), |started, of| {
                assert_eq!(started, u64::from(of.slot));
                started + 10 > now
            });
            assert!(deadlines.queue.len() <= MIN_SEARCHED + 1);
        }
        assert!(deadlines.queue.capacity() <= 4 * MIN_SEARCHED);
        assert_eq!(deadlines.take_due(u64::MAX).map(|id| id.slot >= 98_000), Some(true));
    }
}
