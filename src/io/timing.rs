//! Watches limits of time.

use std::rc::Rc;
use std::time::Duration;

use super::deadlines::millis;
use super::driving::{flush, settle};
use super::population;
use super::state::IoThread;
use crate::exchange::ConnectionId;
use crate::session::Deadline;

/// Limits that run out within this time of each other are handled in one wake-up.
const TIMER_GRANULARITY: u64 = 10;

/// Freed memory that the allocator is asked to give back to the system.
const WORTH_GIVING_BACK: usize = 4 << 20;

/// Pings, and ends connections whose limits run out.
pub(super) async fn watch_limits(io: Rc<IoThread>) {
    loop {
        let changed = io.timers.changed.notified();
        match io.timers.next().into_iter().chain(io.population.due()).min() {
            None => changed.await,
            Some(due) => {
                let wait = due.saturating_sub(io.timers.now()).max(TIMER_GRANULARITY);
                let _ = tokio::time::timeout(Duration::from_millis(wait), changed).await;
            }
        }
        io.enforce_limits();
    }
}

impl IoThread {
    /// The time of a limit starts that has the same length for all.
    pub fn start(&self, deadline: Deadline, id: ConnectionId) {
        let settings = self.settings();
        let after = match deadline {
            Deadline::Pong => settings.limits.pong_timeout,
            Deadline::Close => millis(settings.close_timeout),
            Deadline::Heartbeat => unreachable!("each route may have its own"),
        };
        self.start_for(deadline, after, id);
    }

    /// A ping is due in so many milliseconds.
    pub fn start_heartbeat(&self, after: u64, id: ConnectionId) {
        self.start_for(Deadline::Heartbeat, after, id);
    }

    fn start_for(&self, deadline: Deadline, after: u64, id: ConnectionId) {
        self.timers.start(deadline, after, id, |started, id| {
            self.get(id).is_some_and(|each| each.session.borrow().counts(deadline, started))
        });
    }

    fn enforce_limits(self: &Rc<Self>) {
        let now = self.timers.now();
        if self.population.take_due(now) {
            population::give_back();
        }
        if self.timers.take_trim(now) {
            self.trim();
        }
        for deadline in [Deadline::Close, Deadline::Pong, Deadline::Heartbeat] {
            while let Some((id, after)) = self.timers.take_due(deadline, now) {
                self.run_out(deadline, after, id, now);
            }
        }
    }

    fn run_out(self: &Rc<Self>, deadline: Deadline, after: u64, id: ConnectionId, now: u64) {
        let Some(connection) = self.get(id) else { return };
        let effects = {
            let (reads, resources) =
                (self.reads_from(&connection), &mut self.resources.borrow_mut());
            connection.session.borrow_mut().tick(deadline, now, reads, resources)
        };
        let writes = effects.write;
        settle(self, &connection, effects);
        if writes {
            flush(self, &connection);
        }
        if deadline == Deadline::Heartbeat && connection.session.borrow().is_open() {
            self.start_heartbeat(after, id);
        }
    }

    /// Memory that a burst needed and nobody has needed since goes back.
    fn trim(&self) {
        let pool = &mut self.resources.borrow_mut().pool;
        let freed = pool.trim();
        if pool.is_empty() {
            self.log.trim();
            self.common.inbox.trim();
        } else {
            self.timers.schedule_trim();
        }
        if freed >= WORTH_GIVING_BACK {
            population::give_back();
        }
    }

    /// JavaScript has written and read what there was when it was asked.
    pub fn on_answer(self: &Rc<Self>, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        let Some(question) = connection.session.borrow_mut().answered() else { return };
        let io = self.clone();
        // What it has read has woken the connection's reader, which runs before this task.
        tokio::task::spawn_local(async move {
            let (now, reads) = (io.timers.now(), io.reads_from(&connection));
            let effects = {
                let resources = &mut io.resources.borrow_mut();
                connection.session.borrow_mut().conclude(question, now, reads, resources)
            };
            settle(&io, &connection, effects);
        });
    }
}
