//! Events on their way from the I/O threads to the JavaScript thread.
//!
//! An I/O thread fills a [`Batch`] and posts it once the tasks that were ready have run; one wake
//! of the JavaScript thread takes many batches. Order per connection is the order of the wire.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::protocol::CloseFrame;
use crate::transport::bridge::Command;

/// Bytes of undelivered events above which sockets are no longer read, so that a busy JavaScript
/// thread costs bounded memory. Every I/O thread has an equal share of it, and goes on reading once
/// half of its share has been taken: none waits behind another that is quicker to fill it.
const HIGH_WATER: usize = 4 << 20;

/// A batch with this many events or bytes is posted at once, even while tasks are still ready.
const BATCH_EVENTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// Binary messages shorter than this share one Buffer per batch. One that is kept keeps that
/// Buffer alive, so a batch holds at most [`SHARED_BINARY_BYTES`] of them.
const SHARED_BINARY_MESSAGE: usize = 16 << 10;
const SHARED_BINARY_BYTES: usize = 64 << 10;

/// What an event holds beside its payload, for the accounting against [`HIGH_WATER`].
const EVENT_COST: usize = std::mem::size_of::<Event>();

/// Something JavaScript has to hear about a connection.
#[derive(Debug)]
pub struct Event {
    /// Slot of the connection; for what is not about a session, the key of the bridge or the pump.
    pub slot: u32,
    /// What happened.
    pub what: What,
}

/// The kinds of events. Ranges point into the batch's own bytes.
#[derive(Debug)]
pub enum What {
    /// A text message: `len` bytes at `start` of [`Batch::text`].
    Text {
        /// First byte.
        start: u32,
        /// Length in bytes.
        len: u32,
        /// All bytes are ASCII, for which JavaScript strings are made faster.
        ascii: bool,
    },
    /// A short, non-empty binary message: `len` bytes at `start` of [`Batch::binary`].
    Binary {
        /// First byte.
        start: u32,
        /// Length in bytes.
        len: u32,
    },
    /// A text message that has its own allocation.
    OwnedText {
        /// The payload.
        bytes: Vec<u8>,
        /// As in [`What::Text`].
        ascii: bool,
    },
    /// A binary message that has its own allocation.
    OwnedBinary(Vec<u8>),
    /// The connection's queue is empty again, after JavaScript was told that something waits there. May
    /// come late, when the slot has another connection.
    Drained,
    /// From here on JavaScript says which messages it has taken.
    Paced,
    /// A ping was answered after so many microseconds.
    Pong(u32),
    /// The connection ended. The last event of its slot.
    Closed(Box<CloseFrame>),
    /// Something for the stream behind a bridge to do, which may go on after [`What::Closed`].
    Bridge(Command),
    /// A TLS handshake is over ([`Common::handshakes`](super::Common)); `slot` is the key of its pump.
    Secured,
    /// A connection that a pump serves was lost; `slot` is the key of the pump.
    Lost,
    /// A pump has carried everything, and is over; `slot` is its key.
    Ended,
}

/// Events and the bytes they point into.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// Payloads of text messages.
    pub text: Vec<u8>,
    /// Payloads of short binary messages.
    pub binary: Vec<u8>,
    /// Bytes in messages with their own allocation.
    owned: usize,
}

impl Batch {
    /// Copies a message that lies in the bytes that were read.
    pub fn push_message(&mut self, slot: u32, is_text: bool, payload: &[u8]) {
        let what = if is_text {
            let start = self.text.len() as u32;
            self.text.extend_from_slice(payload);
            What::Text { start, len: payload.len() as u32, ascii: payload.is_ascii() }
        } else if payload.is_empty() {
            // Would point into a Buffer that may not exist.
            What::OwnedBinary(Vec::new())
        } else if payload.len() < SHARED_BINARY_MESSAGE {
            let start = self.binary.len() as u32;
            self.binary.extend_from_slice(payload);
            What::Binary { start, len: payload.len() as u32 }
        } else {
            self.owned += payload.len();
            What::OwnedBinary(payload.to_vec())
        };
        self.events.push(Event { slot, what });
    }

    /// Takes a message with its own memory.
    pub fn push_owned(&mut self, slot: u32, is_text: bool, payload: Vec<u8>) {
        if payload.len() < SHARED_BINARY_MESSAGE {
            return self.push_message(slot, is_text, &payload);
        }
        self.owned += payload.len();
        let what = if is_text {
            let ascii = payload.is_ascii();
            What::OwnedText { bytes: payload, ascii }
        } else {
            What::OwnedBinary(payload)
        };
        self.events.push(Event { slot, what });
    }

    /// The end of a connection.
    pub fn push_closed(&mut self, slot: u32, frame: CloseFrame) {
        self.events.push(Event { slot, what: What::Closed(Box::new(frame)) });
    }

    /// Something about a connection that is no message, and not its end.
    pub fn push_news(&mut self, slot: u32, what: What) {
        self.events.push(Event { slot, what });
    }

    /// Something for the stream behind a bridge to do.
    pub fn push_command(&mut self, key: u32, command: Command) {
        if let Command::Write(bytes) = &command {
            self.owned += bytes.len();
        }
        self.events.push(Event { slot: key, what: What::Bridge(command) });
    }

    /// Something about a pump.
    pub fn push_pump(&mut self, key: u32, what: What) {
        self.events.push(Event { slot: key, what });
    }

    /// Whether there is nothing to be posted.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether it should be posted at once.
    pub fn is_full(&self) -> bool {
        self.events.len() >= BATCH_EVENTS
            || self.binary.len() >= SHARED_BINARY_BYTES
            || self.cost() >= BATCH_BYTES
    }

    fn cost(&self) -> usize {
        self.events.len() * EVENT_COST + self.text.len() + self.binary.len() + self.owned
    }

    /// Empties the batch and keeps its memory for the next one, unless it grew out of proportion.
    fn recycle(mut self) -> Option<Self> {
        self.events.clear();
        self.text.clear();
        self.binary.clear();
        self.owned = 0;
        let keep = self.text.capacity() <= 2 * BATCH_BYTES
            && self.binary.capacity() <= 2 * SHARED_BINARY_BYTES
            && self.events.capacity() <= 16 * BATCH_EVENTS;
        keep.then_some(self)
    }
}

/// Wakes the JavaScript thread, which then takes batches until [`Inbox::take`] has none.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// The queue of batches. The I/O threads post, the JavaScript thread takes.
pub struct Inbox {
    /// Guards the queue; held for a few moves, never over an await or a call into JavaScript.
    state: Mutex<State>,
    /// By I/O thread.
    shares: Box<[Share]>,
    wake: Wake,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Posted>,
    /// Emptied batches whose memory the I/O threads use again.
    spare: Vec<Batch>,
    /// Cost of everything in `batches`, by thread.
    bytes: Box<[usize]>,
    /// A wake is under way: at most one is, so the wake-up queue is bounded.
    waking: bool,
}

struct Posted {
    batch: Batch,
    at: Instant,
    cost: usize,
    /// Number of the I/O thread that posted it.
    thread: usize,
}

/// Whether an I/O thread may read on.
#[derive(Debug, Default)]
struct Share {
    /// Mirrors "over its share of the high-water mark", so that the thread can ask before every read.
    full: AtomicBool,
    /// Tells the one task of the thread that waits on a full share to go on.
    room: Notify,
}

impl Inbox {
    /// An empty inbox of so many I/O threads; `wake` is called for the first of the batches that wait.
    pub fn new(threads: usize, wake: Wake) -> Self {
        let bytes = vec![0; threads].into_boxed_slice();
        let shares = (0..threads).map(|_| Share::default()).collect();
        Self { state: Mutex::new(State { bytes, ..State::default() }), shares, wake }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes from which on the share of a thread is full.
    fn share(&self) -> usize {
        HIGH_WATER / self.shares.len()
    }

    /// I/O thread `thread`: hands `batch` over and returns an empty one.
    pub fn post(&self, thread: usize, batch: Batch) -> Batch {
        let (cost, at) = (batch.cost(), Instant::now());
        let (spare, wake) = {
            let mut state = self.lock();
            state.bytes[thread] += cost;
            if state.bytes[thread] >= self.share() {
                self.shares[thread].full.store(true, Relaxed);
            }
            state.batches.push_back(Posted { batch, at, cost, thread });
            let wake = !std::mem::replace(&mut state.waking, true);
            (state.spare.pop(), wake)
        };
        if wake {
            (self.wake)();
        }
        spare.unwrap_or_default()
    }

    /// I/O thread `thread`: whether its reading has stopped for JavaScript to catch up.
    pub fn is_full(&self, thread: usize) -> bool {
        self.shares[thread].full.load(Relaxed)
    }

    /// I/O thread `thread`: returns once there is room for more events. To be waited for by one task.
    pub async fn wait_for_room(&self, thread: usize) {
        let share = &self.shares[thread];
        while share.full.load(Relaxed) {
            // Also comes at once where room was made since the question.
            share.room.notified().await;
        }
    }

    /// JavaScript thread: the oldest batch, and when it was posted. `None` ends the wake under way: the
    /// next post wakes again.
    pub fn take(&self) -> Option<(Batch, Instant)> {
        let mut state = self.lock();
        let Some(Posted { batch, at, cost, thread }) = state.batches.pop_front() else {
            state.waking = false;
            return None;
        };
        state.bytes[thread] -= cost;
        let share = &self.shares[thread];
        let reopened = state.bytes[thread] < self.share() / 2 && share.full.swap(false, Relaxed);
        drop(state);
        if reopened {
            share.room.notify_one();
        }
        Some((batch, at))
    }

    /// I/O thread: frees the memory that was to be used again.
    pub fn trim(&self) {
        self.lock().spare.clear();
    }

    /// JavaScript thread: gives a batch that has been delivered back for reuse.
    pub fn recycle(&self, batch: Batch) {
        if let Some(batch) = batch.recycle() {
            let mut state = self.lock();
            if state.spare.len() < 8 {
                state.spare.push(batch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counted(threads: usize) -> (Inbox, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let seen = wakes.clone();
        let wake = Box::new(move || {
            seen.fetch_add(1, Relaxed);
        });
        (Inbox::new(threads, wake), wakes)
    }

    fn batch(len: usize) -> Batch {
        let mut batch = Batch::default();
        batch.push_message(7, true, &vec![b'x'; len]);
        batch
    }

    #[test]
    fn many_posts_cost_one_wake_until_everything_is_taken() {
        let (inbox, wakes) = counted(1);
        inbox.post(0, batch(1));
        inbox.post(0, batch(2));
        assert_eq!(wakes.load(Relaxed), 1);
        assert_eq!(inbox.take().unwrap().0.text.len(), 1);
        assert_eq!(inbox.take().unwrap().0.text.len(), 2);
        assert!(inbox.take().is_none());
        inbox.post(0, batch(3));
        assert_eq!(wakes.load(Relaxed), 2);
    }

    #[test]
    fn reading_stops_at_the_high_water_mark_and_resumes_below_half_of_it() {
        let (inbox, _) = counted(1);
        for _ in 0..4 {
            assert!(!inbox.is_full(0));
            inbox.post(0, batch(HIGH_WATER / 4));
        }
        assert!(inbox.is_full(0));
        inbox.take();
        inbox.take();
        assert!(inbox.is_full(0));
        inbox.take();
        assert!(!inbox.is_full(0));
    }

    #[test]
    fn a_thread_that_has_filled_its_share_leaves_that_of_another_alone() {
        let (inbox, _) = counted(2);
        inbox.post(0, batch(HIGH_WATER / 2));
        assert!(inbox.is_full(0) && !inbox.is_full(1));
        inbox.post(1, batch(HIGH_WATER / 2));
        assert!(inbox.is_full(1));
        inbox.take();
        assert!(!inbox.is_full(0) && inbox.is_full(1));
    }

    #[test]
    fn batches_are_used_again_unless_they_grew_too_large() {
        let (inbox, _) = counted(1);
        inbox.recycle(batch(100));
        assert!(inbox.post(0, batch(1)).text.capacity() >= 100);
        inbox.recycle(batch(4 * BATCH_BYTES));
        assert_eq!(inbox.post(0, batch(1)).text.capacity(), 0);
    }

    #[test]
    fn short_binary_messages_share_a_buffer_and_long_ones_do_not() {
        let mut batch = Batch::default();
        batch.push_message(1, false, &[1; 10]);
        batch.push_message(1, false, &[2; SHARED_BINARY_MESSAGE]);
        batch.push_owned(1, false, vec![3; 10]);
        batch.push_message(1, false, &[]);
        assert_eq!(batch.binary.len(), 20);
        assert!(matches!(&batch.events[3].what, What::OwnedBinary(bytes) if bytes.is_empty()));
        assert!(matches!(batch.events[1].what, What::OwnedBinary(_)));
        assert!(matches!(batch.events[2].what, What::Binary { start: 10, len: 10 }));
    }
}
