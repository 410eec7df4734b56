//! What waits for the broker.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use super::envelope::{Addressees, Message, Origin, RoomNames};
use super::names::{Channel, WireName};
use super::numbers::Numbers;

/// What a message that waits takes beside its bytes.
const COST: usize = 192;

/// Most channels of which it is known how many messages were dropped.
const MAX_DROPPED: usize = 256;

/// A message on its way to the broker.
#[derive(Debug)]
pub struct Publication {
    /// Where it is published.
    pub channel: Channel,
    pub bytes: Vec<u8>,
    /// Whom it is for; `None` for a heartbeat.
    pub target: Option<Channel>,
    /// Its place among all others.
    order: u64,
    since: Instant,
}

impl Publication {
    /// What it counts against the bound.
    fn cost(&self) -> usize {
        self.bytes.capacity() + self.channel.name_len() + COST
    }

    /// Whether it is a message, and no heartbeat.
    pub fn is_message(&self) -> bool {
        self.target.is_some()
    }
}

/// How a node publishes.
#[derive(Debug, Clone, Copy)]
pub struct Publishing {
    /// Every message goes to everyone, and names its room.
    pub one_channel: bool,
    /// Channels lie in partitions, which have brokers of their own.
    pub is_sharded: bool,
    /// Most bytes that wait. One message always may.
    pub limit: usize,
}

/// A bounded queue. Each message has got its number when it is queued: one that is dropped is missed
/// by others. What waits for one broker does not hold up what another one takes.
#[derive(Debug)]
pub struct Publications {
    options: Publishing,
    numbers: Numbers,
    /// By partition, each in order. None is empty.
    queues: BTreeMap<u16, VecDeque<Publication>>,
    next_order: u64,
    bytes: usize,
    beats: usize,
    messages: usize,
    /// Messages dropped since somebody has asked; under `None` what there is no room for here.
    dropped: HashMap<Option<Channel>, u64>,
}

impl Publications {
    /// An empty one.
    pub fn new(options: Publishing) -> Self {
        Self {
            options,
            numbers: Numbers::default(),
            queues: BTreeMap::new(),
            next_order: 0,
            bytes: 0,
            beats: 0,
            messages: 0,
            dropped: HashMap::new(),
        }
    }

    /// Queues a message.
    pub fn push(&mut self, origin: Origin, target: Channel, is_text: bool, payload: &[u8]) {
        let position = self.numbers.next(&target);
        let to = match &target {
            Channel::Room(name) if self.options.one_channel => Addressees::Room(name),
            _ => Addressees::Channel,
        };
        let bytes = Message { is_text, position, to, payload }.encode(origin);
        let channel = if self.options.one_channel { Channel::Everyone } else { target.clone() };
        self.append(channel, Some(target), bytes);
    }

    /// Queues a message to whoever is in at least one of several rooms. It is said to everyone, once: in
    /// the channels of the rooms those who are in two of them would hear it twice.
    pub fn push_to_rooms(
        &mut self,
        origin: Origin,
        names: &[WireName],
        is_text: bool,
        payload: &[u8],
    ) {
        let position = self.numbers.next(&Channel::Everyone);
        let names = RoomNames::write(names.iter().map(|name| &**name));
        let to = Addressees::Rooms(RoomNames::of(&names));
        let bytes = Message { is_text, position, to, payload }.encode(origin);
        self.append(Channel::Everyone, Some(Channel::Everyone), bytes);
    }

    /// Queues a heartbeat, unless one waits.
    pub fn push_beat(&mut self, origin: Origin, is_last: bool) {
        if !is_last && self.beats > 0 {
            return;
        }
        for beat in self.numbers.beat(is_last) {
            self.append(Channel::Everyone, None, beat.encode(origin));
        }
    }

    fn append(&mut self, channel: Channel, target: Option<Channel>, bytes: Vec<u8>) {
        let (order, since) = (self.next_order, Instant::now());
        self.next_order += 1;
        let publication = Publication { channel, bytes, target, order, since };
        self.insert(publication, VecDeque::push_back);
        self.drop_beyond_the_limit();
    }

    fn drop_beyond_the_limit(&mut self) {
        // One always fits.
        while self.bytes > self.options.limit && self.messages + self.beats > 1 {
            let Some(oldest) = self.pop() else { return };
            self.count_dropped(&oldest);
        }
    }

    fn count_dropped(&mut self, publication: &Publication) {
        let Some(target) = &publication.target else { return };
        let key = Some(target.clone());
        let is_known = self.dropped.len() < MAX_DROPPED || self.dropped.contains_key(&key);
        *self.dropped.entry(if is_known { key } else { None }).or_default() += 1;
    }

    /// The oldest of each of these partitions.
    fn fronts(&self, serves: impl Fn(u16) -> bool) -> impl Iterator<Item = (u64, u16)> {
        self.queues
            .iter()
            .filter(move |(partition, _)| serves(**partition))
            .filter_map(|(partition, queue)| Some((queue.front()?.order, *partition)))
    }

    /// Takes the oldest of all.
    fn pop(&mut self) -> Option<Publication> {
        let (_, partition) = self.fronts(|_| true).min()?;
        self.pop_of(partition)
    }

    fn pop_of(&mut self, partition: u16) -> Option<Publication> {
        let queue = self.queues.get_mut(&partition)?;
        let publication = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&partition);
        }
        self.bytes -= publication.cost();
        if publication.is_message() {
            self.messages -= 1;
        } else {
            self.beats -= 1;
        }
        Some(publication)
    }

    /// Takes some of the oldest of these partitions, of up to so many bytes and at least one.
    pub fn take(
        &mut self,
        serves: impl Fn(u16) -> bool,
        count: usize,
        bytes: usize,
    ) -> Vec<Publication> {
        let mut taken = Vec::new();
        let mut sum = 0;
        // Who serves which is asked once for each: the JavaScript thread may be waiting.
        let mut fronts: BinaryHeap<_> = self.fronts(serves).map(Reverse).collect();
        while taken.len() < count
            && sum < bytes
            && let Some(Reverse((_, partition))) = fronts.pop()
            && let Some(next) = self.pop_of(partition)
        {
            if let Some(front) = self.queues.get(&partition).and_then(VecDeque::front) {
                fronts.push(Reverse((front.order, partition)));
            }
            sum += next.bytes.len();
            taken.push(next);
        }
        taken
    }

    /// Puts those back that have not been sent, in front of all others.
    pub fn put_back(&mut self, unsent: Vec<Publication>) {
        for publication in unsent.into_iter().rev() {
            self.insert(publication, VecDeque::push_front);
        }
        self.drop_beyond_the_limit();
    }

    fn insert(
        &mut self,
        publication: Publication,
        push: impl FnOnce(&mut VecDeque<Publication>, Publication),
    ) {
        self.bytes += publication.cost();
        if publication.is_message() {
            self.messages += 1;
        } else {
            self.beats += 1;
        }
        let partition = publication.channel.partition_if(self.options.is_sharded);
        push(self.queues.entry(partition).or_default(), publication);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        while let Some(oldest) = self.pop() {
            self.count_dropped(&oldest);
        }
    }

    /// How many have been dropped since the last call, and for whom they were; `None` for more rooms
    /// than are counted one by one.
    pub fn take_dropped(&mut self) -> HashMap<Option<Channel>, u64> {
        std::mem::take(&mut self.dropped)
    }

    /// How many that is.
    pub fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Messages that wait, heartbeats aside.
    pub fn waiting_messages(&self) -> usize {
        self.messages
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the oldest of what waits does.
    pub fn oldest(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queue| Some(queue.front()?.since)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{Envelope, decode};
    use super::*;

    const ORIGIN: Origin = Origin { node: [1; 16], epoch: 1 };

    const ALL: fn(u16) -> bool = |_| true;

    fn queue(limit: usize) -> Publications {
        Publications::new(Publishing { one_channel: false, is_sharded: false, limit })
    }

    fn room(unit: u16) -> Channel {
        Channel::of(Some(&[unit]))
    }

    fn push(queue: &mut Publications, payload: &[u8]) {
        queue.push(ORIGIN, room(0x61), true, payload);
    }

    fn numbers(publications: &[Publication]) -> Vec<u64> {
        let number = |each: &Publication| match decode(&each.bytes) {
            Ok((ORIGIN, Envelope::Message(message))) => message.position.number,
            other => panic!("{other:?}"),
        };
        publications.iter().map(number).collect()
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_dropped_and_keep_their_numbers() {
        let mut queue = queue(10_000);
        for _ in 0..5 {
            push(&mut queue, &[0; 3000]);
        }
        assert_eq!(queue.dropped(), 2);
        assert_eq!(queue.take_dropped(), HashMap::from([(Some(room(0x61)), 2)]));
        assert_eq!((queue.dropped(), queue.waiting_bytes() <= 10_000), (0, true));
        assert_eq!(numbers(&queue.take(ALL, 10, usize::MAX)), [3, 4, 5]);
        assert_eq!((queue.waiting_bytes(), queue.oldest(), queue.is_empty()), (0, None, true));
    }

    #[test]
    fn one_message_always_fits() {
        let mut queue = queue(1);
        push(&mut queue, &[0; 3000]);
        push(&mut queue, &[0; 3000]);
        assert_eq!(numbers(&queue.take(ALL, 10, 1)), [2]);
    }

    #[test]
    fn what_is_put_back_is_the_next_to_be_taken() {
        let mut queue = queue(10_000);
        for _ in 0..4 {
            push(&mut queue, &[0; 1000]);
        }
        let taken = queue.take(ALL, 10, 2000);
        push(&mut queue, &[0; 1000]);
        assert_eq!(numbers(&taken), [1, 2]);
        queue.put_back(taken);
        assert_eq!(numbers(&queue.take(ALL, 10, usize::MAX)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn one_heartbeat_waits_at_a_time() {
        let mut queue = queue(10_000);
        queue.push_beat(ORIGIN, false);
        queue.push_beat(ORIGIN, false);
        queue.push_beat(ORIGIN, true);
        let taken = queue.take(ALL, 10, usize::MAX);
        assert_eq!(taken.iter().map(Publication::is_message).collect::<Vec<_>>(), [false; 2]);
    }

    #[test]
    fn a_room_is_named_where_its_channel_is_not() {
        let limit = 10_000;
        let mut queue =
            Publications::new(Publishing { one_channel: true, is_sharded: false, limit });
        queue.push(ORIGIN, room(0x61), false, b"hi");
        let taken = queue.take(ALL, 1, usize::MAX);
        assert_eq!(taken[0].channel, Channel::Everyone);
        let Ok((_, Envelope::Message(message))) = decode(&taken[0].bytes) else { panic!() };
        assert_eq!((message.to, message.payload), (Addressees::Room(b"a"), &b"hi"[..]));
    }

    #[test]
    fn what_waits_for_one_broker_does_not_hold_up_what_another_one_takes() {
        let limit = 10_000;
        let mut queue =
            Publications::new(Publishing { one_channel: false, is_sharded: true, limit });
        let targets: Vec<Channel> = (0..20).map(room).collect();
        for target in &targets {
            queue.push(ORIGIN, target.clone(), true, b"");
        }
        let low = |partition| partition < 128;
        let taken: Vec<Channel> =
            queue.take(low, 20, usize::MAX).into_iter().map(|each| each.channel).collect();
        let expected: Vec<Channel> =
            targets.iter().filter(|each| low(each.partition())).cloned().collect();
        assert_eq!(taken, expected);
        assert_eq!(queue.waiting_messages(), 20 - taken.len());
        queue.clear();
        assert_eq!((queue.waiting_bytes(), queue.dropped()), (0, 20 - taken.len() as u64));
    }

    #[test]
    fn rooms_of_which_messages_are_dropped_are_counted_up_to_a_bound() {
        let mut queue = queue(1);
        for unit in 0..1000 {
            queue.push(ORIGIN, room(unit), true, b"");
        }
        let dropped = queue.take_dropped();
        assert_eq!((dropped.len(), dropped.values().sum::<u64>()), (MAX_DROPPED + 1, 999));
    }
}
