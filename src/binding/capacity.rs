//! How many connections there may be: of a plugin, or of a route.

use std::cell::{Cell, RefCell};

use crate::exchange::Ledger;

/// Counts connections against a limit. What counts: requests being verified, and connections until
/// JavaScript has been told of their end and their descriptors are closed. Owned by the JavaScript thread.
#[derive(Default)]
pub(super) struct Capacity {
    /// `None` is no limit.
    limit: Option<u32>,
    /// Admitted requests that have not become connections.
    admitted: Cell<u32>,
    /// Adopted connections whose end has not been delivered.
    open: Cell<u32>,
    /// Of the current engine, which is last, and of those before it whose connections are still being seen
    /// out.
    ledgers: RefCell<Vec<Ledger>>,
}

/// Whether there is room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Once a connection has been asked for its place that only waits for the peer's end of stream.
    OnRequest,
    Full,
}

impl Capacity {
    pub fn new(limit: Option<u32>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// An engine has been started, whose connections are counted by `ledger`.
    pub fn start(&self, ledger: Ledger) {
        let mut ledgers = self.ledgers.borrow_mut();
        ledgers.retain(|ledger| ledger.living() > 0);
        ledgers.push(ledger);
    }

    /// What counts the connections of the engine that was started last.
    pub fn ledger(&self) -> Option<Ledger> {
        self.ledgers.borrow().last().cloned()
    }

    /// Connections that have a descriptor or a stream, those of engines that were stopped included.
    pub fn living(&self) -> u64 {
        self.ledgers.borrow().iter().map(Ledger::living).sum()
    }

    /// Adopted connections whose end has not been delivered.
    pub fn open(&self) -> u32 {
        self.open.get()
    }

    /// Whether the limit allows one more.
    pub fn room(&self) -> Room {
        let Some(limit) = self.limit else { return Room::Free };
        let fits = |living: u64| {
            let connections = living.max(u64::from(self.open.get()));
            u64::from(self.admitted.get()) + connections < u64::from(limit)
        };
        let living = self.living();
        if fits(living) {
            return Room::Free;
        }
        let making_room: u64 = self.ledgers.borrow().iter().map(Ledger::making_room).sum();
        // Not more of them than there may be connections, so that there are bounded many of both.
        let on_request = fits(living.saturating_sub(making_room.min(u64::from(limit))));
        if on_request { Room::OnRequest } else { Room::Full }
    }

    /// A request has been admitted.
    pub fn admit(&self) {
        self.admitted.set(self.admitted.get() + 1);
    }

    /// One that was admitted is over: it has become a connection, or never will.
    pub fn withdraw(&self) {
        self.admitted.set(self.admitted.get().saturating_sub(1));
    }

    /// A request has become a connection.
    pub fn opened(&self) {
        self.withdraw();
        self.open.set(self.open.get() + 1);
    }

    /// JavaScript has been told of the end of a connection.
    pub fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}
