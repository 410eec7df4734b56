//! Notices what of other nodes' messages has been missed, and what has come twice.
//!
//! A node numbers its messages in each channel, so a hole tells how many are missing. A hole at the
//! end is told by its heartbeats, which say how far it has come; that is believed only when the next
//! one comes, as channels of a Redis Cluster take different ways and have no order among each other.
//! What was said before this node listened to a channel is no loss.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::envelope::{Beat, NodeId, Origin, Position};
use super::names::{Channel, ChannelHash, WireName};
use super::numbers::LISTED;

/// A node that says nothing for so long, in milliseconds, is gone.
const SILENCE_MS: u64 = 15_000;

/// Nodes that say that they are going are forgotten after so long, in milliseconds: what they said last
/// may be on its way yet.
const GOODBYE_MS: u64 = 2_000;

/// After the connection to the broker was lost, nodes that turn up within this time, in milliseconds,
/// were there before.
const REDISCOVERY_MS: u64 = 5_000;

/// Most other nodes. The messages of more are delivered, but what of them is missing is not noticed.
const MAX_NODES: usize = 1024;

/// So many heartbeats in a row that are older than the last one make that one wrong: somebody else has
/// sent it.
const STALE: u8 = 3;

/// Names a channel that this node listens to. Never used twice.
pub type Key = u64;

/// The key of the channel that everyone listens to.
pub const EVERYONE: Key = 0;

/// Messages of a node that have been missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    pub node: NodeId,
    /// `None` where that is not known.
    pub channel: Option<Key>,
    /// `None` where there may have been none.
    pub count: Option<u64>,
}

/// What this node has heard of others. Times are in milliseconds of any clock that only goes on.
#[derive(Debug, Default)]
pub struct Tracker {
    listened: FxHashMap<Key, Listened>,
    // Rooms may be named by clients: hashed with a secret of the process.
    by_name: HashMap<WireName, Key>,
    by_hash: HashMap<ChannelHash, Key>,
    last_key: Key,
    /// Each life of a node for itself: one that starts again is another one.
    nodes: HashMap<Origin, Peer>,
    /// Nodes that are new until then were there before.
    rediscovers_until: u64,
    missed: Vec<Missed>,
}

#[derive(Debug)]
struct Listened {
    hash: ChannelHash,
    /// From when on what is said there arrives.
    since: Option<u64>,
}

#[derive(Debug)]
struct Peer {
    heard_at: u64,
    /// How far it has come in the channels that this node listens to.
    series: FxHashMap<Key, Position>,
    /// The last heartbeat of which all parts have come.
    beat: Option<LastBeat>,
    /// The heartbeat whose parts are coming.
    coming: Option<Coming>,
    /// What the last heartbeat told, and has not been heard by then.
    suspects: FxHashMap<Key, Suspect>,
    /// Where this node was further at the last heartbeat than that told, and at the one that is coming:
    /// somebody else has said so.
    ahead: FxHashMap<Key, Position>,
    coming_ahead: FxHashMap<Key, Position>,
    /// The newest heartbeat since the last one that was older than it, and how many have come in a row. One
    /// that is repeated is none.
    stale: (u64, u8),
    goodbye_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct LastBeat {
    number: u64,
    at: u64,
    next_stream: u64,
}

#[derive(Debug, Clone, Copy)]
struct Coming {
    number: u64,
    next_part: u16,
    /// What it tells is where to start from, and no loss.
    is_start: bool,
}

#[derive(Debug)]
struct Suspect {
    position: Position,
    /// All of the series was said while this node listened.
    is_whole: bool,
}

impl Tracker {
    /// A node that listens to what is said to everyone.
    pub fn new() -> Self {
        let mut tracker = Self::default();
        tracker.insert(EVERYONE, Channel::Everyone.hash(), None);
        tracker
    }

    /// Begins to listen to a room, unless it does.
    pub fn listen(&mut self, name: &WireName) -> Key {
        if let Some(key) = self.by_name.get(name) {
            return *key;
        }
        self.last_key += 1;
        let key = self.last_key;
        self.insert(key, Channel::Room(name.clone()).hash(), Some(name.clone()));
        key
    }

    fn insert(&mut self, key: Key, hash: ChannelHash, name: Option<WireName>) {
        self.by_hash.insert(hash, key);
        if let Some(name) = name {
            self.by_name.insert(name, key);
        }
        self.listened.insert(key, Listened { hash, since: None });
    }

    /// Listens to a room no more.
    pub fn forget(&mut self, name: &[u8]) {
        let Some(key) = self.by_name.remove(name) else { return };
        if let Some(listened) = self.listened.remove(&key) {
            self.by_hash.remove(&listened.hash);
        }
        for peer in self.nodes.values_mut() {
            peer.series.remove(&key);
            peer.suspects.remove(&key);
            peer.ahead.remove(&key);
            peer.coming_ahead.remove(&key);
        }
    }

    /// The key of a room that it listens to.
    pub fn key_of(&self, name: &[u8]) -> Option<Key> {
        self.by_name.get(name).copied()
    }

    /// From now on what is said in a channel arrives. After an outage that changes nothing: what was
    /// said meanwhile is missing.
    pub fn confirmed(&mut self, key: Key, now: u64) {
        if let Some(listened) = self.listened.get_mut(&key) {
            listened.since.get_or_insert(now);
        }
    }

    /// Other nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The broker can be heard again, or for the first time.
    pub fn session_started(&mut self, is_first: bool, now: u64) {
        if !is_first {
            self.rediscovers_until = now + REDISCOVERY_MS;
        }
        // Nobody could be heard meanwhile.
        self.nodes.values_mut().for_each(|peer| peer.heard_at = now);
    }

    /// A message has come. Returns `true` if members are to get it: it is no repetition.
    pub fn message(&mut self, origin: Origin, key: Key, position: Position, now: u64) -> bool {
        let Some(since) = self.listened.get(&key).map(|listened| listened.since) else {
            return false;
        };
        let Some(peer) = self.peer(origin, now) else { return true };
        // What was said before another series began in the same channel does not come any more.
        let is_over = |suspect: &&Suspect| suspect.position.stream < position.stream;
        if peer.suspects.get(&key).filter(is_over).is_some() {
            let missed = peer.resolve(key);
            self.tell_count(origin.node, key, missed);
        }
        let Some(peer) = self.nodes.get_mut(&origin) else { return false };
        let known = peer.series.get(&key).copied();
        let missed = match known {
            Some(known) if known.stream > position.stream => return false,
            Some(known) if known.stream == position.stream => {
                if position.number <= known.number {
                    return false;
                }
                position.number - known.number - 1
            }
            _ if peer.has_heard_all_of(key, position.stream, since) => position.number - 1,
            _ => 0,
        };
        peer.series.insert(key, position);
        self.tell_count(origin.node, key, missed);
        true
    }

    /// A part of a heartbeat has come.
    pub fn beat(&mut self, origin: Origin, beat: &Beat, now: u64) {
        let rediscovers = now < self.rediscovers_until;
        let Some(peer) = self.peer(origin, now) else { return };
        let coming = match peer.coming {
            Some(coming) if coming.number == beat.number && coming.next_part == beat.part.0 => {
                coming
            }
            _ if beat.part.0 > 0 => return,
            _ => {
                let last = peer.beat.map_or(0, |last| last.number);
                if beat.number <= last {
                    let (before, count) = peer.stale;
                    let follows = beat.number.checked_sub(1) == Some(before);
                    peer.stale = (beat.number, if follows { count + 1 } else { 1 });
                    if peer.stale.1 < STALE {
                        return;
                    }
                }
                peer.stale = (0, 0);
                let is_start =
                    peer.beat.is_none() || beat.number.wrapping_sub(last) > u64::from(LISTED);
                // Heartbeats that this one does not make up for are missing.
                let is_maybe_lost = is_start
                    && (peer.beat.is_some() || (rediscovers && beat.number > u64::from(LISTED)));
                self.resolve(origin);
                if is_maybe_lost {
                    if let Some(peer) = self.nodes.get_mut(&origin) {
                        peer.series.clear();
                    }
                    self.tell(origin.node, None, None);
                }
                if let Some(peer) = self.nodes.get_mut(&origin) {
                    peer.coming_ahead.clear();
                }
                Coming { number: beat.number, next_part: 0, is_start }
            }
        };
        let Some(peer) = self.nodes.get_mut(&origin) else { return };
        let mut wrong = Vec::new();
        for (hash, position) in &beat.entries {
            let Some(key) = self.by_hash.get(hash).copied() else { continue };
            let since = self.listened.get(&key).and_then(|listened| listened.since);
            let known = peer.series.get(&key).copied();
            if known.is_none_or(|known| known < *position) {
                let is_whole =
                    !coming.is_start && peer.has_heard_all_of(key, position.stream, since);
                peer.suspects.insert(key, Suspect { position: *position, is_whole });
            } else if let Some(known) = known
                && known > *position
            {
                // A message may overtake a heartbeat, but not one that was sent a second later.
                if peer.ahead.get(&key).is_some_and(|before| before > position) {
                    peer.series.insert(key, *position);
                    wrong.push(key);
                } else {
                    peer.coming_ahead.insert(key, known);
                }
            }
        }
        for key in wrong {
            self.tell(origin.node, Some(key), None);
        }
        let Some(peer) = self.nodes.get_mut(&origin) else { return };
        let next_part = coming.next_part + 1;
        if next_part < beat.part.1 {
            peer.coming = Some(Coming { next_part, ..coming });
            return;
        }
        peer.coming = None;
        peer.ahead = std::mem::take(&mut peer.coming_ahead);
        peer.beat = Some(LastBeat { number: beat.number, at: now, next_stream: beat.next_stream });
        if beat.is_last {
            peer.goodbye_at = Some(now);
        }
    }

    /// Forgets nodes that are gone. To be called every second or so, while the broker can be heard.
    pub fn tick(&mut self, now: u64) {
        let is_gone = |peer: &Peer| match peer.goodbye_at {
            Some(at) => now.saturating_sub(at) >= GOODBYE_MS,
            None => now.saturating_sub(peer.heard_at) >= SILENCE_MS,
        };
        let gone: Vec<Origin> = self
            .nodes
            .iter()
            .filter(|(_, peer)| is_gone(peer))
            .map(|(origin, _)| *origin)
            .collect();
        for origin in gone {
            self.resolve(origin);
            // What it said last, nobody will tell.
            if self.nodes.remove(&origin).is_some_and(|peer| peer.goodbye_at.is_none()) {
                self.tell(origin.node, None, None);
            }
        }
    }

    /// What has been missed since the last call.
    pub fn take_missed(&mut self) -> Vec<Missed> {
        std::mem::take(&mut self.missed)
    }

    /// What a heartbeat has told should have come by now.
    fn resolve(&mut self, origin: Origin) {
        let Some(peer) = self.nodes.get_mut(&origin) else { return };
        let keys: Vec<Key> = peer.suspects.keys().copied().collect();
        for key in keys {
            let Some(peer) = self.nodes.get_mut(&origin) else { return };
            let missed = peer.resolve(key);
            if self.listened.contains_key(&key) {
                self.tell_count(origin.node, key, missed);
            }
        }
    }

    fn tell_count(&mut self, node: NodeId, key: Key, missed: u64) {
        if missed > 0 {
            self.tell(node, Some(key), Some(missed));
        }
    }

    fn tell(&mut self, node: NodeId, channel: Option<Key>, count: Option<u64>) {
        self.missed.push(Missed { node, channel, count });
    }

    /// What is known of the node that says something, or `None` where it is one too many.
    fn peer(&mut self, origin: Origin, now: u64) -> Option<&mut Peer> {
        let is_room = self.nodes.len() < MAX_NODES;
        let peer = match self.nodes.entry(origin) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !is_room => return None,
            Entry::Vacant(entry) => entry.insert(Peer {
                heard_at: now,
                series: FxHashMap::default(),
                beat: None,
                coming: None,
                suspects: FxHashMap::default(),
                ahead: FxHashMap::default(),
                coming_ahead: FxHashMap::default(),
                stale: (0, 0),
                goodbye_at: None,
            }),
        };
        peer.heard_at = now;
        Some(peer)
    }
}

impl Peer {
    /// Takes for granted what a heartbeat has told of a channel. Returns how many messages are missing.
    fn resolve(&mut self, key: Key) -> u64 {
        let Some(Suspect { position, is_whole }) = self.suspects.remove(&key) else { return 0 };
        let missed = match self.series.get(&key) {
            Some(known) if known.stream > position.stream => return 0,
            Some(known) if known.stream == position.stream => {
                if known.number >= position.number {
                    return 0;
                }
                position.number - known.number
            }
            _ if is_whole => position.number,
            _ => 0,
        };
        self.series.insert(key, position);
        missed
    }

    /// Whether all of a series was said after this node began to listen to its channel: a heartbeat has
    /// come in between, before the one that told of the series.
    fn has_heard_all_of(&self, key: Key, stream: u64, since: Option<u64>) -> bool {
        if let Some(suspect) = self.suspects.get(&key)
            && suspect.position.stream == stream
        {
            return suspect.is_whole;
        }
        match (self.beat, since) {
            (Some(beat), Some(since)) => since < beat.at && stream >= beat.next_stream,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Numbers;
    use super::*;

    const NODE: NodeId = [1; 16];
    const ORIGIN: Origin = Origin { node: NODE, epoch: 1 };

    /// A node that speaks in the room `a` and to everyone, and one that listens to it.
    struct Pair {
        numbers: Numbers,
        tracker: Tracker,
        room: Channel,
        key: Key,
        now: u64,
    }

    impl Pair {
        /// Both have heard each other for a while.
        fn new() -> Self {
            let mut pair = Self::strangers();
            pair.beat();
            pair.beat();
            pair
        }

        fn strangers() -> Self {
            let mut tracker = Tracker::new();
            let room = Channel::of(Some(&[0x61]));
            let key = tracker.listen(&b"a"[..].into());
            for key in [EVERYONE, key] {
                tracker.confirmed(key, 0);
            }
            Self { numbers: Numbers::default(), tracker, room, key, now: 0 }
        }

        fn say(&mut self) -> Position {
            self.numbers.next(&self.room)
        }

        fn hear(&mut self, position: Position) -> bool {
            self.tracker.message(ORIGIN, self.key, position, self.now)
        }

        /// Says something that is lost.
        fn lose(&mut self) {
            self.say();
        }

        fn pass(&mut self) {
            let position = self.say();
            assert!(self.hear(position));
        }

        fn lose_beat(&mut self) -> Vec<Beat> {
            self.now += 1000;
            self.numbers.beat(false)
        }

        fn beat(&mut self) {
            for part in self.lose_beat() {
                self.tracker.beat(ORIGIN, &part, self.now);
            }
        }

        fn missed(&mut self) -> Vec<(Option<Key>, Option<u64>)> {
            let missed = self.tracker.take_missed();
            assert!(missed.iter().all(|missed| missed.node == NODE));
            missed.into_iter().map(|missed| (missed.channel, missed.count)).collect()
        }
    }

    #[test]
    fn a_repeated_heartbeat_brings_no_message_back_however_often_it_comes() {
        let mut pair = Pair::new();
        let position = pair.say();
        assert!(pair.hear(position));
        let before = pair.lose_beat();
        let beat = pair.lose_beat();
        for part in before.iter().chain(&beat) {
            pair.tracker.beat(ORIGIN, part, pair.now);
        }
        for _ in 0..10 {
            for part in before.iter().chain(&beat) {
                pair.tracker.beat(ORIGIN, part, pair.now);
            }
            assert!(!pair.hear(position));
        }
        assert_eq!(pair.missed(), []);
    }

    #[test]
    fn nothing_is_missing_where_all_has_come() {
        let mut pair = Pair::new();
        for _ in 0..10 {
            pair.pass();
            pair.pass();
            pair.beat();
        }
        for _ in 0..10 {
            pair.beat();
        }
        pair.pass();
        assert_eq!(pair.missed(), []);
    }

    #[test]
    fn a_hole_is_told_by_the_next_message() {
        let mut pair = Pair::new();
        pair.pass();
        pair.lose();
        pair.lose();
        pair.pass();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(2))]);
    }

    #[test]
    fn a_hole_at_the_beginning_is_told_as_well() {
        let mut pair = Pair::new();
        pair.lose();
        pair.pass();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn a_hole_at_the_end_is_told_by_the_second_heartbeat() {
        let mut pair = Pair::new();
        pair.pass();
        pair.lose();
        pair.beat();
        assert_eq!(pair.missed(), []);
        pair.beat();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), []);
    }

    #[test]
    fn who_is_never_heard_in_a_channel_is_told_of_by_heartbeats() {
        let mut pair = Pair::new();
        pair.lose();
        pair.lose();
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(2))]);
    }

    #[test]
    fn a_hole_at_the_beginning_is_told_also_behind_a_heartbeat() {
        let mut pair = Pair::new();
        pair.lose();
        pair.beat();
        pair.pass();
        pair.beat();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn what_a_heartbeat_overtakes_is_not_missing() {
        let mut pair = Pair::new();
        let late = pair.say();
        pair.beat();
        assert!(pair.hear(late));
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), []);
    }

    #[test]
    fn what_comes_twice_or_too_late_is_dropped() {
        let mut pair = Pair::new();
        let (first, second) = (pair.say(), pair.say());
        assert!(pair.hear(second));
        assert!(!pair.hear(first) && !pair.hear(second));
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn what_was_said_before_one_listened_is_not_missing() {
        let mut pair = Pair::strangers();
        pair.lose();
        pair.lose();
        pair.beat();
        pair.pass();
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), []);

        let mut pair = Pair::new();
        pair.tracker.forget(b"a");
        pair.lose();
        pair.beat();
        pair.lose();
        pair.key = pair.tracker.listen(&b"a"[..].into());
        pair.tracker.confirmed(pair.key, pair.now);
        pair.pass();
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), []);
        pair.lose();
        pair.pass();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn a_short_outage_is_told_exactly() {
        let mut pair = Pair::new();
        pair.pass();
        pair.lose();
        pair.lose_beat();
        pair.lose();
        pair.lose_beat();
        pair.tracker.session_started(false, pair.now);
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(2))]);
    }

    #[test]
    fn a_long_outage_may_have_lost_anything() {
        let mut pair = Pair::new();
        pair.pass();
        for _ in 0..4 {
            pair.lose_beat();
        }
        pair.tracker.session_started(false, pair.now);
        pair.beat();
        assert_eq!(pair.missed(), [(None, None)]);
        pair.pass();
        pair.beat();
        assert_eq!(pair.missed(), []);
        pair.lose();
        pair.pass();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn a_node_that_turns_up_after_an_outage_was_there_before() {
        let mut pair = Pair::strangers();
        for _ in 0..4 {
            pair.lose_beat();
        }
        pair.tracker.session_started(false, pair.now);
        pair.beat();
        assert_eq!(pair.missed(), [(None, None)]);
    }

    #[test]
    fn a_node_that_falls_silent_may_have_said_more() {
        let mut pair = Pair::new();
        pair.tracker.tick(pair.now + SILENCE_MS - 1);
        assert_eq!((pair.missed(), pair.tracker.nodes()), (vec![], 1));
        pair.tracker.tick(pair.now + SILENCE_MS);
        assert_eq!((pair.missed(), pair.tracker.nodes()), (vec![(None, None)], 0));
    }

    #[test]
    fn a_node_that_says_goodbye_has_said_all() {
        for loses in [false, true] {
            let mut pair = Pair::new();
            pair.pass();
            if loses {
                pair.lose();
            }
            let parts = pair.numbers.beat(true);
            pair.tracker.beat(ORIGIN, &parts[0], pair.now);
            pair.tracker.tick(pair.now + GOODBYE_MS);
            let expected = if loses { vec![(Some(pair.key), Some(1))] } else { vec![] };
            assert_eq!((pair.missed(), pair.tracker.nodes()), (expected, 0));
        }
    }

    #[test]
    fn a_node_that_starts_again_is_another_one() {
        let mut pair = Pair::new();
        pair.pass();
        let again = Origin { epoch: 2, ..ORIGIN };
        let position = Position { stream: 0, number: 1 };
        assert!(pair.tracker.message(again, pair.key, position, pair.now));
        pair.pass();
        assert_eq!((pair.missed(), pair.tracker.nodes()), (vec![], 2));
    }

    #[test]
    fn what_somebody_else_says_in_its_name_silences_no_node() {
        for wrong in
            [Position { stream: 0, number: 1 << 60 }, Position { stream: 1 << 60, number: 1 }]
        {
            let mut pair = Pair::new();
            pair.pass();
            assert!(pair.hear(wrong));
            for _ in 0..3 {
                let position = pair.say();
                pair.hear(position);
                pair.beat();
            }
            assert!(pair.missed().contains(&(Some(pair.key), None)));
            pair.pass();
        }
        let mut pair = Pair::new();
        let wrong =
            Beat { number: 1 << 60, next_stream: 0, part: (0, 1), is_last: false, entries: vec![] };
        pair.tracker.beat(ORIGIN, &wrong, pair.now);
        for _ in 0..3 {
            pair.beat();
        }
        pair.missed();
        pair.pass();
        pair.lose();
        pair.beat();
        pair.beat();
        assert_eq!(pair.missed(), [(Some(pair.key), Some(1))]);
    }

    #[test]
    fn a_heartbeat_without_one_of_its_parts_counts_as_lost() {
        let mut pair = Pair::new();
        let beat = |number, part| Beat {
            number,
            next_stream: 0,
            part: (part, 3),
            is_last: false,
            entries: Vec::new(),
        };
        for part in [0, 2] {
            pair.tracker.beat(ORIGIN, &beat(3, part), pair.now);
        }
        assert_eq!(pair.tracker.nodes[&ORIGIN].beat.unwrap().number, 2);
        for part in 0..3 {
            pair.tracker.beat(ORIGIN, &beat(4, part), pair.now);
        }
        assert_eq!(pair.tracker.nodes[&ORIGIN].beat.unwrap().number, 4);
    }

    #[test]
    fn there_are_bounded_many_nodes() {
        let mut pair = Pair::new();
        for number in 0..2 * MAX_NODES as u64 {
            let mut node = NODE;
            node[..8].copy_from_slice(&number.to_be_bytes());
            let position = Position { stream: 0, number: 1 };
            assert!(pair.tracker.message(Origin { node, epoch: 1 }, pair.key, position, 0));
        }
        assert_eq!(pair.tracker.nodes(), MAX_NODES);
    }
}
