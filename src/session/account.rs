//! What two threads have to know of a connection.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::writer::WriterToken;

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
}

impl Default for Account {
    fn default() -> Self {
        Self {
            alive: AtomicBool::new(true),
            last_pong: AtomicU64::new(epoch_ms()),
            signs_of_life: AtomicU32::new(0),
            buffered: AtomicUsize::new(0),
            writer: WriterToken::default(),
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

    /// `len` bytes have been queued.
    pub fn add(&self, len: usize) {
        self.buffered.fetch_add(len, Relaxed);
    }

    /// `len` bytes have left, or never will.
    pub fn remove(&self, len: usize) {
        self.buffered.fetch_sub(len, Relaxed);
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
