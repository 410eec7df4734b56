//! An I/O thread as the JavaScript thread sees it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::exchange::oplog::{Op, OpLog, Segment};
use crate::exchange::{Common, Counters};
use crate::io;

/// An I/O thread as the JavaScript thread sees it.
pub(super) struct Thread {
    pub log: Arc<OpLog>,
    pub counters: Arc<Counters>,
    /// The stretch of the log that has not been handed over.
    pub pending: RefCell<Segment>,
    /// Segments that have been handed over.
    handed_over: Cell<u64>,
    handle: Cell<Option<JoinHandle<()>>>,
}

impl Drop for Thread {
    /// Ends the thread and waits for it: it never waits for this one, so it ends at once.
    fn drop(&mut self) {
        self.log.abandon();
        self.stop();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed by it.
            let _ = handle.join();
        }
    }
}

impl Thread {
    pub fn start<F: FnOnce() + Send + Sync + 'static>(
        number: usize,
        common: Arc<Common>,
        exit: &Arc<OnDrop<F>>,
    ) -> std::io::Result<Self> {
        let log = Arc::new(OpLog::default());
        let counters = Arc::new(Counters::default());
        let (started, result) = std::sync::mpsc::sync_channel(1);
        let handle = {
            let (log, counters, exit) = (log.clone(), counters.clone(), exit.clone());
            // Linux shows 15 characters.
            std::thread::Builder::new().name(format!("nextrush-ws-{number}")).spawn(move || {
                io::run(number, common, log, counters, &started);
                drop(exit);
            })?
        };
        result.recv().unwrap_or_else(|_| Err(std::io::Error::other("the I/O thread died")))?;
        Ok(Self {
            log,
            counters,
            pending: RefCell::default(),
            handed_over: Cell::new(0),
            handle: Cell::new(Some(handle)),
        })
    }

    pub fn is_running(&self) -> bool {
        let handle = self.handle.take();
        let running = handle.as_ref().is_some_and(|handle| !handle.is_finished());
        self.handle.set(handle);
        running
    }

    pub fn append(&self, op: Op) {
        self.pending.borrow_mut().push(op);
        self.hand_over_if_full();
    }

    pub fn hand_over_if_full(&self) {
        if self.pending.borrow().is_full() {
            self.flush();
        }
    }

    pub fn stop(&self) {
        self.append(Op::Stop);
        self.flush();
    }

    /// Hands over what does not wait for others.
    pub fn flush_urgent(&self) {
        if self.pending.borrow().is_urgent() {
            self.flush();
        }
    }

    pub fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        if !pending.ops.is_empty() {
            *pending = self.log.append(std::mem::take(&mut pending));
            self.handed_over.set(self.handed_over.get() + 1);
        }
    }

    /// Whether everything that has been handed over has been carried out, and what other nodes said
    /// before: what is sent waits in a connection's own queue, or has been written.
    #[cfg(unix)]
    pub fn has_caught_up(&self) -> bool {
        self.log.carried_out() == self.handed_over.get() && self.log.has_none_of_others()
    }
}

/// Calls a function when the last owner is gone.
pub(super) struct OnDrop<F: FnOnce()>(pub Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}
