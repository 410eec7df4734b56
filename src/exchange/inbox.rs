//! Events on their way from the I/O threads to the JavaScript thread.
//!
//! An I/O thread fills a [`Batch`] and posts it once the tasks that were ready have run; one wake
//! of the JavaScript thread takes many batches. Order per connection is the order of the wire.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::protocol::CloseFrame;
use crate::transport::bridge::Command;

/// Bytes of undelivered events above which sockets are no longer read, so that a busy JavaScript
/// thread costs bounded memory. Reading goes on once half of it has been taken.
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

/// The queue of batches. The I/O thread posts, the JavaScript thread takes.
pub struct Inbox {
    /// Guards the queue; held for a few moves, never over an await or a call into JavaScript.
    state: Mutex<State>,
    /// Mirrors "over the high-water mark" so that the I/O thread can ask before every read.
    full: AtomicBool,
    /// Tells readers that waited on a full queue to go on.
    room: Notify,
    wake: Wake,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    /// Emptied batches whose memory the I/O thread uses again.
    spare: Vec<Batch>,
    /// Cost of everything in `batches`.
    bytes: usize,
    /// A wake is under way: at most one is, so the wake-up queue is bounded.
    waking: bool,
}

impl Inbox {
    /// An empty inbox; `wake` is called for the first of the batches that wait.
    pub fn new(wake: Wake) -> Self {
        Self { state: Mutex::default(), full: AtomicBool::new(false), room: Notify::new(), wake }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// I/O thread: hands `batch` over and returns an empty one.
    pub fn post(&self, batch: Batch) -> Batch {
        let (spare, wake) = {
            let mut state = self.lock();
            state.bytes += batch.cost();
            if state.bytes >= HIGH_WATER {
                self.full.store(true, Ordering::Relaxed);
            }
            state.batches.push_back(batch);
            let wake = !std::mem::replace(&mut state.waking, true);
            (state.spare.pop(), wake)
        };
        if wake {
            (self.wake)();
        }
        spare.unwrap_or_default()
    }

    /// I/O thread: whether reading has stopped for JavaScript to catch up.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// I/O thread: returns once there is room for more events.
    pub async fn wait_for_room(&self) {
        while self.is_full() {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if !self.full.load(Ordering::Acquire) {
                return;
            }
            room.await;
        }
    }

    /// JavaScript thread: the oldest batch. `None` ends the wake under way: the next post wakes
    /// again.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let Some(batch) = state.batches.pop_front() else {
            state.waking = false;
            return None;
        };
        state.bytes -= batch.cost();
        let reopened = state.bytes < HIGH_WATER / 2 && self.full.swap(false, Ordering::AcqRel);
        drop(state);
        if reopened {
            self.room.notify_waiters();
        }
        Some(batch)
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

    fn counted() -> (Inbox, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let seen = wakes.clone();
        let wake = Box::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        (Inbox::new(wake), wakes)
    }

    fn batch(len: usize) -> Batch {
        let mut batch = Batch::default();
        batch.push_message(7, true, &vec![b'x'; len]);
        batch
    }

    #[test]
    fn many_posts_cost_one_wake_until_everything_is_taken() {
        let (inbox, wakes) = counted();
        inbox.post(batch(1));
        inbox.post(batch(2));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.take().unwrap().text.len(), 1);
        assert_eq!(inbox.take().unwrap().text.len(), 2);
        assert!(inbox.take().is_none());
        inbox.post(batch(3));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn reading_stops_at_the_high_water_mark_and_resumes_below_half_of_it() {
        let (inbox, _) = counted();
        for _ in 0..4 {
            assert!(!inbox.full.load(Ordering::Relaxed));
            inbox.post(batch(HIGH_WATER / 4));
        }
        assert!(inbox.full.load(Ordering::Relaxed));
        inbox.take();
        inbox.take();
        assert!(inbox.full.load(Ordering::Relaxed));
        inbox.take();
        assert!(!inbox.full.load(Ordering::Relaxed));
    }

    #[test]
    fn batches_are_used_again_unless_they_grew_too_large() {
        let (inbox, _) = counted();
        inbox.recycle(batch(100));
        assert!(inbox.post(batch(1)).text.capacity() >= 100);
        inbox.recycle(batch(4 * BATCH_BYTES));
        assert_eq!(inbox.post(batch(1)).text.capacity(), 0);
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
