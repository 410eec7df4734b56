//! Runs the connections: I/O threads with a tokio runtime each, and what the JavaScript thread sees
//! of them.
//!
//! In come adopted sockets and operations, in the order in which JavaScript made them
//! ([`oplog`]); out come batches of events ([`inbox`]). Rooms belong to the JavaScript thread
//! ([`rooms`]). Nothing here knows napi or a JavaScript value.
//!
//! Ordering promises: per connection, messages are delivered in the order of the wire and the
//! close event is the last; what JavaScript sends to a connection, directly or by broadcast,
//! leaves in the order of the calls. A broadcast reaches the members of the moment of the call.
//!
//! A connection stays on one I/O thread, and each of them has a log of its own. Events of all meet
//! in one inbox.

mod connection;
mod deadlines;
mod ids;
pub mod inbox;
mod io_thread;
mod memory;
pub mod oplog;
mod outbox;
pub mod rooms;
mod stats;
mod unread;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use connection::Shared;
pub use ids::{ConnectionId, Generations, MAX_SLOTS};
use inbox::{Inbox, Wake};
use oplog::{Broadcast, Op, OpLog, Segment, StreamNews, Target};
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
    /// I/O threads, at least one.
    pub io_threads: u32,
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

/// Where a connection comes from.
#[derive(Debug)]
pub enum Source {
    /// A socket taken over from Node.
    #[cfg(unix)]
    Descriptor(std::os::fd::OwnedFd),
    /// A stream that JavaScript pumps, by the key of its bridge ([`Engine::new_bridge`]).
    Stream(u32),
}

/// A connection to be taken over by an I/O thread.
#[derive(Debug)]
pub struct Adoption {
    /// Its name on both threads.
    pub id: ConnectionId,
    /// What both threads see of it.
    pub shared: Arc<Shared>,
    /// What it was before.
    pub source: Source,
    /// The 101 response, written before anything else.
    pub response: Vec<u8>,
    /// Bytes that had been read before the take-over, parsed before anything else.
    pub replay: Vec<u8>,
    /// What was agreed on compression, if anything.
    pub deflate: Option<DeflateParams>,
}

/// The JavaScript thread's side of the engine. Used by that thread only; no call blocks, except
/// that dropping it joins the I/O threads.
pub struct Engine {
    settings: Settings,
    inbox: Arc<Inbox>,
    rooms: Rooms,
    threads: Box<[Thread]>,
    slots: RefCell<Slots>,
    /// Open connections whose bytes JavaScript pumps.
    bridged: Cell<u32>,
    /// Connections since the start.
    adopted: Cell<u64>,
    next_bridge: Cell<u32>,
}

/// An I/O thread as the JavaScript thread sees it.
struct Thread {
    log: Arc<OpLog>,
    counters: Arc<Counters>,
    /// The stretch of the log that has not been handed over.
    pending: RefCell<Segment>,
    handle: Cell<Option<JoinHandle<()>>>,
}

/// Keys of bridges fill what event codes leave beside the kind.
const MAX_BRIDGES: u32 = 1 << 30;

struct Slots {
    entries: Vec<Slot>,
    /// By I/O thread.
    shares: Box<[Share]>,
    generations: Generations,
}

/// The slots of one I/O thread.
#[derive(Default)]
struct Share {
    free: Vec<u32>,
    /// Slots ever used.
    used: u32,
}

impl Share {
    fn connections(&self) -> usize {
        self.used as usize - self.free.len()
    }
}

struct Slot {
    /// Of the connection, or of the last one.
    generation: u32,
    /// `None` while the slot is free.
    connection: Option<SlotConnection>,
}

struct SlotConnection {
    shared: Arc<Shared>,
    rooms: Memberships,
    bridged: bool,
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
    /// Starts the I/O threads. `wake` is called on them whenever events wait in [`Self::inbox`], and
    /// `exit` by the last of them as the last thing it does. Engines whose connections must not be
    /// taken for each other share `generations`.
    ///
    /// # Errors
    /// When the operating system has no threads or no descriptors left for them.
    pub fn start(
        settings: Settings,
        generations: Generations,
        wake: Wake,
        exit: impl FnOnce() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::new(wake));
        let exit = Arc::new(OnDrop(Some(exit)));
        let count = settings.io_threads;
        // Where one does not start, those before it are dropped, which ends them.
        let threads = (0..count as usize)
            .map(|number| Thread::start(number, settings.clone(), inbox.clone(), &exit))
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            settings,
            inbox,
            rooms: Rooms::new(count),
            threads,
            slots: RefCell::new(Slots::new(count, generations)),
            bridged: Cell::new(0),
            adopted: Cell::new(0),
            next_bridge: Cell::new(0),
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

    /// Whether all I/O threads are there to serve connections.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| {
            let handle = thread.handle.take();
            let running = handle.as_ref().is_some_and(|handle| !handle.is_finished());
            thread.handle.set(handle);
            running
        })
    }

    /// Connections whose peer reads more slowly than it is written to, at this moment.
    pub fn backpressured(&self) -> u32 {
        self.threads.iter().map(|thread| thread.counters.backpressured()).sum()
    }

    /// Connections that are open, or have ended and still have something to write, at this moment: who
    /// closes and does not read has a queue as long as it is given time.
    pub fn living(&self) -> u64 {
        let gone: u64 = self.threads.iter().map(|thread| thread.counters.gone()).sum();
        self.adopted.get().saturating_sub(gone)
    }

    /// Open connections whose bytes JavaScript pumps.
    pub fn bridged(&self) -> u32 {
        self.bridged.get()
    }

    /// Bytes queued for all connections together. Takes time in the number of connections.
    pub fn total_buffered_amount(&self) -> usize {
        let slots = self.slots.borrow();
        let open = slots.entries.iter().filter_map(|slot| slot.connection.as_ref());
        open.map(|connection| connection.shared.buffered.load(Ordering::Relaxed)).sum()
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        let totals = self.threads.iter().map(|thread| thread.counters.totals());
        totals.fold(Totals::default(), |sum, each| sum + each)
    }

    /// A key for a stream that JavaScript is going to pump.
    pub fn new_bridge(&self) -> u32 {
        let key = self.next_bridge.get();
        self.next_bridge.set((key + 1) % MAX_BRIDGES);
        key
    }

    /// Hands a connection over to the I/O thread that has the fewest, at the operation's place in
    /// its log. Returns `None` when every slot is taken.
    pub fn adopt(
        &self,
        source: Source,
        response: Vec<u8>,
        replay: Vec<u8>,
        deflate: Option<DeflateParams>,
    ) -> Option<ConnectionId> {
        let shared = Arc::new(Shared::new());
        let bridged = matches!(source, Source::Stream(_));
        let id = self.slots.borrow_mut().occupy(shared.clone(), bridged)?;
        self.bridged.set(self.bridged.get() + u32::from(bridged));
        self.adopted.set(self.adopted.get() + 1);
        let adoption = Adoption { id, shared, source, response, replay, deflate };
        self.append(id, Op::Adopt(Box::new(adoption)));
        Some(id)
    }

    /// Frees the slot of a connection whose end has been delivered. What was sent before this is
    /// still on its way; the peer's close frame is answered after it.
    pub fn release(&self, id: ConnectionId) {
        let bridged = self.slots.borrow_mut().vacate(id);
        self.bridged.set(self.bridged.get() - u32::from(bridged));
        self.append(id, Op::Release(id));
    }

    /// Bytes have come over the stream behind a bridge, whose connection is or was `slot`.
    pub fn bridge_received(&self, slot: u32, key: u32, chunk: &[u8]) {
        let thread = self.thread(slot);
        {
            let mut pending = thread.pending.borrow_mut();
            let start = pending.bytes.len();
            pending.bytes.extend_from_slice(chunk);
            let range = start..pending.bytes.len();
            pending.ops.push(Op::Bridge(key, StreamNews::Received(range)));
        }
        thread.hand_over_if_full();
    }

    /// The answer to [`Command::Probe`](crate::transport::bridge::Command::Probe).
    pub fn probed(&self, id: ConnectionId) {
        self.append(id, Op::Probed(id));
    }

    /// Something else has happened to the stream behind a bridge.
    pub fn bridge_news(&self, slot: u32, key: u32, news: StreamNews) {
        self.thread(slot).append(Op::Bridge(key, news));
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
        let mut pending = self.thread(id.slot).pending.borrow_mut();
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
    pub fn send_owned(&self, id: ConnectionId, frame: Bytes) -> Sent {
        let sent = self.count(id, frame.len());
        if sent == Sent::Queued {
            self.append(id, Op::SharedFrame(id, frame));
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
        let thread = self.thread(id.slot);
        if sent == Sent::Full {
            thread.counters.dropped(1);
            if self.settings.overflow == Overflow::Close {
                thread.append(Op::Overflow(id));
            }
        }
        thread.hand_over_if_full();
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
        let broadcast = Broadcast { target, except, frame };
        for (number, thread) in self.threads.iter().enumerate() {
            if !matches!(&broadcast.target, Target::Members(members) if members[number].is_empty())
            {
                thread.append(Op::Broadcast(broadcast.clone()));
            }
        }
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
        self.append(id, Op::Close(id, Box::new(frame)));
    }

    /// Sends a ping.
    pub fn ping(&self, id: ConnectionId) {
        self.append(id, Op::Ping(id));
    }

    /// Counts as a pong from the peer.
    pub fn mark_alive(&self, id: ConnectionId) {
        self.shared(id, Shared::mark_alive);
        self.append(id, Op::MarkAlive(id));
    }

    /// From now on broadcasts to everyone reach the connection.
    pub fn mark_ready(&self, id: ConnectionId) {
        self.append(id, Op::MarkReady(id));
    }

    /// Stops or resumes reading from a connection.
    pub fn set_paused(&self, id: ConnectionId, paused: bool) {
        self.append(id, if paused { Op::Pause(id) } else { Op::Resume(id) });
    }

    /// Ends every connection at once, without a handshake; each is still reported.
    pub fn terminate_all(&self) {
        for thread in &self.threads {
            thread.append(Op::TerminateAll);
        }
        self.flush();
    }

    /// Lets the I/O threads end after what is in their logs, without waiting for them.
    pub fn stop(&self) {
        self.threads.iter().for_each(Thread::stop);
    }

    /// The I/O thread that has a slot.
    fn thread(&self, slot: u32) -> &Thread {
        &self.threads[(slot % self.settings.io_threads) as usize]
    }

    fn append(&self, id: ConnectionId, op: Op) {
        self.thread(id.slot).append(op);
    }

    /// Hands the logs over to the I/O threads.
    pub fn flush(&self) {
        self.threads.iter().for_each(Thread::flush);
    }
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
    fn start<F: FnOnce() + Send + Sync + 'static>(
        number: usize,
        settings: Settings,
        inbox: Arc<Inbox>,
        exit: &Arc<OnDrop<F>>,
    ) -> std::io::Result<Self> {
        let log = Arc::new(OpLog::default());
        let counters = Arc::new(Counters::default());
        let (started, result) = std::sync::mpsc::sync_channel(1);
        let handle = {
            let (log, counters, exit) = (log.clone(), counters.clone(), exit.clone());
            // Linux shows 15 characters.
            std::thread::Builder::new().name(format!("nextrush-ws-{number}")).spawn(move || {
                io_thread::run(number, settings, log, inbox, counters, &started);
                drop(exit);
            })?
        };
        result.recv().unwrap_or_else(|_| Err(std::io::Error::other("the I/O thread died")))?;
        Ok(Self { log, counters, pending: RefCell::default(), handle: Cell::new(Some(handle)) })
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

    fn stop(&self) {
        self.append(Op::Stop);
        self.flush();
    }

    fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        if !pending.ops.is_empty() {
            *pending = self.log.append(std::mem::take(&mut pending));
        }
    }
}

/// Calls a function when the last owner is gone.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

impl Slots {
    fn new(threads: u32, generations: Generations) -> Self {
        let shares = (0..threads).map(|_| Share::default()).collect();
        Self { entries: Vec::new(), shares, generations }
    }

    fn occupy(&mut self, shared: Arc<Shared>, bridged: bool) -> Option<ConnectionId> {
        let threads = self.shares.len();
        let shares = self.shares.iter_mut().enumerate();
        let (thread, share) = shares.min_by_key(|(_, share)| share.connections())?;
        let slot = match share.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = share.used as usize * threads + thread;
                let slot = u32::try_from(slot).ok().filter(|slot| *slot < MAX_SLOTS)?;
                share.used += 1;
                slot
            }
        };
        let index = slot as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || Slot { generation: 0, connection: None });
        }
        let entry = &mut self.entries[index];
        let rooms = Memberships::default();
        entry.connection = Some(SlotConnection { shared, rooms, bridged });
        entry.generation = self.generations.draw();
        Some(ConnectionId { slot, generation: entry.generation })
    }

    /// Returns whether the connection was a bridged one.
    fn vacate(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.get(id) else { return false };
        let bridged = connection.bridged;
        let entry = &mut self.entries[id.slot as usize];
        entry.connection = None;
        let threads = self.shares.len() as u32;
        self.shares[id.thread(threads)].free.push(id.slot);
        bridged
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SETTINGS: Settings = Settings {
        io_threads: 2,
        max_message_size: 1024,
        heartbeat: Duration::ZERO,
        pong_timeout: Duration::ZERO,
        close_timeout: Duration::from_secs(1),
        max_backpressure: 1024,
        overflow: Overflow::Close,
        deflate_threshold: 1024,
        deflate_level: 6,
    };

    fn start(generations: &Generations) -> Engine {
        Engine::start(SETTINGS, generations.clone(), Box::new(|| {}), || {}).unwrap()
    }

    fn adopt(engine: &Engine) -> ConnectionId {
        let source = Source::Stream(engine.new_bridge());
        engine.adopt(source, Vec::new(), Vec::new(), None).unwrap()
    }

    #[test]
    fn no_two_connections_of_engines_that_follow_each_other_have_the_same_name() {
        let generations = Generations::default();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let engine = start(&generations);
            for _ in 0..4 {
                let released = adopt(&engine);
                engine.release(released);
                assert!(seen.insert(released) && seen.insert(adopt(&engine)));
            }
            engine.stop();
        }
    }

    #[test]
    fn what_is_sent_by_the_name_of_an_earlier_engine_s_connection_reaches_nobody() {
        let generations = Generations::default();
        let first = start(&generations);
        let old = adopt(&first);
        assert!(first.is_alive(old));
        first.stop();
        let second = start(&generations);
        let new = adopt(&second);
        assert_eq!(new.slot, old.slot);
        let frame = || Bytes::from_static(b"\x81\x01a");
        assert_eq!(second.send_owned(old, frame()), Sent::Gone);
        assert_eq!(second.send_owned(new, frame()), Sent::Queued);
        assert!(!second.is_alive(old) && second.is_alive(new));
        assert!(!second.join(old, &[1]));
        assert!(second.rooms().names().is_empty());
        second.release(old);
        assert!(second.is_alive(new));
    }

    #[test]
    fn a_slot_that_is_used_again_has_another_generation() {
        let mut slots = Slots::new(1, Generations::default());
        let occupy = |slots: &mut Slots| slots.occupy(Arc::new(Shared::new()), false).unwrap();
        let first = occupy(&mut slots);
        assert!(slots.get(first).is_some());
        slots.vacate(first);
        assert!(slots.get(first).is_none());
        let second = occupy(&mut slots);
        assert_eq!(second.slot, first.slot);
        assert!(slots.get(first).is_none() && slots.get(second).is_some());
    }
}
