//! What the JavaScript thread asks of an engine.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::local_members::LocalMembers;
use super::rooms::{Memberships, RoomName, Rooms, union};
use super::slots::{NOT_COUNTED, SlotConnection, Slots, Vacated};
use super::thread::{OnDrop, Thread};
use crate::exchange::histograms::{SizeTotals, Times};
use crate::exchange::inbox::{Batch, Wake, What};
use crate::exchange::oplog::{Adoption, Broadcast, Except, Op, Source, StreamNews, Target};
#[cfg(unix)]
use crate::exchange::oplog::{Leave, Securing};
use crate::exchange::{
    AddressPlace, Common, ConnectionId, Generations, Ledger, Members, Settings, Totals,
};
use crate::protocol::CloseFrame;
use crate::session::{Account, Memory, Overflow, Terms};
#[cfg(unix)]
use crate::tls::config::TlsConfig;
#[cfg(unix)]
use crate::transport::adopted::LentSocket;

/// The JavaScript thread's side of the engine. Used by that thread only; no call blocks, except
/// that dropping it joins the I/O threads.
pub struct Engine {
    common: Arc<Common>,
    rooms: Arc<Rooms>,
    pub(super) threads: Box<[Thread]>,
    pub(super) slots: RefCell<Slots>,
    /// Open connections whose bytes JavaScript pumps.
    bridged: Cell<u32>,
    /// Its connections by their descriptors.
    ledger: Ledger,
    next_bridge: Cell<u32>,
    last_union: RefCell<Option<Union>>,
    /// Addresses of peers, by slot, that their descriptor does not have: of those behind a proxy, and of
    /// those whose bytes come another way.
    addresses: RefCell<FxHashMap<u32, IpAddr>>,
    /// How long batches of events have waited for the JavaScript thread.
    waits: RefCell<Times>,
}

/// Who was sent the last broadcast to several rooms: mostly the next one is to the same. As long as
/// nobody joins or leaves, the members of each room are the same list.
struct Union {
    of: Vec<Members>,
    members: Members,
}

/// Keys of bridges fill what event codes leave beside the kind.
const MAX_BRIDGES: u32 = 1 << 30;

/// What an I/O thread is told of a new connection.
pub struct Welcome {
    /// The 101 response.
    pub response: Vec<u8>,
    /// Bytes that Node had read.
    pub replay: Vec<u8>,
    /// What holds for the connection.
    pub terms: Terms,
    /// Milliseconds between pings; zero means none.
    pub heartbeat: u32,
    /// Its place among those of its address, where these are counted.
    pub address_place: Option<Arc<AddressPlace>>,
}

#[cfg(test)]
impl Welcome {
    /// For tests.
    pub fn of(response: &[u8]) -> Self {
        let terms = Terms { max_message_size: 1024, message_rate: None, compression: None };
        let (response, replay) = (response.to_vec(), Vec::new());
        Self { response, replay, terms, heartbeat: 0, address_place: None }
    }
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the log.
    OnItsWay,
    /// It is in the log, and has to wait: [`Account::waits`].
    Queued,
    /// The connection is gone.
    Gone,
    /// The queue is full; what happens is up to `Limits::overflow`.
    Full,
    /// It would have had to wait, and was of no use then.
    Late,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendOptions {
    /// It is of no use where it has to wait.
    pub volatile: bool,
    /// It is not to be compressed.
    pub uncompressed: bool,
}

impl Engine {
    /// Starts the I/O threads. `wake` is called on them whenever events wait in the inbox, and
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
        let count = settings.io_threads;
        let common = Arc::new(Common::new(settings, wake));
        let exit = Arc::new(OnDrop(Some(exit)));
        // Where one does not start, those before it are dropped, which ends them.
        let threads = (0..count as usize)
            .map(|number| Thread::start(number, common.clone(), &exit))
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            common,
            rooms: Arc::new(Rooms::new(count)),
            threads,
            slots: RefCell::new(Slots::new(count, generations)),
            bridged: Cell::new(0),
            ledger: Ledger::new((0..count).map(|_| Arc::default())),
            next_bridge: Cell::new(0),
            last_union: RefCell::default(),
            addresses: RefCell::default(),
            waits: RefCell::default(),
        })
    }

    /// What all threads share: events for JavaScript among it.
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// What is kept for all connections.
    pub fn memory(&self) -> &Memory {
        &self.common.memory
    }

    /// An encoded frame with its own memory, `bytes` from `start` on, which counts as kept until the
    /// last connection has sent it.
    pub fn own_frame(&self, bytes: Vec<u8>, start: usize) -> Bytes {
        self.common.memory.keep(bytes, start)
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What other threads send the members through.
    pub fn members(&self) -> LocalMembers {
        let logs = self.threads.iter().map(|thread| thread.log.clone()).collect();
        LocalMembers::new(self.rooms.clone(), logs, self.common.memory.clone())
    }

    /// Whether all I/O threads are there to serve connections.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(Thread::is_running)
    }

    /// Connections whose peer reads more slowly than it is written to, at this moment.
    pub fn backpressured(&self) -> u32 {
        self.threads.iter().map(|thread| thread.counters.backpressured()).sum()
    }

    /// How many connections have a descriptor or a stream, also after this engine has gone.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Open connections whose bytes JavaScript pumps.
    pub fn bridged(&self) -> u32 {
        self.bridged.get()
    }

    /// Bytes queued for all connections together. Takes time in the number of connections.
    pub fn total_buffered_amount(&self) -> usize {
        self.slots.borrow().iter().map(|connection| connection.account.buffered()).sum()
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        let totals = self.threads.iter().map(|thread| thread.counters.totals());
        let shed = self.memory().shed();
        totals.fold(Totals { shed, ..Totals::default() }, |sum, each| sum + each)
    }

    /// Lengths of the messages received, and of those sent, since the start.
    pub fn sizes(&self) -> [SizeTotals; 2] {
        let counters = || self.threads.iter().map(|thread| &thread.counters);
        let received = counters().map(|counters| counters.sizes_received.read()).sum();
        [received, counters().map(|counters| counters.sizes_of_all_sent()).sum()]
    }

    /// A batch of events has waited so long for the JavaScript thread.
    pub fn has_waited(&self, time: Duration) {
        self.waits.borrow_mut().add(time);
    }

    /// How long batches of events have waited for the JavaScript thread since the start.
    pub fn waits(&self) -> Times {
        self.waits.borrow().clone()
    }

    /// A key for a stream that JavaScript is going to pump.
    pub fn new_bridge(&self) -> u32 {
        let key = self.next_bridge.get();
        self.next_bridge.set((key + 1) % MAX_BRIDGES);
        key
    }

    /// Hands a connection over to the I/O thread that has the fewest, at the operation's place in
    /// its log. Where a limit of its own counts it, `counted` says by which number [`Self::release`] is to
    /// name that, and has a [part](Ledger::part) of the engine's ledger. Returns `None` when every slot is
    /// taken.
    pub fn adopt(
        &self,
        source: Source,
        welcome: Welcome,
        counted: Option<(u32, &Ledger)>,
    ) -> Option<ConnectionId> {
        let Welcome { response, replay, terms, heartbeat, address_place } = welcome;
        let account = Arc::new(Account::default());
        let bridged = matches!(source, Source::Stream(_));
        let thread = match &source {
            // The TLS session is there.
            #[cfg(unix)]
            Source::Secured(pumped) => Some(self.thread_of_pump(pumped.key)),
            _ => None,
        };
        #[cfg(unix)]
        let socket = match &source {
            Source::Descriptor(socket) => Some(LentSocket::of(socket)),
            _ => None,
        };
        let connection = SlotConnection {
            account: account.clone(),
            rooms: Memberships::default(),
            bridged,
            deflates: terms.compression.is_some(),
            counted: counted.map_or(NOT_COUNTED, |(number, _)| number),
            is_ready: false,
            #[cfg(unix)]
            socket,
        };
        let id = self.slots.borrow_mut().occupy(connection, thread)?;
        self.bridged.set(self.bridged.get() + u32::from(bridged));
        let thread = self.thread_number(id.slot);
        let places = match counted {
            None => self.ledger.adopt(thread),
            Some((_, part)) => {
                self.ledger.count();
                part.adopt(thread)
            }
        };
        let adoption = Adoption {
            id,
            account,
            source,
            response,
            replay,
            terms,
            heartbeat,
            places,
            address_place,
        };
        self.append(id, Op::Adopt(Box::new(adoption)));
        Some(id)
    }

    /// Has an I/O thread speak TLS with a client. Returns the key of the pump, which the event says
    /// that comes once the handshake is over. `expects_header` says that a PROXY header comes first.
    #[cfg(unix)]
    pub fn secure(
        &self,
        socket: OwnedFd,
        config: Arc<TlsConfig>,
        expects_header: bool,
        limit: Duration,
    ) -> u32 {
        let key = self.new_bridge();
        let securing = Securing { key, socket, config, expects_header, limit };
        self.threads[self.thread_of_pump(key)].append(Op::Secure(Box::new(securing)));
        key
    }

    /// Node is about to close its end of a pump.
    #[cfg(unix)]
    pub fn node_leaves(&self, pump: u32, how: Leave) {
        if how == Leave::CutShort {
            self.common.cut_short.insert(pump);
        }
        self.threads[self.thread_of_pump(pump)].append(Op::NodeLeft(pump, how));
    }

    /// The I/O thread of a pump: they take turns.
    #[cfg(unix)]
    fn thread_of_pump(&self, key: u32) -> usize {
        key as usize % self.threads.len()
    }

    /// Frees the slot of a connection whose end has been delivered. What was sent before this is
    /// still on its way; the peer's close frame is answered after it. Returns the number of the limit of
    /// its own that counts it, if there is one.
    pub fn release(&self, id: ConnectionId) -> Option<u32> {
        let vacated = self.slots.borrow_mut().vacate(id);
        // Otherwise the slot is somebody else's by now.
        if vacated.is_some() {
            self.addresses.borrow_mut().remove(&id.slot);
        }
        let Vacated { bridged, counted } = vacated.unwrap_or_default();
        self.bridged.set(self.bridged.get() - u32::from(bridged));
        self.append(id, Op::Release(id));
        counted
    }

    /// Bytes have come over the stream behind a bridge, whose connection is or was `slot`.
    pub fn bridge_received(&self, slot: u32, key: u32, chunk: &[u8]) {
        let thread = self.thread(slot);
        {
            let mut pending = thread.pending.borrow_mut();
            let start = pending.bytes.len();
            pending.bytes.extend_from_slice(chunk);
            let range = start..pending.bytes.len();
            pending.push(Op::Bridge(key, StreamNews::Received(range)));
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

    /// A stream of JavaScript's has written so many bytes of a connection's queue.
    pub fn written(&self, id: ConnectionId, count: usize) {
        let drained = self.account(id, |account| {
            account.remove(count);
            account.take_drained()
        });
        if drained == Some(true) {
            self.tell_drained(id.slot);
        }
    }

    /// JavaScript wants to hear when a connection's queue is empty, if a send has said that something
    /// waits.
    pub fn watch_drain(&self, id: ConnectionId) {
        if self.account(id, Account::watch_drain) == Some(true) {
            self.tell_drained(id.slot);
        }
    }

    /// From here, so that it comes to JavaScript in a turn of its own, as it does from an I/O thread.
    fn tell_drained(&self, slot: u32) {
        let mut batch = Batch::default();
        batch.push_news(slot, What::Drained);
        let thread = (slot % self.settings().io_threads) as usize;
        self.common.inbox.post(thread, batch);
    }

    fn account<R>(&self, id: ConnectionId, read: impl FnOnce(&Account) -> R) -> Option<R> {
        self.slots.borrow().get(id).map(|connection| read(&connection.account))
    }

    /// Whether the connection has not ended.
    pub fn is_alive(&self, id: ConnectionId) -> bool {
        self.account(id, Account::is_alive).unwrap_or(false)
    }

    /// When the last pong came, in milliseconds since 1970.
    pub fn last_pong(&self, id: ConnectionId) -> Option<u64> {
        self.account(id, Account::last_pong)
    }

    /// How many pongs, and calls of [`Self::mark_alive`], there have been; wraps around.
    pub fn signs_of_life(&self, id: ConnectionId) -> u32 {
        self.account(id, Account::signs_of_life).unwrap_or(0)
    }

    /// Bytes queued for the peer.
    pub fn buffered_amount(&self, id: ConnectionId) -> usize {
        self.account(id, Account::buffered).unwrap_or(0)
    }

    /// From now on the peer of a connection has this address, whatever its descriptor says.
    pub fn set_remote_address(&self, id: ConnectionId, address: IpAddr) {
        self.addresses.borrow_mut().insert(id.slot, address);
    }

    /// The address of the peer; `None` where it has none, or is gone.
    pub fn remote_address(&self, id: ConnectionId) -> Option<IpAddr> {
        let slots = self.slots.borrow();
        let connection = slots.get(id)?;
        let known = self.addresses.borrow().get(&id.slot).copied();
        #[cfg(unix)]
        let known = known.or_else(|| connection.socket.as_ref()?.peer_address());
        known.filter(|_| connection.account.is_alive())
    }

    /// Appends the frame that `encode` writes behind the bytes of the log and whose range it
    /// returns.
    pub fn send(
        &self,
        id: ConnectionId,
        options: SendOptions,
        encode: impl FnOnce(&mut Vec<u8>) -> std::ops::Range<usize>,
    ) -> Sent {
        if options.uncompressed && self.deflates(id) {
            let mut frame = Vec::new();
            let start = encode(&mut frame).start;
            return self.send_owned(id, options, self.own_frame(frame, start));
        }
        let mut pending = self.thread(id.slot).pending.borrow_mut();
        let before = pending.bytes.len();
        let range = encode(&mut pending.bytes);
        let sent = self.count(id, options, range.len());
        if matches!(sent, Sent::OnItsWay | Sent::Queued) {
            pending.push(Op::Frame(id, range));
        } else {
            pending.bytes.truncate(before);
        }
        drop(pending);
        self.settle(id, sent)
    }

    /// As [`Self::send`], for a frame with its own allocation.
    pub fn send_owned(&self, id: ConnectionId, options: SendOptions, frame: Bytes) -> Sent {
        let sent = self.count(id, options, frame.len());
        if matches!(sent, Sent::OnItsWay | Sent::Queued) {
            let uncompressed = options.uncompressed && self.deflates(id);
            let op = if uncompressed { Op::UncompressedFrame } else { Op::SharedFrame };
            self.append(id, op(id, frame));
        }
        self.settle(id, sent)
    }

    fn deflates(&self, id: ConnectionId) -> bool {
        self.slots.borrow().get(id).is_some_and(|connection| connection.deflates)
    }

    /// Counts `len` bytes against the connection's limit.
    fn count(&self, id: ConnectionId, options: SendOptions, len: usize) -> Sent {
        let slots = self.slots.borrow();
        let Some(SlotConnection { account, .. }) = slots.get(id) else { return Sent::Gone };
        if !account.is_alive() {
            return Sent::Gone;
        }
        let max = self.settings().limits.max_backpressure;
        let waits = account.waits(max);
        let sent = match waits {
            true if options.volatile => Sent::Late,
            _ if !account.admits(len, max) => Sent::Full,
            true => Sent::Queued,
            false => Sent::OnItsWay,
        };
        if matches!(sent, Sent::OnItsWay | Sent::Queued) {
            account.add(len);
        }
        // Behind that: the queue that is watched from here on is empty only once this has left, too.
        account.told(sent != Sent::OnItsWay);
        sent
    }

    fn settle(&self, id: ConnectionId, sent: Sent) -> Sent {
        let thread = self.thread(id.slot);
        if matches!(sent, Sent::Full | Sent::Late) {
            thread.counters.dropped(1);
        }
        if sent == Sent::Full && self.settings().limits.overflow == Overflow::Close {
            thread.append(Op::Overflow(id));
        }
        thread.hand_over_if_full();
        sent
    }

    /// Queues an encoded frame for those who are in at least one of these rooms, or for everyone where
    /// `rooms` is `None`. Nobody gets it twice.
    pub fn broadcast(&self, rooms: Option<&[&[u16]]>, except: Except, frame: Bytes) {
        let target = match rooms {
            None => Target::All,
            Some(names) => match self.members_of(names) {
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

    /// Who is in at least one of these rooms; `None` where there are no such rooms.
    fn members_of(&self, names: &[&[u16]]) -> Option<Members> {
        if let [name] = names {
            return self.rooms.members(name);
        }
        let of = self.rooms.members_of_each(names);
        if of.len() < 2 {
            return of.into_iter().next();
        }
        let mut last = self.last_union.borrow_mut();
        if let Some(Union { of: last, members }) = &*last
            && last.len() == of.len()
            && last.iter().zip(&of).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return Some(members.clone());
        }
        let members = union(&of)?;
        *last = Some(Union { of, members: members.clone() });
        Some(members)
    }

    /// Whether there is a connection of this name that has passed all middleware.
    pub fn is_ready(&self, id: ConnectionId) -> bool {
        self.slots.borrow().get(id).is_some_and(|connection| connection.is_ready)
    }

    /// How many connections have passed all middleware.
    pub fn ready_count(&self) -> usize {
        self.slots.borrow().ready_count()
    }

    /// Their slots.
    pub fn ready_slots(&self) -> Vec<u32> {
        self.slots.borrow().ready_slots().collect()
    }

    /// How many rooms a connection would be in after joining this one.
    pub fn rooms_with(&self, id: ConnectionId, room: &[u16]) -> usize {
        self.slots.borrow().get(id).map_or(0, |connection| {
            connection.rooms.count() + usize::from(!connection.rooms.contains(room))
        })
    }

    /// The rooms that a connection is in, in no order.
    pub fn rooms_of(&self, id: ConnectionId) -> Vec<RoomName> {
        self.slots.borrow().get(id).map_or_else(Vec::new, |entry| entry.rooms.names())
    }

    /// Adds a connection to a room. Returns whether that created the room.
    pub fn join(&self, id: ConnectionId, room: &[u16]) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get_mut(id).is_some_and(|entry| self.rooms.join(id, &mut entry.rooms, room))
    }

    /// From now on other threads may send to a connection: what they say must come neither before it nor
    /// before what it has been sent until now.
    pub fn show_to_others(&self, id: ConnectionId) {
        self.thread(id.slot).flush();
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

    /// Ends a connection at once, without a handshake; it is still reported.
    pub fn terminate(&self, id: ConnectionId) {
        self.append(id, Op::Terminate(id));
    }

    /// From now on JavaScript says which messages it has taken, by [`Self::took`].
    pub fn pace(&self, id: ConnectionId) {
        self.append(id, Op::Pace(id));
    }

    /// JavaScript holds so many bytes of the messages that came before it was told that it is paced.
    pub fn holds(&self, id: ConnectionId, bytes: usize) {
        self.append(id, Op::Holds(id, bytes));
    }

    /// JavaScript has taken so many messages more.
    pub fn took(&self, id: ConnectionId, count: u32) {
        self.append(id, Op::Took(id, count));
    }

    /// JavaScript wants to hear how long the answers to pings take from now on, or no longer.
    pub fn time_pongs(&self, id: ConnectionId, wanted: bool) {
        self.append(id, Op::TimePongs(id, wanted));
    }

    /// Sends a ping.
    pub fn ping(&self, id: ConnectionId) {
        self.append(id, Op::Ping(id));
    }

    /// Counts as a pong from the peer.
    pub fn mark_alive(&self, id: ConnectionId) {
        self.account(id, Account::mark_alive);
        self.append(id, Op::MarkAlive(id));
    }

    /// The connection has passed all middleware: from now on broadcasts to everyone reach it.
    pub fn mark_ready(&self, id: ConnectionId) {
        self.slots.borrow_mut().mark_ready(id);
        self.append(id, Op::MarkReady(id));
    }

    /// The connection's handler is ready for messages: as many come from now on as there are.
    pub fn deliver(&self, id: ConnectionId) {
        self.append(id, Op::Deliver(id));
    }

    /// Ends every connection at once, without a handshake; each is still reported.
    pub fn terminate_all(&self) {
        for thread in &self.threads {
            thread.append(Op::TerminateAll);
        }
        self.flush();
    }

    /// Has a connection make room that has nothing to write any more, if there is one of `ledger`, which
    /// is this engine's or a part of it.
    pub fn make_room(&self, ledger: &Ledger) {
        if let Some((thread, places)) = ledger.most_roomy() {
            places.ask();
            let thread = &self.threads[thread];
            thread.append(Op::MakeRoom(places.clone()));
            thread.flush();
        }
    }

    /// Lets the I/O threads end after what is in their logs, without waiting for them.
    pub fn stop(&self) {
        self.threads.iter().for_each(Thread::stop);
    }

    fn settings(&self) -> &Settings {
        &self.common.settings
    }

    /// The I/O thread that has a slot.
    fn thread(&self, slot: u32) -> &Thread {
        &self.threads[self.thread_number(slot)]
    }

    fn thread_number(&self, slot: u32) -> usize {
        (slot % self.settings().io_threads) as usize
    }

    fn append(&self, id: ConnectionId, op: Op) {
        self.thread(id.slot).append(op);
    }

    /// Hands those logs over to the I/O threads that have more in them than the coming and going of
    /// connections. Where there is next to nothing in one, it is written at once.
    pub fn flush_urgent(&self) {
        self.write_lone();
        self.threads.iter().for_each(Thread::flush_urgent);
    }

    /// Hands the logs over to the I/O threads. Where there is next to nothing in one, it is written at
    /// once.
    pub fn flush(&self) {
        self.write_lone();
        self.threads.iter().for_each(Thread::flush);
    }

    fn write_lone(&self) {
        #[cfg(unix)]
        for thread in &self.threads {
            thread.write_lone(&self.slots.borrow(), |slot| self.tell_drained(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::session::Limits;

    const SETTINGS: Settings = Settings {
        io_threads: 2,
        close_timeout: Duration::from_secs(1),
        max_buffered_bytes: 1 << 20,
        limits: Limits { max_backpressure: 1024, overflow: Overflow::Close, pong_timeout: 0 },
    };

    fn start(generations: &Generations) -> Engine {
        Engine::start(SETTINGS, generations.clone(), Box::new(|| {}), || {}).unwrap()
    }

    fn adopt(engine: &Engine) -> ConnectionId {
        let source = Source::Stream(engine.new_bridge());
        engine.adopt(source, Welcome::of(b""), None).unwrap()
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
        let options = SendOptions::default();
        assert_eq!(second.send_owned(old, options, frame()), Sent::Gone);
        assert_eq!(second.send_owned(new, options, frame()), Sent::OnItsWay);
        assert!(!second.is_alive(old) && second.is_alive(new));
        assert!(!second.join(old, &[1]));
        assert!(second.rooms().names().is_empty());
        let address = IpAddr::from([192, 0, 2, 1]);
        second.set_remote_address(new, address);
        second.release(old);
        assert!(second.is_alive(new));
        assert_eq!(second.remote_address(new), Some(address));
    }
}
