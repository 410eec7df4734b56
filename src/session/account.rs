//! What two threads have to know of a connection.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{SystemTime, UNIX_EPOCH};

use super::writer::WriterToken;

/// With so many bytes in the queue, or half of what it may have, a further message has to wait.
const WAITS_FROM: usize = 64 << 10;

/// Nobody has been told that something waits.
const NOT_DUE: u8 = 0;
/// Somebody has, and does not ask when it is gone.
const DUE: u8 = 1;
/// Somebody is to hear when it is.
const WATCHED: u8 = 2;

/// The part of a connection that the JavaScript thread sees as well.
#[derive(Debug)]
pub struct Account {
    /// Cleared by the session when nothing can be sent any more.
    alive: AtomicBool,
    /// When the last pong came, in milliseconds since 1970. Written by the session, and by the
    /// JavaScript thread in `markAlive`.
    last_pong: AtomicU64,
    /// Counts what moves `last_pong`, whose clock is too coarse to tell two of them apart.
    signs_of_life: AtomicU32,
    /// Bytes queued for the peer, wherever they wait. The JavaScript thread adds what it sends to
    /// this connection, and takes away what a stream of its own has written; the session adds and
    /// takes away the rest.
    buffered: AtomicUsize,
    /// Who may write.
    writer: WriterToken,
    /// The transport takes no more for now. Written by the session.
    blocked: AtomicBool,
    /// Whether JavaScript is to be told when the queue is empty: [`NOT_DUE`], [`DUE`] or [`WATCHED`].
    /// Written by the JavaScript thread, except that whoever tells takes it back.
    drain: AtomicU8,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            alive: AtomicBool::new(true),
            last_pong: AtomicU64::new(epoch_ms()),
            signs_of_life: AtomicU32::new(0),
            buffered: AtomicUsize::new(0),
            writer: WriterToken::default(),
            blocked: AtomicBool::new(false),
            drain: AtomicU8::new(NOT_DUE),
        }
    }
}

impl Account {
    /// Whether the connection has not ended.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }

    /// The connection has ended.
    pub fn set_ended(&self) {
        self.alive.store(false, Relaxed);
    }

    /// The peer has shown that it lives.
    pub fn mark_alive(&self) {
        self.last_pong.store(epoch_ms(), Relaxed);
        self.signs_of_life.fetch_add(1, Relaxed);
    }

    /// When it last did so, in milliseconds since 1970.
    pub fn last_pong(&self) -> u64 {
        self.last_pong.load(Relaxed)
    }

    /// How often it has done so; wraps around.
    pub fn signs_of_life(&self) -> u32 {
        self.signs_of_life.load(Relaxed)
    }

    /// The right to write to the peer.
    pub fn writer(&self) -> &WriterToken {
        &self.writer
    }

    /// Bytes queued for the peer.
    pub fn buffered(&self) -> usize {
        self.buffered.load(Relaxed)
    }

    /// The rule for backpressure, which sends and broadcasts obey alike: whether `len` more bytes
    /// may be queued where `max` are the most. A frame for an empty queue always fits.
    pub fn admits(&self, len: usize, max: usize) -> bool {
        let buffered = self.buffered();
        buffered == 0 || buffered.saturating_add(len) <= max
    }

    /// Whether what is queued now has to wait: the peer reads more slowly than it is written to, or more
    /// is on its way to it than fits well below the `max` bytes that may be queued.
    pub fn waits(&self, max: usize) -> bool {
        let buffered = self.buffered();
        buffered > 0 && (self.blocked.load(Relaxed) || buffered >= WAITS_FROM.min(max / 2))
    }

    /// The transport takes no more for now, or takes it again.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// JavaScript thread: has told whether a message `waits` (or was dropped, as others wait).
    pub fn told(&self, waits: bool) {
        let drain = self.drain.load(Relaxed);
        if waits && drain == NOT_DUE {
            self.drain.store(DUE, Relaxed);
        } else if !waits && drain == DUE {
            self.drain.store(NOT_DUE, Relaxed);
        }
    }

    /// JavaScript thread: wants to hear when the queue is empty, if it has been told that something
    /// waits. Returns `true` if that is so already.
    pub fn watch_drain(&self) -> bool {
        if self.drain.load(Relaxed) != NOT_DUE {
            // Either this comes before the other thread's look at it in `take_drained`, or the other's
            // last `remove` before ours.
            self.drain.store(WATCHED, SeqCst);
        }
        self.take_drained()
    }

    /// Either thread, after a [`Self::remove`]: whether JavaScript is to be told that the queue is empty.
    /// Once.
    pub fn take_drained(&self) -> bool {
        self.drain.load(SeqCst) == WATCHED
            && self.buffered.load(SeqCst) == 0
            && self.drain.compare_exchange(WATCHED, NOT_DUE, SeqCst, Relaxed).is_ok()
    }

    /// `len` bytes have been queued.
    pub fn add(&self, len: usize) {
        self.buffered.fetch_add(len, Relaxed);
    }

    /// `len` bytes have left, or never will.
    pub fn remove(&self, len: usize) {
        self.buffered.fetch_sub(len, SeqCst);
    }
}

/// Milliseconds since 1970, as JavaScript's `Date.now()`.
fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_behind_those_that_the_peer_does_not_read_and_behind_many() {
        let account = Account::default();
        account.set_blocked(true);
        assert!(!account.waits(1000), "an empty queue");
        account.add(1);
        assert!(account.waits(1000));
        account.set_blocked(false);
        assert!(!account.waits(1000));
        account.add(499);
        assert!(account.waits(1000) && !account.waits(usize::MAX));
        account.add(WAITS_FROM);
        assert!(account.waits(usize::MAX));
    }

    #[test]
    fn that_the_queue_is_empty_is_told_once_to_who_has_been_told_that_something_waits() {
        let account = Account::default();
        assert!(!account.watch_drain(), "nothing has waited");
        account.add(2);
        account.told(true);
        assert!(!account.watch_drain());
        account.remove(1);
        assert!(!account.take_drained());
        account.remove(1);
        assert!(account.take_drained() && !account.take_drained());
        // It was empty before anybody asked.
        account.told(true);
        assert!(account.watch_drain() && !account.watch_drain());
        // And that is of no use any more.
        account.told(true);
        account.told(false);
        assert!(!account.watch_drain());
    }

    #[test]
    fn a_frame_for_an_empty_queue_fits_whatever_its_length() {
        let account = Account::default();
        assert!(account.admits(usize::MAX, 10));
        account.add(4);
        assert!(account.admits(6, 10) && !account.admits(7, 10));
        assert!(!account.admits(usize::MAX, usize::MAX - 1));
        account.remove(4);
        assert!(account.admits(11, 10));
    }
}
