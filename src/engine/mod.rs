//! Runs the connections: one I/O thread with a tokio runtime, and what the JavaScript thread sees
//! of it.
//!
//! In come adopted sockets and operations, in the order in which JavaScript made them
//! ([`oplog`]); out come batches of events ([`inbox`]). Rooms belong to the JavaScript thread
//! ([`rooms`]). Nothing here knows napi or a JavaScript value.
//!
//! Ordering promises: per connection, messages are delivered in the order of the wire and the
//! close event is the last; what JavaScript sends to a connection, directly or by broadcast,
//! leaves in the order of the calls. A broadcast reaches the members of the moment of the call.

mod connection;
mod deadlines;
mod ids;
pub mod inbox;
mod io_thread;
pub mod oplog;
mod outbox;
pub mod rooms;
mod stats;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use socket2::Socket;

use connection::Shared;
pub use ids::{ConnectionId, MAX_SLOTS};
use inbox::{Inbox, Wake};
use oplog::{Broadcast, Op, OpLog, Segment, Target};
use rooms::{Memberships, RoomName, Rooms};
pub use stats::{Counters, Totals};

use crate::protocol::{CloseFrame, DeflateParams};

/// What happens to a message for a connection whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The connection is closed with 1008.
    Close,
    /// The message is dropped and counted.
    Drop,
}

/// Limits and times of an engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest message in bytes, over all its fragments.
    pub max_message_size: u64,
    /// Time between pings; zero means none.
    pub heartbeat: Duration,
    /// Time for the answer to a ping; zero means forever.
    pub pong_timeout: Duration,
    /// Time for the answer to a close frame.
    pub close_timeout: Duration,
    /// Most bytes queued for one connection.
    pub max_backpressure: usize,
    /// What happens beyond that.
    pub overflow: Overflow,
    /// Payloads shorter than this many bytes are not compressed.
    pub deflate_threshold: usize,
    /// Compression level, 0 to 9.
    pub deflate_level: u32,
}

/// A connection to be taken over by the I/O thread.
#[derive(Debug)]
pub struct Adoption {
    /// Its name on both threads.
    pub id: ConnectionId,
    /// What both threads see of it.
    pub shared: Arc<Shared>,
    /// The socket.
    pub socket: Socket,
    /// The 101 response, written before anything else.
    pub response: Vec<u8>,
    /// Bytes that had been read before the take-over, parsed before anything else.
    pub replay: Vec<u8>,
    /// What was agreed on compression, if anything.
    pub deflate: Option<DeflateParams>,
}

/// The JavaScript thread's side of the engine. Used by that thread only; no call blocks, except
/// that dropping it joins the I/O thread.
pub struct Engine {
    settings: Settings,
    log: Arc<OpLog>,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    rooms: Rooms,
    /// The stretch of the log that has not been handed over.
    pending: RefCell<Segment>,
    slots: RefCell<Slots>,
    thread: Cell<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    /// `None` while the slot is free.
    connection: Option<SlotConnection>,
}

struct SlotConnection {
    shared: Arc<Shared>,
    rooms: Memberships,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the log.
    Queued,
    /// The connection is gone.
    Gone,
    /// The queue is full; what happens is up to [`Settings::overflow`].
    Full,
}

impl Engine {
    /// Starts the I/O thread. `wake` is called on it whenever events wait in [`Self::inbox`], and
    /// `exit` as the last thing it does.
    ///
    /// # Errors
    /// When the operating system has no thread or no descriptors left for it.
    pub fn start(
        settings: Settings,
        wake: Wake,
        exit: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let log = Arc::new(OpLog::default());
        let inbox = Arc::new(Inbox::new(wake));
        let counters = Arc::new(Counters::default());
        let (started, result) = std::sync::mpsc::sync_channel(1);
        let thread = {
            let (settings, log) = (settings.clone(), log.clone());
            let (inbox, counters) = (inbox.clone(), counters.clone());
            std::thread::Builder::new().name("nextrush-ws-io".into()).spawn(move || {
                io_thread::run(settings, log, inbox, counters, &started);
                exit();
            })?
        };
        result.recv().unwrap_or_else(|_| Err(std::io::Error::other("the I/O thread died")))?;
        Ok(Self {
            settings,
            log,
            inbox,
            counters,
            rooms: Rooms::default(),
            pending: RefCell::default(),
            slots: RefCell::default(),
            thread: Cell::new(Some(thread)),
        })
    }

    /// Events for JavaScript.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Whether the I/O thread is there to serve connections.
    pub fn is_running(&self) -> bool {
        let thread = self.thread.take();
        let running = thread.as_ref().is_some_and(|thread| !thread.is_finished());
        self.thread.set(thread);
        running
    }

    /// Connections whose peer reads more slowly than it is written to, at this moment.
    pub fn backpressured(&self) -> u32 {
        self.counters.backpressured()
    }

    /// Bytes queued for all connections together. Takes time in the number of connections.
    pub fn total_buffered_amount(&self) -> usize {
        let slots = self.slots.borrow();
        let open = slots.entries.iter().filter_map(|slot| slot.connection.as_ref());
        open.map(|connection| connection.shared.buffered.load(Ordering::Relaxed)).sum()
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Hands `socket` over to the I/O thread, at the operation's place in the log. Returns `None`
    /// when every slot is taken.
    pub fn adopt(
        &self,
        socket: Socket,
        response: Vec<u8>,
        replay: Vec<u8>,
        deflate: Option<DeflateParams>,
    ) -> Option<ConnectionId> {
        let shared = Arc::new(Shared::new());
        let id = self.slots.borrow_mut().occupy(shared.clone())?;
        self.append(Op::Adopt(Box::new(Adoption {
            id,
            shared,
            socket,
            response,
            replay,
            deflate,
        })));
        Some(id)
    }

    /// Frees the slot of a connection whose end has been delivered. What was sent before this is
    /// still on its way; the peer's close frame is answered after it.
    pub fn release(&self, id: ConnectionId) {
        self.slots.borrow_mut().vacate(id);
        self.append(Op::Release(id));
    }

    fn shared<R>(&self, id: ConnectionId, read: impl FnOnce(&Shared) -> R) -> Option<R> {
        self.slots.borrow().get(id).map(|connection| read(&connection.shared))
    }

    /// Whether the connection has not ended.
    pub fn is_alive(&self, id: ConnectionId) -> bool {
        self.shared(id, |shared| shared.alive.load(Ordering::Relaxed)).unwrap_or(false)
    }

    /// When the last pong came, in milliseconds since 1970.
    pub fn last_pong(&self, id: ConnectionId) -> Option<u64> {
        self.shared(id, |shared| shared.last_pong.load(Ordering::Relaxed))
    }

    /// How many pongs, and calls of [`Self::mark_alive`], there have been; wraps around.
    pub fn signs_of_life(&self, id: ConnectionId) -> u32 {
        self.shared(id, |shared| shared.signs_of_life.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Bytes queued for the peer.
    pub fn buffered_amount(&self, id: ConnectionId) -> usize {
        self.shared(id, |shared| shared.buffered.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Appends the frame that `encode` writes behind the bytes of the log and whose range it
    /// returns.
    pub fn send(
        &self,
        id: ConnectionId,
        encode: impl FnOnce(&mut Vec<u8>) -> std::ops::Range<usize>,
    ) -> Sent {
        let mut pending = self.pending.borrow_mut();
        let before = pending.bytes.len();
        let range = encode(&mut pending.bytes);
        let sent = self.count(id, range.len());
        if sent == Sent::Queued {
            pending.ops.push(Op::Frame(id, range));
        } else {
            pending.bytes.truncate(before);
        }
        drop(pending);
        self.settle(id, sent)
    }

    /// As [`Self::send`], for a frame with its own allocation.
    pub fn send_owned(&self, id: ConnectionId, frame: Vec<u8>) -> Sent {
        let sent = self.count(id, frame.len());
        if sent == Sent::Queued {
            self.append(Op::SharedFrame(id, Bytes::from(frame)));
        }
        self.settle(id, sent)
    }

    /// Counts `len` bytes against the connection's limit.
    fn count(&self, id: ConnectionId, len: usize) -> Sent {
        let slots = self.slots.borrow();
        let Some(SlotConnection { shared, .. }) = slots.get(id) else { return Sent::Gone };
        if !shared.alive.load(Ordering::Relaxed) {
            return Sent::Gone;
        }
        let buffered = shared.buffered.load(Ordering::Relaxed);
        if buffered > 0 && buffered.saturating_add(len) > self.settings.max_backpressure {
            return Sent::Full;
        }
        shared.buffered.fetch_add(len, Ordering::Relaxed);
        Sent::Queued
    }

    fn settle(&self, id: ConnectionId, sent: Sent) -> Sent {
        if sent == Sent::Full {
            self.counters.dropped(1);
            if self.settings.overflow == Overflow::Close {
                self.append(Op::Overflow(id));
            }
        }
        self.hand_over_if_full();
        sent
    }

    /// Queues an encoded frame for a room, or for everyone where `room` is `None`.
    pub fn broadcast(&self, room: Option<&[u16]>, except: Option<ConnectionId>, frame: Bytes) {
        let target = match room {
            None => Target::All,
            Some(name) => match self.rooms.members(name) {
                Some(members) => Target::Members(members),
                None => return,
            },
        };
        self.append(Op::Broadcast(Broadcast { target, except, frame }));
    }

    /// How many rooms a connection would be in after joining this one.
    pub fn rooms_with(&self, id: ConnectionId, room: &[u16]) -> usize {
        self.slots.borrow().get(id).map_or(0, |connection| {
            connection.rooms.len() + usize::from(!connection.rooms.contains(room))
        })
    }

    /// Adds a connection to a room. Returns whether that created the room.
    pub fn join(&self, id: ConnectionId, room: &[u16]) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get_mut(id).is_some_and(|entry| self.rooms.join(id, &mut entry.rooms, room))
    }

    /// Takes a connection out of a room. Returns whether that destroyed the room.
    pub fn leave(&self, id: ConnectionId, room: &[u16]) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get_mut(id).is_some_and(|entry| self.rooms.leave(id, &mut entry.rooms, room))
    }

    /// Takes a connection out of its rooms and returns those that this destroyed.
    pub fn leave_all(&self, id: ConnectionId) -> Vec<RoomName> {
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(id) {
            Some(entry) => self.rooms.leave_all(id, &mut entry.rooms),
            None => Vec::new(),
        }
    }

    /// Starts the close handshake.
    pub fn close(&self, id: ConnectionId, frame: CloseFrame) {
        self.append(Op::Close(id, Box::new(frame)));
    }

    /// Sends a ping.
    pub fn ping(&self, id: ConnectionId) {
        self.append(Op::Ping(id));
    }

    /// Counts as a pong from the peer.
    pub fn mark_alive(&self, id: ConnectionId) {
        self.shared(id, Shared::mark_alive);
        self.append(Op::MarkAlive(id));
    }

    /// From now on broadcasts to everyone reach the connection.
    pub fn mark_ready(&self, id: ConnectionId) {
        self.append(Op::MarkReady(id));
    }

    /// Stops or resumes reading from a connection.
    pub fn set_paused(&self, id: ConnectionId, paused: bool) {
        self.append(if paused { Op::Pause(id) } else { Op::Resume(id) });
    }

    /// Ends every connection at once, without a handshake; each is still reported.
    pub fn terminate_all(&self) {
        self.append(Op::TerminateAll);
        self.flush();
    }

    /// Lets the I/O thread end after what is in the log, without waiting for it.
    pub fn stop(&self) {
        self.append(Op::Stop);
        self.flush();
    }

    fn append(&self, op: Op) {
        self.pending.borrow_mut().ops.push(op);
        self.hand_over_if_full();
    }

    fn hand_over_if_full(&self) {
        if self.pending.borrow().is_full() {
            self.flush();
        }
    }

    /// Hands the log over to the I/O thread.
    pub fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        if !pending.ops.is_empty() {
            *pending = self.log.append(std::mem::take(&mut pending));
        }
    }
}

impl Drop for Engine {
    /// Ends the I/O thread and waits for it: it never waits for this thread, so it ends at once.
    fn drop(&mut self) {
        self.log.abandon();
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the I/O thread has been printed by it.
            let _ = thread.join();
        }
    }
}

impl Slots {
    fn occupy(&mut self, shared: Arc<Shared>) -> Option<ConnectionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot =
                    u32::try_from(self.entries.len()).ok().filter(|slot| *slot < MAX_SLOTS)?;
                self.entries.push(Slot { generation: 0, connection: None });
                slot
            }
        };
        let entry = &mut self.entries[slot as usize];
        entry.connection = Some(SlotConnection { shared, rooms: Memberships::default() });
        Some(ConnectionId { slot, generation: entry.generation })
    }

    fn vacate(&mut self, id: ConnectionId) {
        if self.get(id).is_some() {
            let entry = &mut self.entries[id.slot as usize];
            entry.connection = None;
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(id.slot);
        }
    }

    fn get(&self, id: ConnectionId) -> Option<&SlotConnection> {
        let entry = self.entries.get(id.slot as usize)?;
        entry.connection.as_ref().filter(|_| entry.generation == id.generation)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut SlotConnection> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        let generation = entry.generation;
        entry.connection.as_mut().filter(|_| generation == id.generation)
    }
}
