//! Numbers about the engine that cost nothing on the hot path.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::histograms::{SizeTotals, Sizes};
use crate::session::RatePolicy;

/// Totals since the engine was made, of one I/O thread. Only that thread adds to them, unless it says
/// otherwise, so that nothing has to be locked per message; `dropped` is added to by both threads.
/// Read from anywhere.
#[derive(Debug, Default)]
pub struct Counters {
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    /// The same of what the JavaScript thread has written. Only that one adds to them.
    messages_sent_alone: AtomicU64,
    bytes_sent_alone: AtomicU64,
    /// Payloads of whole data messages received.
    pub sizes_received: Sizes,
    /// Payloads of data messages sent, before they are compressed.
    pub sizes_sent: Sizes,
    /// The same of what the JavaScript thread has written. Only that one adds to them.
    pub sizes_sent_alone: Sizes,
    dropped: AtomicU64,
    /// Connections closed, messages dropped and pauses begun because peers sent too fast.
    too_fast_closed: AtomicU64,
    too_fast_dropped: AtomicU64,
    too_fast_paused: AtomicU64,
    /// Connections whose socket takes no more for now.
    backpressured: AtomicU32,
}

/// A reading of [`Counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Whole data messages received.
    pub messages_received: u64,
    /// Bytes of their payloads.
    pub bytes_received: u64,
    /// Data messages queued for a peer; a broadcast counts once per recipient.
    pub messages_sent: u64,
    /// Bytes of their frames.
    pub bytes_sent: u64,
    /// Messages dropped because a peer's queue was full.
    pub dropped: u64,
    /// What has become of peers that sent too fast.
    pub rate_limited: RateLimited,
    /// Connections ended because too much was kept for all of them. Not counted by thread.
    pub shed: u64,
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            messages_received: self.messages_received + other.messages_received,
            bytes_received: self.bytes_received + other.bytes_received,
            messages_sent: self.messages_sent + other.messages_sent,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            dropped: self.dropped + other.dropped,
            rate_limited: self.rate_limited + other.rate_limited,
            shed: self.shed + other.shed,
        }
    }
}

/// What has become of peers that sent more messages than they may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimited {
    /// Connections that were closed.
    pub closed: u64,
    /// Messages that were dropped.
    pub dropped: u64,
    /// How often a peer was not read for a while.
    pub paused: u64,
}

impl std::ops::Add for RateLimited {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            closed: self.closed + other.closed,
            dropped: self.dropped + other.dropped,
            paused: self.paused + other.paused,
        }
    }
}

/// Adds to a counter that only the calling thread writes.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

impl Counters {
    /// I/O thread.
    pub fn received(&self, messages: u64, bytes: u64) {
        add(&self.messages_received, messages);
        add(&self.bytes_received, bytes);
    }

    /// I/O thread.
    pub fn sent(&self, messages: u64, bytes: u64) {
        add(&self.messages_sent, messages);
        add(&self.bytes_sent, bytes);
    }

    /// JavaScript thread: has written messages itself.
    pub fn sent_alone(&self, messages: u64, bytes: u64) {
        add(&self.messages_sent_alone, messages);
        add(&self.bytes_sent_alone, bytes);
    }

    /// Either thread.
    pub fn dropped(&self, messages: u64) {
        self.dropped.fetch_add(messages, Relaxed);
    }

    /// I/O thread: a peer has sent a message too many.
    pub fn too_fast(&self, policy: RatePolicy) {
        match policy {
            RatePolicy::Close => add(&self.too_fast_closed, 1),
            RatePolicy::Drop => add(&self.too_fast_dropped, 1),
            // Told by whoever waits.
            RatePolicy::Pause => {}
        }
    }

    /// I/O thread: a peer that has sent as much as it may is not read for a while.
    pub fn paused(&self) {
        add(&self.too_fast_paused, 1);
    }

    /// I/O thread: a peer reads more slowly than it is written to.
    pub fn backpressure_began(&self) {
        self.backpressured.fetch_add(1, Relaxed);
    }

    /// I/O thread: it has caught up, or is gone.
    pub fn backpressure_ended(&self) {
        self.backpressured.fetch_sub(1, Relaxed);
    }

    /// Connections whose peer reads more slowly than it is written to, at this moment.
    pub fn backpressured(&self) -> u32 {
        self.backpressured.load(Relaxed)
    }

    /// Payloads of data messages sent, by whichever thread.
    pub fn sizes_of_all_sent(&self) -> SizeTotals {
        self.sizes_sent.read() + self.sizes_sent_alone.read()
    }

    /// The totals now.
    pub fn totals(&self) -> Totals {
        Totals {
            messages_received: self.messages_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            messages_sent: self.messages_sent.load(Relaxed)
                + self.messages_sent_alone.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed) + self.bytes_sent_alone.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            rate_limited: RateLimited {
                closed: self.too_fast_closed.load(Relaxed),
                dropped: self.too_fast_dropped.load(Relaxed),
                paused: self.too_fast_paused.load(Relaxed),
            },
            shed: 0,
        }
    }
}
