//! This server's place in the cluster.
//!
//! The JavaScript thread publishes, and says which rooms have members here; a driver carries messages
//! to a broker and back, and hands what others say to the members here, all on a thread of its own.
//! Each lock is held for a few moves only, never over a wait or a call into JavaScript.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use tokio::sync::Notify;

use super::envelope::{Addressees, Envelope, Message, NodeId, Origin, decode};
use super::names::{Channel, room_name, wire_name};
use super::publications::{Publication, Publications, Publishing};
use super::subscriptions::{Request, Subscriptions};
use super::tracking::{EVERYONE, Key, Missed, Tracker};

/// Most holes that wait to be told one by one; beyond that a node is only said to have some.
const MAX_TOLD: usize = 1024;

/// How long after a refusal another one of the same channel is told, in milliseconds.
const TOLD_AGAIN_MS: u64 = 30_000;

/// Most channels whose refusal is told in that time; `Stats::refused` counts all.
const MAX_REFUSALS: usize = 64;

/// The driver is called while JavaScript goes on, if so much waits.
const CALL_AT: usize = 256 << 10;

/// A room's name, as JavaScript has it.
type RoomName = Arc<[u16]>;

/// How a node is to be.
#[derive(Debug, Clone, Copy)]
pub struct NodeOptions {
    /// Its name, which no other has.
    pub id: NodeId,
    /// Every message goes to everyone, and names its room.
    pub one_channel: bool,
    /// Channels lie in partitions, which have brokers of their own.
    pub is_sharded: bool,
    /// Most bytes that wait for the broker.
    pub publish_buffer: usize,
}

/// What members on this server are sent by other threads.
pub trait Members: Send + Sync {
    /// Sends a message to those who are in at least one of these rooms, or to everyone. Nobody gets it
    /// twice.
    fn deliver(&self, rooms: Option<&[&[u16]]>, is_text: bool, payload: &[u8]) -> Delivery;
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is on its way to members.
    Sent,
    /// There are none.
    Nobody,
    /// The I/O threads have too much to do.
    Full,
}

/// Something that the application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Messages come and go.
    Up,
    /// They do not, for a reason.
    Down(String),
    /// Some have been lost, or may have been.
    Gap {
        /// Whose.
        node: NodeId,
        /// In which room; `None` for those to everyone, and where that is not known.
        room: Option<RoomName>,
        /// How many, where that is known.
        missed: Option<u64>,
    },
    /// The broker refuses something, which is no reason to end.
    Refused(String),
    /// The driver has ended.
    Closed,
}

/// Whether messages come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not yet, and nothing has failed.
    Connecting,
    /// They do.
    Up,
    /// Not any more.
    Down,
    /// Never again.
    Closed,
}

/// Numbers about a node.
#[derive(Debug, Clone, Copy)]
pub struct Stats {
    /// Whether messages come and go.
    pub state: State,
    /// Other nodes that have been heard of.
    pub nodes: usize,
    /// Messages that the broker has taken.
    pub published: u64,
    /// Messages of others that have come.
    pub received: u64,
    /// Those that members here were sent.
    pub delivered: u64,
    /// Messages that were dropped.
    pub dropped: u64,
    /// What could not be read.
    pub ignored: u64,
    /// Messages of others that are known to be missing.
    pub missed: u64,
    /// Holes that were told of.
    pub gaps: u64,
    /// Channels that are subscribed to.
    pub subscriptions: usize,
    /// Channels that the broker refuses.
    pub refused: usize,
    /// Times that a lost connection was made again.
    pub reconnects: u64,
    /// Bytes of the messages that the broker has taken.
    pub bytes_published: u64,
    /// Bytes of the messages that have come.
    pub bytes_received: u64,
    /// Bytes that wait for the broker.
    pub waiting_bytes: usize,
    /// For how long the oldest of them has.
    pub oldest_waiting: Duration,
}

/// This server's place in the cluster. Shared by the JavaScript thread and the driver's.
pub struct Node {
    options: NodeOptions,
    origin: Origin,
    /// What times are measured from.
    start: Instant,
    /// What waits for the broker. Filled by the JavaScript thread, emptied by the driver.
    publications: Mutex<Publications>,
    /// Channels that cannot be subscribed or published to, and when that was told last. The driver's.
    refusals: Mutex<HashMap<(bool, Channel), u64>>,
    /// What this node wants to hear, and has heard.
    listening: Mutex<Listening>,
    /// What JavaScript has to be told.
    events: Mutex<Events>,
    /// Calls the JavaScript thread.
    wake: Box<dyn Fn() + Send + Sync>,
    /// A [`State`].
    state: AtomicU8,
    has_been_up: AtomicBool,
    counters: Counters,
    /// Calls the driver: something is to be published.
    pub published: Notify,
    /// Calls the driver: something is to be subscribed to, or left.
    pub wanted: Notify,
}

#[derive(Default)]
struct Counters {
    published: AtomicU64,
    received: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    ignored: AtomicU64,
    missed: AtomicU64,
    gaps: AtomicU64,
    reconnects: AtomicU64,
    bytes_published: AtomicU64,
    bytes_received: AtomicU64,
}

struct Listening {
    subscriptions: Subscriptions,
    tracker: Tracker,
    /// Names of the rooms that are listened to, as JavaScript has them.
    rooms: FxHashMap<Key, RoomName>,
    /// The channels of an adapter, by what it calls them.
    by_token: HashMap<String, Channel>,
    /// The members here, while the engine runs.
    members: Option<Arc<dyn Members>>,
}

#[derive(Default)]
struct Events {
    waiting: Vec<Event>,
    gaps: usize,
    /// Nodes of which no more holes are told one by one.
    merged: HashSet<NodeId>,
    /// JavaScript has been called, and has not come yet.
    is_called: bool,
    /// JavaScript is called no more.
    is_over: bool,
}

impl Node {
    /// A node that no broker knows yet. `wake` is called when events wait.
    pub fn new(options: NodeOptions, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut subscriptions = Subscriptions::new(options.is_sharded);
        subscriptions.want(&Channel::Everyone);
        let listening = Listening {
            subscriptions,
            tracker: Tracker::new(),
            rooms: FxHashMap::default(),
            by_token: HashMap::from([(Channel::Everyone.token(), Channel::Everyone)]),
            members: None,
        };
        Self {
            options,
            origin: Origin { node: options.id, epoch: since_1970.as_micros() as u64 },
            start: Instant::now(),
            publications: Mutex::new(Publications::new(Publishing {
                one_channel: options.one_channel,
                is_sharded: options.is_sharded,
                limit: options.publish_buffer,
            })),
            refusals: Mutex::default(),
            listening: Mutex::new(listening),
            events: Mutex::default(),
            wake,
            state: AtomicU8::new(State::Connecting as u8),
            has_been_up: AtomicBool::new(false),
            counters: Counters::default(),
            published: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        self.options.id
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn publications(&self) -> MutexGuard<'_, Publications> {
        self.publications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the JavaScript thread does.

    /// The members here, while there can be any.
    pub fn set_members(&self, members: Option<Arc<dyn Members>>) {
        self.listening().members = members;
    }

    /// Says something to those on other nodes who are in at least one of these rooms, or to everyone there.
    /// It leaves with the next [`Self::call_driver`], or before.
    pub fn publish(&self, rooms: Option<&[&[u16]]>, is_text: bool, payload: &[u8]) {
        if self.state() == State::Closed {
            return;
        }
        let mut publications = self.publications();
        match rooms {
            None => publications.push(self.origin, Channel::Everyone, is_text, payload),
            Some([]) => {}
            Some([room]) => {
                publications.push(self.origin, Channel::of(Some(room)), is_text, payload);
            }
            Some(rooms) => {
                let names: Vec<_> = rooms.iter().map(|room| wire_name(room)).collect();
                publications.push_to_rooms(self.origin, &names, is_text, payload);
            }
        }
        let calls = publications.waiting_bytes() >= CALL_AT;
        drop(publications);
        if calls {
            self.published.notify_one();
        }
    }

    /// Has the driver take what has been published.
    pub fn call_driver(&self) {
        self.published.notify_one();
    }

    /// A room has members here.
    pub fn want(&self, room: &[u16]) {
        let name = wire_name(room);
        let mut listening = self.listening();
        let key = listening.tracker.listen(&name);
        listening.rooms.insert(key, room.into());
        if self.options.one_channel {
            listening.tracker.confirmed(key, self.now());
            return;
        }
        let channel = Channel::Room(name);
        if listening.subscriptions.want(&channel) {
            listening.by_token.insert(channel.token(), channel);
            drop(listening);
            self.wanted.notify_one();
        }
    }

    /// A room has no members here any more.
    pub fn unwant(&self, room: &[u16]) {
        let name = wire_name(room);
        let mut listening = self.listening();
        if self.options.one_channel {
            listening.forget(&name);
        } else {
            let now = self.now();
            let calls = listening.subscriptions.unwant(&Channel::Room(name), now);
            listening.forget_gone();
            drop(listening);
            if calls {
                self.wanted.notify_one();
            }
        }
    }

    /// What is to be told, in the order in which it happened.
    pub fn take_events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = events.is_over;
        std::mem::replace(&mut *events, Events { is_over, ..Events::default() }).waiting
    }

    /// Numbers.
    pub fn stats(&self) -> Stats {
        let (waiting_bytes, oldest, dropped) = {
            let publications = self.publications();
            (publications.waiting_bytes(), publications.oldest(), publications.dropped())
        };
        let is_closed = self.state() == State::Closed;
        let listening = self.listening();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            state: self.state(),
            nodes: listening.tracker.nodes(),
            published: count(&counters.published),
            received: count(&counters.received),
            delivered: count(&counters.delivered),
            dropped: count(&counters.dropped) + dropped,
            ignored: count(&counters.ignored),
            missed: count(&counters.missed),
            gaps: count(&counters.gaps),
            subscriptions: if is_closed { 0 } else { listening.subscriptions.confirmed() },
            refused: listening.subscriptions.refused(),
            reconnects: count(&counters.reconnects),
            bytes_published: count(&counters.bytes_published),
            bytes_received: count(&counters.bytes_received),
            waiting_bytes,
            oldest_waiting: oldest.map(|since| since.elapsed()).unwrap_or_default(),
        }
    }

    // What a driver does.

    /// Whether messages come and go.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Connecting,
            1 => State::Up,
            2 => State::Down,
            _ => State::Closed,
        }
    }

    /// Messages come and go.
    pub fn up(&self) {
        if !matches!(self.state(), State::Connecting | State::Down) {
            return;
        }
        self.state.store(State::Up as u8, Ordering::Relaxed);
        if self.has_been_up.swap(true, Ordering::Relaxed) {
            self.counters.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(Event::Up);
        self.tell_dropped();
    }

    /// They do not any more, or could not at the first attempt.
    pub fn down(&self, reason: String) {
        if matches!(self.state(), State::Connecting | State::Up) {
            self.state.store(State::Down as u8, Ordering::Relaxed);
            self.tell(Event::Down(reason));
        }
    }

    /// The driver has ended. JavaScript is called for that, and never again.
    pub fn closed(&self) {
        self.state.store(State::Closed as u8, Ordering::Relaxed);
        self.publications().clear();
        self.tell_dropped();
        self.tell(Event::Closed);
    }

    /// The broker refuses something.
    pub fn refused(&self, what: String) {
        self.tell(Event::Refused(what));
    }

    /// Some of what waits for the broker of these partitions, the oldest first.
    pub fn take_publications(
        &self,
        serves: impl Fn(u16) -> bool,
        count: usize,
        bytes: usize,
    ) -> Vec<Publication> {
        self.publications().take(serves, count, bytes)
    }

    /// How many messages wait for the broker.
    pub fn waiting_messages(&self) -> usize {
        self.publications().waiting_messages()
    }

    /// Whether nothing waits for the broker.
    pub fn has_published_all(&self) -> bool {
        self.publications().is_empty()
    }

    /// The broker has them.
    pub fn sent(&self, publications: &[Publication]) {
        let messages = publications.iter().filter(|each| each.is_message());
        let (count, bytes) =
            messages.fold((0, 0), |(count, bytes), each| (count + 1, bytes + each.bytes.len()));
        self.counters.published.fetch_add(count, Ordering::Relaxed);
        self.counters.bytes_published.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The broker does not have them, and may take them yet.
    pub fn unsent(&self, publications: Vec<Publication>) {
        self.publications().put_back(publications);
    }

    /// Nobody knows whether the broker has them.
    pub fn lost(&self, publications: &[Publication]) {
        let mut lost: HashMap<Option<Channel>, u64> = HashMap::new();
        for target in publications.iter().filter_map(|each| each.target.as_ref()) {
            *lost.entry(Some(target.clone())).or_default() += 1;
        }
        self.tell_lost(lost);
    }

    /// The broker refuses one, for a reason.
    pub fn publication_refused(&self, publication: Publication, reason: &str) {
        if self.is_news(false, &publication.channel) {
            let channel = described(&publication.channel);
            self.refused(format!("{channel} cannot be published to: {reason}"));
        }
        self.lost(&[publication]);
    }

    /// Whether a refusal is to be told: not lately of this channel, and not of very many.
    fn is_news(&self, subscribes: bool, channel: &Channel) -> bool {
        let now = self.now();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|_, told_at| now < *told_at + TOLD_AGAIN_MS);
        let key = (subscribes, channel.clone());
        let is_news = refusals.len() < MAX_REFUSALS && !refusals.contains_key(&key);
        if is_news {
            refusals.insert(key, now);
        }
        is_news
    }

    /// One that was taken to have been sent has not.
    pub fn lost_one(&self) {
        self.tell_lost(HashMap::from([(None, 1)]));
    }

    /// The channel that an adapter knows by this name.
    pub fn channel_of(&self, token: &str) -> Option<Channel> {
        self.listening().by_token.get(token).cloned()
    }

    /// A connection has been made that serves these partitions.
    pub fn begin_session(&self, serves: impl Fn(u16) -> bool) {
        let mut listening = self.listening();
        listening.subscriptions.begin(&serves);
        if serves(Channel::Everyone.partition()) {
            let is_first = !self.has_been_up.load(Ordering::Relaxed);
            let now = self.now();
            listening.tracker.session_started(is_first, now);
        }
    }

    /// A connection has got more partitions: nothing of these is subscribed to there.
    pub fn begin_more(&self, serves: impl Fn(u16) -> bool) {
        self.listening().subscriptions.begin(serves);
    }

    /// What is to be subscribed to or left next, at a connection that serves these partitions.
    pub fn next_request(&self, serves: impl Fn(u16) -> bool) -> Option<Request> {
        let mut listening = self.listening();
        let request = listening.subscriptions.next(serves);
        listening.forget_gone();
        request
    }

    /// The broker has subscribed this node to a channel, or has it left.
    pub fn request_done(&self, subscribes: bool, channel: Channel) {
        let mut listening = self.listening();
        let now = self.now();
        if subscribes && let Some(key) = listening.key_of(&channel) {
            listening.tracker.confirmed(key, now);
        }
        listening.subscriptions.done(subscribes, channel, now);
        listening.forget_gone();
    }

    /// The broker has refused that, for a reason.
    pub fn request_refused(&self, subscribes: bool, channel: Channel, reason: &str) {
        let now = self.now();
        if subscribes {
            let what = format!("{} cannot be subscribed to: {reason}", described(&channel));
            if channel == Channel::Everyone {
                self.down(what.clone());
            }
            if self.is_news(true, &channel) {
                self.refused(what);
            }
        }
        self.listening().subscriptions.refuse(subscribes, channel, now);
    }

    /// Whether the broker has been told all that is to be subscribed to, and others can be heard.
    pub fn is_settled(&self) -> bool {
        let listening = self.listening();
        listening.subscriptions.is_settled()
            && listening.subscriptions.is_confirmed(&Channel::Everyone)
    }

    /// To be called every second or so; `is_heard` is whether others can be heard now.
    pub fn tick(&self, is_heard: bool) {
        let now = self.now();
        let mut listening = self.listening();
        let wanted = listening.subscriptions.tick(now);
        listening.forget_gone();
        if is_heard {
            listening.tracker.tick(now);
        }
        self.tell_missed(listening);
        if wanted {
            self.wanted.notify_one();
        }
        self.tell_dropped();
    }

    /// Says how far this node has come; `is_last` where it says nothing after that.
    pub fn beat(&self, is_last: bool) {
        self.publications().push_beat(self.origin, is_last);
        self.published.notify_one();
    }

    /// Something has come in the channel of everyone.
    pub fn received_by_everyone(&self, bytes: &[u8]) {
        self.received(|_| Some(EVERYONE), bytes);
    }

    /// Something has come in the channel of a room, by its name on the wire.
    pub fn received_in_room(&self, name: &[u8], bytes: &[u8]) {
        self.received(|listening| listening.tracker.key_of(name), bytes);
    }

    /// Something has come in a channel of an adapter.
    pub fn received_by_token(&self, token: &str, bytes: &[u8]) {
        self.received(|listening| listening.key_of(listening.by_token.get(token)?), bytes);
    }

    fn received(&self, channel: impl FnOnce(&Listening) -> Option<Key>, bytes: &[u8]) {
        let counters = &self.counters;
        let Ok((origin, envelope)) = decode(bytes) else {
            counters.ignored.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if origin.node == self.origin.node {
            return;
        }
        // Looked at before the lock, as it may be long.
        if let Envelope::Message(Message { is_text: true, payload, .. }) = &envelope
            && simdutf8::basic::from_utf8(payload).is_err()
        {
            counters.ignored.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut listening = self.listening();
        let now = self.now();
        let Some(channel) = channel(&listening) else { return };
        match envelope {
            // Heartbeats are for everyone.
            Envelope::Beat(beat) if channel == EVERYONE => {
                listening.tracker.beat(origin, &beat, now);
            }
            Envelope::Beat(_) => {}
            Envelope::Message(message) => {
                counters.received.fetch_add(1, Ordering::Relaxed);
                counters.bytes_received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.deliver(&mut listening, origin, channel, &message, now);
            }
        }
        self.tell_missed(listening);
    }

    /// Members are sent it while the lock is held: those who come and go do so before it or after it.
    fn deliver(
        &self,
        listening: &mut Listening,
        origin: Origin,
        channel: Key,
        message: &Message<'_>,
        now: u64,
    ) {
        // In which series it has its number, and for whom it is.
        let (series, mut keys): (Key, SmallVec<[Key; 1]>) = match message.to {
            Addressees::Channel => (channel, smallvec![channel]),
            Addressees::Room(name) => match listening.tracker.key_of(name) {
                Some(key) => (key, smallvec![key]),
                // A room without members here.
                None => return,
            },
            // Said to everyone, or by nobody who knows how.
            Addressees::Rooms(_) if channel != EVERYONE => return,
            Addressees::Rooms(names) => {
                (EVERYONE, names.iter().filter_map(|name| listening.tracker.key_of(name)).collect())
            }
        };
        if !listening.tracker.message(origin, series, message.position, now) {
            return;
        }
        // Somebody may have named a room a million times.
        keys.sort_unstable();
        keys.dedup();
        let rooms: SmallVec<[&[u16]; 1]> =
            keys.iter().filter_map(|key| listening.rooms.get(key).map(|name| &**name)).collect();
        let to_everyone = keys[..] == [EVERYONE];
        if rooms.is_empty() && !to_everyone {
            return;
        }
        let Some(members) = &listening.members else { return };
        let rooms = (!to_everyone).then_some(&rooms[..]);
        match members.deliver(rooms, message.is_text, message.payload) {
            Delivery::Sent => {
                self.counters.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Delivery::Nobody => {}
            Delivery::Full => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                let room = match rooms {
                    Some([room]) => Some((*room).into()),
                    _ => None,
                };
                self.tell(Event::Gap { node: origin.node, room, missed: Some(1) });
            }
        }
    }

    fn tell_missed(&self, mut listening: MutexGuard<'_, Listening>) {
        let missed = listening.tracker.take_missed();
        if missed.is_empty() {
            return;
        }
        let told: Vec<Event> = missed
            .into_iter()
            .map(|Missed { node, channel, count }| {
                self.counters.missed.fetch_add(count.unwrap_or(0), Ordering::Relaxed);
                let room = channel.and_then(|key| listening.rooms.get(&key).cloned());
                Event::Gap { node, room, missed: count }
            })
            .collect();
        drop(listening);
        told.into_iter().for_each(|event| self.tell(event));
    }

    fn tell_dropped(&self) {
        let dropped = self.publications().take_dropped();
        self.tell_lost(dropped);
    }

    /// Others have not got so many messages of this node.
    fn tell_lost(&self, lost: HashMap<Option<Channel>, u64>) {
        for (target, count) in lost {
            self.counters.dropped.fetch_add(count, Ordering::Relaxed);
            let room = match target {
                Some(Channel::Room(name)) => Some(room_name(&name).into()),
                _ => None,
            };
            self.tell(Event::Gap { node: self.origin.node, room, missed: Some(count) });
        }
    }

    fn tell(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.is_over {
            return;
        }
        events.is_over = event == Event::Closed;
        if let Event::Gap { node, .. } = &event {
            self.counters.gaps.fetch_add(1, Ordering::Relaxed);
            if events.gaps < MAX_TOLD {
                events.gaps += 1;
                events.waiting.push(event);
            } else if events.merged.insert(*node) {
                events.waiting.push(Event::Gap { node: *node, room: None, missed: None });
            }
        } else {
            events.waiting.push(event);
        }
        let calls = !std::mem::replace(&mut events.is_called, true);
        drop(events);
        if calls {
            (self.wake)();
        }
    }
}

/// Longest room name that an error shows, in characters.
const SHOWN: usize = 100;

/// A channel in the words of an error.
pub fn described(channel: &Channel) -> String {
    match channel {
        Channel::Everyone => "the channel of everyone".to_owned(),
        Channel::Room(name) => {
            let name: String = String::from_utf8_lossy(name).chars().take(SHOWN).collect();
            format!("the room {name:?}")
        }
    }
}

impl Listening {
    fn key_of(&self, channel: &Channel) -> Option<Key> {
        match channel {
            Channel::Everyone => Some(EVERYONE),
            Channel::Room(name) => self.tracker.key_of(name),
        }
    }

    fn forget_gone(&mut self) {
        for channel in self.subscriptions.take_gone() {
            self.by_token.remove(&channel.token());
            if let Channel::Room(name) = &channel {
                self.forget(name);
            }
        }
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(key) = self.tracker.key_of(name) {
            self.rooms.remove(&key);
        }
        self.tracker.forget(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::envelope::{Position, RoomNames};
    use super::*;

    const ROOM: [u16; 1] = [0x61];

    /// The rooms, whether it is text, and the message.
    type Got = (Option<Vec<Vec<u16>>>, bool, Vec<u8>);

    /// Members of everything, who keep what they get.
    #[derive(Default)]
    struct Kept {
        got: Mutex<Vec<Got>>,
        is_full: AtomicBool,
    }

    impl Members for Kept {
        fn deliver(&self, rooms: Option<&[&[u16]]>, is_text: bool, payload: &[u8]) -> Delivery {
            if self.is_full.load(Ordering::Relaxed) {
                return Delivery::Full;
            }
            let rooms = rooms.map(|rooms| rooms.iter().map(|room| room.to_vec()).collect());
            self.got.lock().unwrap().push((rooms, is_text, payload.to_vec()));
            Delivery::Sent
        }
    }

    fn node(id: u8, one_channel: bool) -> (Node, Arc<Kept>) {
        let options =
            NodeOptions { id: [id; 16], one_channel, is_sharded: false, publish_buffer: 1 << 20 };
        let node = Node::new(options, Box::new(|| {}));
        let kept = Arc::new(Kept::default());
        node.set_members(Some(kept.clone()));
        (node, kept)
    }

    /// Subscribes to all that is wanted.
    fn subscribe(node: &Node) {
        while let Some(Request { subscribes, channels }) = node.next_request(|_| true) {
            channels.into_iter().for_each(|channel| node.request_done(subscribes, channel));
        }
    }

    fn connect(node: &Node) {
        node.begin_session(|_| true);
        subscribe(node);
        node.up();
    }

    /// A broker between two nodes, the first of which speaks.
    fn carry(publication: &Publication, to: &Node) {
        to.received_by_token(&publication.channel.token(), &publication.bytes);
    }

    fn carry_all(from: &Node, to: &Node) {
        let all = from.take_publications(|_| true, usize::MAX, usize::MAX);
        all.iter().for_each(|publication| carry(publication, to));
        from.sent(&all);
    }

    fn gaps(node: &Node) -> Vec<(Option<Vec<u16>>, Option<u64>)> {
        let gap = |event| match event {
            Event::Gap { room, missed, .. } => Some((room.map(|room| room.to_vec()), missed)),
            _ => None,
        };
        node.take_events().into_iter().filter_map(gap).collect()
    }

    #[test]
    fn what_one_node_says_members_on_another_hear() {
        for one_channel in [false, true] {
            let ((one, heard_here), (two, heard)) = (node(1, one_channel), node(2, one_channel));
            two.want(&ROOM);
            connect(&one);
            connect(&two);
            one.publish(Some(&[&ROOM]), true, b"text");
            one.publish(Some(&[&[0x62]]), true, b"in a room without members there");
            one.publish(None, false, b"\xff");
            let all = one.take_publications(|_| true, usize::MAX, usize::MAX);
            all.iter()
                .for_each(|each| [&one, &two].map(|to| carry(each, to)).into_iter().collect());
            let rooms = Some(vec![ROOM.to_vec()]);
            let expected = [(rooms, true, b"text".to_vec()), (None, false, b"\xff".to_vec())];
            assert_eq!(*heard.got.lock().unwrap(), expected);
            assert_eq!(*heard_here.got.lock().unwrap(), []);
            assert_eq!((two.stats().delivered, gaps(&two)), (2, vec![]));
        }
    }

    #[test]
    fn what_is_said_to_several_rooms_is_carried_once_and_delivered_to_those_that_there_are() {
        for one_channel in [false, true] {
            let ((one, _), (two, heard)) = (node(1, one_channel), node(2, one_channel));
            let rooms: [&[u16]; 4] = [&[0x61], &[0x62], &[], &[0xd83e]];
            rooms[1..].iter().for_each(|room| two.want(room));
            connect(&one);
            connect(&two);
            one.publish(Some(&rooms), true, b"several");
            one.publish(Some(&[&[0x61], &[0x7a]]), true, b"in no room that there is");
            one.publish(Some(&[]), true, b"in none");
            one.publish(None, true, b"all");
            let all = one.take_publications(|_| true, usize::MAX, usize::MAX);
            assert_eq!(all.len(), 3);
            all.iter().for_each(|publication| carry(publication, &two));
            let got = std::mem::take(&mut *heard.got.lock().unwrap());
            let expected = rooms[1..].iter().map(|room| room.to_vec()).collect();
            assert_eq!(
                got,
                [(Some(expected), true, b"several".to_vec()), (None, true, b"all".to_vec()),]
            );
            // A repetition is none, and what is missing is noticed.
            carry(&all[0], &two);
            one.publish(Some(&rooms), true, b"lost");
            drop(one.take_publications(|_| true, usize::MAX, usize::MAX));
            one.publish(Some(&rooms), true, b"after");
            carry_all(&one, &two);
            assert_eq!(heard.got.lock().unwrap().len(), 1);
            assert_eq!(gaps(&two), [(None, Some(1))]);
        }
    }

    #[test]
    fn what_a_node_does_not_understand_is_counted_and_told_to_be_missing() {
        let ((one, _), (two, heard)) = (node(1, false), node(2, false));
        two.want(&ROOM);
        connect(&two);
        one.publish(None, true, b"before");
        carry_all(&one, &two);
        one.publish(Some(&[&ROOM, &[0x62]]), true, b"of a newer kind");
        let mut all = one.take_publications(|_| true, usize::MAX, usize::MAX);
        // As a node of an earlier release sees it.
        all[0].bytes[5] = 6;
        carry(&all[0], &two);
        assert_eq!((two.stats().ignored, gaps(&two)), (1, vec![]));
        one.publish(None, true, b"behind");
        carry_all(&one, &two);
        assert_eq!((heard.got.lock().unwrap().len(), gaps(&two)), (2, vec![(None, Some(1))]));
    }

    #[test]
    fn a_room_that_is_named_a_thousand_times_is_one() {
        let (two, heard) = node(2, false);
        connect(&two);
        two.want(&ROOM);
        let names = RoomNames::write(std::iter::repeat_n(&b"a"[..], 1000));
        let message = Message {
            is_text: true,
            position: Position { stream: 0, number: 1 },
            to: Addressees::Rooms(RoomNames::of(&names)),
            payload: b"hi",
        };
        let bytes = message.encode(Origin { node: [1; 16], epoch: 1 });
        // Only to everyone it can be said.
        two.received_in_room(b"a", &bytes);
        assert_eq!(*heard.got.lock().unwrap(), []);
        two.received_by_everyone(&bytes);
        let expected = (Some(vec![ROOM.to_vec()]), true, b"hi".to_vec());
        assert_eq!(*heard.got.lock().unwrap(), [expected]);
    }

    #[test]
    fn what_the_io_threads_have_no_room_for_is_told() {
        let ((one, _), (two, heard)) = (node(1, false), node(2, false));
        two.want(&ROOM);
        connect(&two);
        heard.is_full.store(true, Ordering::Relaxed);
        one.publish(Some(&[&ROOM]), true, b"");
        carry_all(&one, &two);
        assert_eq!(gaps(&two), [(Some(ROOM.to_vec()), Some(1))]);
        assert_eq!(two.stats().dropped, 1);
    }

    #[test]
    fn what_does_not_fit_into_the_buffer_is_told_by_who_said_it() {
        let (one, _) = node(1, false);
        for _ in 0..5 {
            one.publish(Some(&[&ROOM]), true, &[0x61; 300 << 10]);
        }
        one.tick(false);
        assert_eq!(gaps(&one), [(Some(ROOM.to_vec()), Some(2))]);
    }

    #[test]
    fn text_that_is_none_reaches_nobody() {
        let ((one, _), (two, heard)) = (node(1, false), node(2, false));
        connect(&two);
        one.publish(None, true, b"\xff");
        carry_all(&one, &two);
        assert_eq!((heard.got.lock().unwrap().len(), two.stats().ignored), (0, 1));
    }

    #[test]
    fn a_flood_of_holes_is_told_in_few_words() {
        let (two, _) = node(2, false);
        for number in 0..3 * MAX_TOLD {
            two.tell(Event::Gap { node: [number as u8 % 2; 16], room: None, missed: Some(1) });
        }
        assert_eq!(gaps(&two).len(), MAX_TOLD + 2);
        assert_eq!(two.stats().gaps, 3 * MAX_TOLD as u64);
    }

    #[test]
    fn a_room_is_left_a_while_after_its_last_member() {
        let (two, _) = node(2, false);
        connect(&two);
        two.want(&ROOM);
        subscribe(&two);
        assert_eq!(two.stats().subscriptions, 2);
        two.unwant(&ROOM);
        two.tick(true);
        subscribe(&two);
        assert_eq!(two.stats().subscriptions, 2);
        two.want(&ROOM);
        assert_eq!(two.next_request(|_| true), None);
    }

    /// What may happen between two nodes.
    #[derive(Debug, Clone)]
    enum Step {
        Say(bool),
        Beat,
        Carry,
        Repeat,
        Lose,
        Reconnect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => any::<bool>().prop_map(Step::Say),
            3 => Just(Step::Beat),
            8 => Just(Step::Carry),
            1 => Just(Step::Repeat),
            3 => Just(Step::Lose),
            1 => Just(Step::Reconnect),
        ]
    }

    proptest! {
        #[test]
        fn all_is_delivered_once_and_in_order_or_told_to_be_missing(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let ((one, _), (two, heard)) = (node(1, false), node(2, false));
            two.want(&ROOM);
            connect(&one);
            connect(&two);
            // They have heard of each other. Times are milliseconds: let one pass.
            std::thread::sleep(Duration::from_millis(2));
            one.beat(false);
            carry_all(&one, &two);
            let (mut said, mut on_their_way, mut last) = (0_u32, Vec::new(), None);
            let mut lose_beats = 0;
            for step in steps {
                match step {
                    Step::Say(to_room) => {
                        let rooms: Option<&[&[u16]]> = to_room.then_some(&[&ROOM]);
                        one.publish(rooms, false, &said.to_be_bytes());
                        said += 1;
                    }
                    Step::Beat => one.beat(false),
                    Step::Carry => {
                        on_their_way.extend(one.take_publications(|_| true, 1, usize::MAX));
                        for publication in on_their_way.drain(..) {
                            carry(&publication, &two);
                            last = Some(publication);
                        }
                    }
                    Step::Repeat => {
                        if let Some(publication) = &last {
                            carry(publication, &two);
                        }
                    }
                    Step::Lose => {
                        let lost = one.take_publications(|_| true, 1, usize::MAX);
                        lose_beats += lost.iter().filter(|each| !each.is_message()).count();
                    }
                    Step::Reconnect => connect(&two),
                }
            }
            carry_all(&one, &two);
            for _ in 0..2 {
                one.beat(false);
                carry_all(&one, &two);
            }
            let got: Vec<(bool, u32)> = heard
                .got
                .lock()
                .unwrap()
                .iter()
                .map(|(room, _, payload)| {
                    (room.is_some(), u32::from_be_bytes(payload[..].try_into().unwrap()))
                })
                .collect();
            for to_room in [true, false] {
                let numbers = got.iter().filter(|(is, _)| *is == to_room).map(|(_, number)| number);
                prop_assert!(numbers.is_sorted_by(|one, next| one < next), "{:?}", got);
            }
            let gaps = gaps(&two);
            let missing = u64::from(said) - got.len() as u64;
            let told: u64 = gaps.iter().filter_map(|(_, count)| *count).sum();
            let is_all_lost = gaps.iter().any(|(_, count)| count.is_none());
            prop_assert!(told == missing || (is_all_lost && told <= missing),
                "{missing} are missing, {gaps:?}");
            prop_assert!(!is_all_lost || lose_beats >= 3, "{:?}", gaps);
        }
    }
}
