//! Which channels this node wants to hear, and how far the broker has been told.
//!
//! What is wanted and what is so are two things: after every connection all that is wanted is asked for
//! again, in batches, so a connection that is lost in the middle forgets nothing. A channel that is no
//! longer wanted is left after a while only, as rooms come and go. One that the broker refuses does not
//! concern the others, and is asked for again later.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::names::{Channel, PARTITIONS};

/// Channels that are asked for together.
pub const BATCH: usize = 256;

/// Channels that a connection is being asked for at a time: a room that is joined meanwhile waits behind
/// no more than that. One by one, 10,000 take 250 ms; all at once, they hold up what is live.
const UNDER_WAY: usize = 1024;

/// How long a channel that nobody wants is kept, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// Most channels that nobody wants and that are kept, and most bytes of their names: clients may name
/// rooms, and leave them at once. Beyond that the oldest are left before their time.
const MAX_UNWANTED: usize = 1 << 14;
const MAX_UNWANTED_BYTES: usize = 4 << 20;

/// How long after the broker has refused a channel it is asked again, in milliseconds.
const RETRY_MS: u64 = 30_000;

/// Fewer waiting channels are not swept.
const SWEPT_FROM: usize = 1024;

/// The channels of a node. Times are in milliseconds of any clock that only goes on.
#[derive(Debug)]
pub struct Subscriptions {
    /// Channels lie in partitions, which have brokers of their own.
    is_sharded: bool,
    channels: HashMap<Channel, Entry>,
    /// Channels to be asked for, or left, by partition. What has been done since is skipped.
    due: BTreeMap<u16, VecDeque<Channel>>,
    /// Channels that have been asked for, or left, and not been answered, by partition: a broker that does
    /// not answer holds up no other.
    under_way: Vec<usize>,
    /// Channels that have been left for good, to be told.
    gone: Vec<Channel>,
    /// Channels that nobody wants, or did not once, since when, about in this order. Each is there once.
    unwanted: VecDeque<(u64, Channel)>,
    /// Bytes of their names.
    unwanted_bytes: usize,
    /// Channels that the broker has refused, since when, in this order.
    refused: VecDeque<(u64, Channel)>,
    confirmed: usize,
}

#[derive(Debug)]
struct Entry {
    partition: u16,
    /// Since when nobody wants it.
    unwanted_at: Option<u64>,
    /// It is in the queue of those that nobody wants.
    is_queued: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Asked,
    Confirmed,
    Leaving,
    Refused,
}

/// What is to be asked of the broker.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// To subscribe, or to unsubscribe.
    pub subscribes: bool,
    /// All in one partition.
    pub channels: Vec<Channel>,
}

impl Subscriptions {
    /// None so far; `is_sharded` where channels lie in partitions.
    pub fn new(is_sharded: bool) -> Self {
        Self {
            is_sharded,
            channels: HashMap::new(),
            due: BTreeMap::new(),
            under_way: vec![0; if is_sharded { PARTITIONS.into() } else { 1 }],
            gone: Vec::new(),
            unwanted: VecDeque::new(),
            unwanted_bytes: 0,
            refused: VecDeque::new(),
            confirmed: 0,
        }
    }

    /// Wants a channel. Returns `true` if the broker has to be told.
    pub fn want(&mut self, channel: &Channel) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else {
            let partition = channel.partition_if(self.is_sharded);
            let entry =
                Entry { partition, unwanted_at: None, is_queued: false, state: State::Absent };
            self.channels.insert(channel.clone(), entry);
            self.due.entry(partition).or_default().push_back(channel.clone());
            return true;
        };
        entry.unwanted_at = None;
        false
    }

    /// Does not want it any more. Returns `true` if the broker has to be told something.
    pub fn unwant(&mut self, channel: &Channel, now: u64) -> bool {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.unwanted_at = Some(now);
            self.queue_unwanted(now, channel.clone());
        }
        let mut news = false;
        while self.unwanted.len() > MAX_UNWANTED || self.unwanted_bytes > MAX_UNWANTED_BYTES {
            news |= self.leave_oldest();
        }
        news
    }

    fn queue_unwanted(&mut self, now: u64, channel: Channel) {
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        if !entry.is_queued {
            entry.is_queued = true;
            self.unwanted_bytes += channel.name_len();
            self.unwanted.push_back((now, channel));
        }
    }

    /// Leaves the one that nobody has wanted for longest, unless it is wanted again. Returns `true` if the
    /// broker has to be told.
    fn leave_oldest(&mut self) -> bool {
        let Some((at, channel)) = self.unwanted.pop_front() else { return false };
        self.unwanted_bytes -= channel.name_len();
        let Some(entry) = self.channels.get_mut(&channel) else { return false };
        entry.is_queued = false;
        match entry.unwanted_at {
            None => return false,
            Some(since) if since > at => {
                self.queue_unwanted(since, channel);
                return false;
            }
            Some(_) => {}
        }
        if entry.state == State::Absent {
            self.channels.remove(&channel);
            self.gone.push(channel);
            return false;
        }
        self.due.entry(entry.partition).or_default().push_back(channel);
        true
    }

    /// A connection has been made to the broker that serves these partitions: nothing is subscribed to
    /// there.
    pub fn begin(&mut self, serves: impl Fn(u16) -> bool) {
        for entry in self.channels.values_mut() {
            if !serves(entry.partition) {
                continue;
            }
            match entry.state {
                State::Asked | State::Leaving => self.under_way[entry.partition as usize] -= 1,
                State::Confirmed => self.confirmed -= 1,
                State::Absent | State::Refused => {}
            }
            entry.state = State::Absent;
        }
        self.due.retain(|partition, _| !serves(*partition));
        let is_sharded = self.is_sharded;
        self.refused.retain(|(_, channel)| !serves(channel.partition_if(is_sharded)));
        for (channel, entry) in self.channels.iter().filter(|(_, entry)| serves(entry.partition)) {
            self.due.entry(entry.partition).or_default().push_back(channel.clone());
        }
    }

    /// The next request for a connection that serves these partitions.
    pub fn next(&mut self, serves: impl Fn(u16) -> bool) -> Option<Request> {
        let partitions: Vec<u16> = self.due.keys().copied().filter(|each| serves(*each)).collect();
        let under_way: usize = (0..)
            .zip(&self.under_way)
            .filter(|(each, _)| serves(*each))
            .map(|(_, count)| count)
            .sum();
        let room = BATCH.min(UNDER_WAY.saturating_sub(under_way));
        for partition in partitions {
            let request = self.next_of(partition, room);
            if self.due.get(&partition).is_some_and(VecDeque::is_empty) {
                self.due.remove(&partition);
            }
            if request.is_some() {
                return request;
            }
        }
        None
    }

    fn next_of(&mut self, partition: u16, room: usize) -> Option<Request> {
        let due = self.due.get_mut(&partition)?;
        let mut request = Request { subscribes: true, channels: Vec::new() };
        while request.channels.len() < room
            && let Some(channel) = due.front()
        {
            let Some(entry) = self.channels.get_mut(channel) else {
                due.pop_front();
                continue;
            };
            let subscribes = match (entry.state, entry.unwanted_at) {
                // Nobody has asked for it, and nobody wants it: it is as if it had never been.
                (State::Absent, Some(_)) => {
                    self.channels.remove(channel);
                    self.gone.extend(due.pop_front());
                    continue;
                }
                (State::Absent, None) => true,
                (State::Confirmed, Some(_)) => false,
                _ => {
                    due.pop_front();
                    continue;
                }
            };
            if request.channels.is_empty() {
                request.subscribes = subscribes;
            } else if request.subscribes != subscribes {
                break;
            }
            if subscribes {
                entry.state = State::Asked;
            } else {
                entry.state = State::Leaving;
                self.confirmed -= 1;
            }
            self.under_way[partition as usize] += 1;
            request.channels.extend(due.pop_front());
        }
        (!request.channels.is_empty()).then_some(request)
    }

    /// The broker has answered a request for one channel: it is subscribed to, or has been left.
    pub fn done(&mut self, subscribes: bool, channel: Channel, now: u64) {
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        match (entry.state, subscribes) {
            (State::Asked, true) => {
                self.under_way[entry.partition as usize] -= 1;
                self.confirmed += 1;
                entry.state = State::Confirmed;
                if entry.unwanted_at.is_some() {
                    // It may have waited longer than the grace.
                    self.queue_unwanted(now, channel);
                }
            }
            (State::Leaving, false) => {
                self.under_way[entry.partition as usize] -= 1;
                if entry.unwanted_at.is_some() {
                    self.channels.remove(&channel);
                    self.gone.push(channel);
                } else {
                    entry.state = State::Absent;
                    self.due.entry(entry.partition).or_default().push_back(channel);
                }
            }
            // Of a connection before this one.
            _ => {}
        }
    }

    /// The broker has refused a request for one channel, which is left as it is for a while.
    pub fn refuse(&mut self, subscribes: bool, channel: Channel, now: u64) {
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        match (entry.state, subscribes) {
            (State::Asked, true) => {
                self.under_way[entry.partition as usize] -= 1;
                entry.state = State::Refused;
                self.refused.push_back((now, channel));
            }
            (State::Leaving, false) => {
                self.under_way[entry.partition as usize] -= 1;
                self.confirmed += 1;
                entry.state = State::Confirmed;
                self.queue_unwanted(now, channel);
            }
            _ => {}
        }
    }

    /// The channels that have been left for good since the last call.
    pub fn take_gone(&mut self) -> Vec<Channel> {
        std::mem::take(&mut self.gone)
    }

    /// Whether the broker has been told everything, and has answered.
    pub fn is_settled(&self) -> bool {
        self.under_way.iter().all(|count| *count == 0) && self.due.values().all(VecDeque::is_empty)
    }

    /// Whether a channel is subscribed to.
    pub fn is_confirmed(&self, channel: &Channel) -> bool {
        self.channels.get(channel).is_some_and(|entry| entry.state == State::Confirmed)
    }

    /// To be called every second or so. Returns `true` if the broker has to be told something.
    pub fn tick(&mut self, now: u64) -> bool {
        let mut news = false;
        while let Some((at, _)) = self.unwanted.front()
            && at + GRACE_MS <= now
        {
            news |= self.leave_oldest();
        }
        self.sweep();
        while let Some((at, _)) = self.refused.front()
            && at + RETRY_MS <= now
        {
            let Some((_, channel)) = self.refused.pop_front() else { break };
            let Some(entry) = self.channels.get_mut(&channel) else { continue };
            if entry.state == State::Refused {
                entry.state = State::Absent;
                self.due.entry(entry.partition).or_default().push_back(channel);
                news = true;
            }
        }
        news
    }

    /// While the broker is away, rooms come and go, and nothing takes their channels off the queues.
    fn sweep(&mut self) {
        let waiting: usize = self.due.values().map(VecDeque::len).sum();
        if waiting > SWEPT_FROM && waiting > 2 * self.channels.len() {
            for due in self.due.values_mut() {
                let mut seen = HashSet::new();
                due.retain(|channel| {
                    self.channels.contains_key(channel) && seen.insert(channel.clone())
                });
            }
        }
    }

    /// Channels that are subscribed to.
    pub fn confirmed(&self) -> usize {
        self.confirmed
    }

    /// Channels that the broker refuses.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(u16) -> bool = |_| true;

    fn room(number: usize) -> Channel {
        Channel::of(Some(&number.to_string().encode_utf16().collect::<Vec<_>>()))
    }

    fn rooms(count: usize) -> Subscriptions {
        rooms_of(Subscriptions::new(false), count)
    }

    fn rooms_of(mut subscriptions: Subscriptions, count: usize) -> Subscriptions {
        for number in 0..count {
            assert!(subscriptions.want(&room(number)));
        }
        subscriptions
    }

    fn carry_out(subscriptions: &mut Subscriptions, request: Request, now: u64) {
        for channel in request.channels {
            subscriptions.done(request.subscribes, channel, now);
        }
    }

    /// Carries out all that is due, and returns how many requests that took.
    fn settle(subscriptions: &mut Subscriptions, now: u64) -> usize {
        let mut count = 0;
        while let Some(request) = subscriptions.next(ALL) {
            carry_out(subscriptions, request, now);
            count += 1;
        }
        assert!(subscriptions.is_settled());
        count
    }

    #[test]
    fn what_is_wanted_is_asked_for_once() {
        let mut subscriptions = rooms(1);
        assert!(!subscriptions.want(&room(0)));
        let request = subscriptions.next(ALL).unwrap();
        assert_eq!(request, Request { subscribes: true, channels: vec![room(0)] });
        assert_eq!((subscriptions.next(ALL), subscriptions.is_settled()), (None, false));
        carry_out(&mut subscriptions, request, 0);
        assert_eq!((subscriptions.confirmed(), subscriptions.is_settled()), (1, true));
    }

    #[test]
    fn no_more_than_so_many_are_asked_for_at_a_time() {
        let mut subscriptions = rooms(10_000);
        let mut under_way: Vec<Request> = std::iter::from_fn(|| subscriptions.next(ALL)).collect();
        let asked: usize = under_way.iter().map(|request| request.channels.len()).sum();
        assert_eq!(asked, UNDER_WAY);
        assert!(under_way.iter().all(|request| request.channels.len() <= BATCH));
        carry_out(&mut subscriptions, under_way.pop().unwrap(), 0);
        assert!(subscriptions.next(ALL).is_some());
    }

    #[test]
    fn after_a_new_connection_all_is_asked_for_again_also_where_it_is_lost_in_the_middle() {
        let mut subscriptions = rooms(3000);
        let lost = subscriptions.next(ALL).unwrap();
        let done = subscriptions.next(ALL).unwrap();
        carry_out(&mut subscriptions, done, 0);
        subscriptions.begin(ALL);
        let again = subscriptions.next(ALL).unwrap();
        subscriptions.begin(ALL);
        for late in [lost, again] {
            carry_out(&mut subscriptions, late, 0);
        }
        assert_eq!(subscriptions.confirmed(), 0);
        settle(&mut subscriptions, 0);
        assert_eq!(subscriptions.confirmed(), 3000);
    }

    #[test]
    fn what_nobody_wants_is_left_after_a_while() {
        let mut subscriptions = rooms(1);
        settle(&mut subscriptions, 0);
        subscriptions.unwant(&room(0), 100);
        assert!(!subscriptions.tick(100 + GRACE_MS - 1));
        assert!(subscriptions.tick(100 + GRACE_MS));
        let request = subscriptions.next(ALL).unwrap();
        assert_eq!(request, Request { subscribes: false, channels: vec![room(0)] });
        assert_eq!(subscriptions.take_gone(), []);
        carry_out(&mut subscriptions, request, 0);
        assert_eq!((subscriptions.take_gone(), subscriptions.confirmed()), (vec![room(0)], 0));
    }

    #[test]
    fn what_is_wanted_again_in_time_is_not_left() {
        let mut subscriptions = rooms(1);
        settle(&mut subscriptions, 0);
        subscriptions.unwant(&room(0), 0);
        subscriptions.want(&room(0));
        subscriptions.unwant(&room(0), GRACE_MS - 1);
        assert!(!subscriptions.tick(GRACE_MS));
        assert_eq!(subscriptions.next(ALL), None);
        assert!(subscriptions.tick(2 * GRACE_MS - 1));
    }

    #[test]
    fn what_is_wanted_while_it_is_being_left_is_asked_for_again() {
        let mut subscriptions = rooms(1);
        settle(&mut subscriptions, 0);
        subscriptions.unwant(&room(0), 0);
        subscriptions.tick(GRACE_MS);
        let leaving = subscriptions.next(ALL).unwrap();
        subscriptions.want(&room(0));
        carry_out(&mut subscriptions, leaving, 0);
        assert_eq!(subscriptions.take_gone(), []);
        assert_eq!((settle(&mut subscriptions, 0), subscriptions.confirmed()), (1, 1));
    }

    #[test]
    fn a_channel_that_the_broker_refuses_costs_the_others_nothing_and_is_asked_for_again() {
        let mut subscriptions = rooms(1000);
        while let Some(request) = subscriptions.next(ALL) {
            for channel in request.channels {
                if channel == room(17) {
                    subscriptions.refuse(true, channel, 0);
                } else {
                    subscriptions.done(true, channel, 0);
                }
            }
        }
        assert_eq!((subscriptions.refused(), subscriptions.confirmed()), (1, 999));
        assert!(subscriptions.is_settled());
        assert!(!subscriptions.tick(RETRY_MS - 1) && subscriptions.tick(RETRY_MS));
        assert_eq!((settle(&mut subscriptions, 0), subscriptions.confirmed()), (1, 1000));
    }

    #[test]
    fn rooms_that_come_and_go_while_the_broker_is_away_leave_nothing() {
        let mut subscriptions = Subscriptions::new(false);
        for round in 0..20 {
            for number in 0..1000 {
                let channel = room(round * 1000 + number);
                subscriptions.want(&channel);
                subscriptions.unwant(&channel, round as u64 * GRACE_MS);
            }
            subscriptions.tick((round as u64 + 1) * GRACE_MS);
        }
        assert!(subscriptions.channels.is_empty());
        assert_eq!(subscriptions.take_gone().len(), 20_000);
        let waiting: usize = subscriptions.due.values().map(VecDeque::len).sum();
        assert!(waiting <= 2 * SWEPT_FROM, "{waiting}");
    }

    #[test]
    fn rooms_that_flap_while_the_broker_is_away_are_asked_for_once() {
        let mut subscriptions = rooms(1000);
        settle(&mut subscriptions, 0);
        for round in 0..20 {
            let now = round * 2 * GRACE_MS;
            for number in 0..2000 {
                subscriptions.want(&room(number));
                subscriptions.unwant(&room(number), now);
                subscriptions.want(&room(number));
                subscriptions.unwant(&room(number), now);
            }
            assert!(subscriptions.unwanted.len() <= 2000);
            subscriptions.tick(now + GRACE_MS);
        }
        let waiting: usize = subscriptions.due.values().map(VecDeque::len).sum();
        assert!(waiting <= 6000, "{waiting}");
    }

    #[test]
    fn rooms_that_are_joined_and_left_at_once_are_not_kept_without_a_bound() {
        let mut subscriptions = Subscriptions::new(false);
        for number in 0..2 * MAX_UNWANTED {
            subscriptions.want(&room(number));
            settle(&mut subscriptions, 0);
            subscriptions.unwant(&room(number), 0);
        }
        settle(&mut subscriptions, 0);
        assert_eq!(subscriptions.channels.len(), MAX_UNWANTED);
        let long = |number: usize| Channel::of(Some(&vec![number as u16; 100_000]));
        for number in 0..100 {
            subscriptions.want(&long(number));
            settle(&mut subscriptions, 0);
            subscriptions.unwant(&long(number), 0);
        }
        settle(&mut subscriptions, 0);
        let names: usize = subscriptions.channels.keys().map(Channel::name_len).sum();
        assert!(names <= MAX_UNWANTED_BYTES, "{names}");
    }

    #[test]
    fn a_broker_that_does_not_answer_holds_up_no_other() {
        let mut subscriptions = rooms_of(Subscriptions::new(true), 10_000);
        let low = |partition| partition < 128;
        while subscriptions.next(low).is_some() {}
        let mut asked = 0;
        while let Some(request) = subscriptions.next(|partition| !low(partition)) {
            asked += request.channels.len();
            carry_out(&mut subscriptions, request, 0);
        }
        assert_eq!((asked, subscriptions.confirmed()), (asked, asked));
        assert!(asked > 4000);
        subscriptions.begin(low);
        settle(&mut subscriptions, 0);
        assert_eq!(subscriptions.confirmed(), 10_000);
    }

    #[test]
    fn connections_serve_their_own_partitions_only() {
        let mut subscriptions = rooms_of(Subscriptions::new(true), 100);
        let low = |partition| partition < 128;
        let mut asked = Vec::new();
        while let Some(request) = subscriptions.next(low) {
            asked.extend(request.channels.clone());
            carry_out(&mut subscriptions, request, 0);
        }
        assert!(asked.iter().all(|channel| low(channel.partition())));
        let before = subscriptions.confirmed();
        subscriptions.begin(|partition| !low(partition));
        assert_eq!(subscriptions.confirmed(), before);
        settle(&mut subscriptions, 0);
        assert_eq!(subscriptions.confirmed(), 100);
    }
}
