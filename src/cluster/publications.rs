//! What waits for the broker.

use std::collections::VecDeque;
use std::time::Instant;

use super::envelope::{Message, Origin};
use super::names::Channel;
use super::numbers::Numbers;

/// What a message that waits takes beside its bytes.
const COST: usize = 128;

/// A message on its way to the broker.
#[derive(Debug)]
pub struct Publication {
    pub channel: Channel,
    pub bytes: Vec<u8>,
    pub kind: Kind,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message,
    Beat,
}

impl Publication {
    /// What it counts against the bound.
    fn cost(&self) -> usize {
        self.bytes.capacity() + self.channel.name_len() + COST
    }
}

/// A bounded queue. Each message has got its number when it is queued: one that is dropped is missed
/// by others.
#[derive(Debug)]
pub struct Publications {
    numbers: Numbers,
    queue: VecDeque<Publication>,
    bytes: usize,
    limit: usize,
    /// Messages dropped since somebody has asked.
    dropped: u64,
}

impl Publications {
    /// At most `limit` bytes wait.
    pub fn new(limit: usize) -> Self {
        Self { numbers: Numbers::default(), queue: VecDeque::new(), bytes: 0, limit, dropped: 0 }
    }

    /// Queues a message; its room is named in it where `names_room`.
    pub fn push(
        &mut self,
        origin: Origin,
        channel: &Channel,
        names_room: bool,
        is_text: bool,
        payload: &[u8],
    ) {
        let position = self.numbers.next(channel);
        let room = match channel {
            Channel::Room(name) if names_room => Some(&**name),
            _ => None,
        };
        let bytes = Message { is_text, position, room, payload }.encode(origin);
        let channel = if names_room { Channel::Everyone } else { channel.clone() };
        self.append(Publication { channel, bytes, kind: Kind::Message, since: Instant::now() });
    }

    /// Queues a heartbeat, unless one waits.
    pub fn push_beat(&mut self, origin: Origin, is_last: bool) {
        if !is_last && self.queue.iter().any(|each| each.kind == Kind::Beat) {
            return;
        }
        for beat in self.numbers.beat(is_last) {
            self.append(Publication {
                channel: Channel::Everyone,
                bytes: beat.encode(origin),
                kind: Kind::Beat,
                since: Instant::now(),
            });
        }
    }

    fn append(&mut self, publication: Publication) {
        self.bytes += publication.cost();
        self.queue.push_back(publication);
        // One always fits.
        while self.bytes > self.limit && self.queue.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.queue.pop_front() {
            self.bytes -= oldest.cost();
            self.dropped += u64::from(oldest.kind == Kind::Message);
        }
    }

    /// Takes some of the oldest, of up to so many bytes and at least one.
    pub fn take(&mut self, count: usize, bytes: usize) -> Vec<Publication> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while taken.len() < count
            && let Some(next) = self.queue.front()
            && (taken.is_empty() || sum + next.bytes.len() <= bytes)
        {
            let Some(next) = self.queue.pop_front() else { break };
            self.bytes -= next.cost();
            sum += next.bytes.len();
            taken.push(next);
        }
        taken
    }

    /// Puts those back that have not been sent, in front of all others.
    pub fn put_back(&mut self, unsent: Vec<Publication>) {
        for publication in unsent.into_iter().rev() {
            self.bytes += publication.cost();
            self.queue.push_front(publication);
        }
        while self.bytes > self.limit && self.queue.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        while !self.queue.is_empty() {
            self.drop_oldest();
        }
    }

    /// How many have been dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Messages that wait, heartbeats aside.
    pub fn waiting_messages(&self) -> usize {
        self.queue.iter().filter(|each| each.kind == Kind::Message).count()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that wait, and since when the oldest message does.
    pub fn waiting(&self) -> (usize, Option<Instant>) {
        let mut messages = self.queue.iter().filter(|each| each.kind == Kind::Message);
        (self.bytes, messages.next().map(|oldest| oldest.since))
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{Envelope, decode};
    use super::*;

    const ORIGIN: Origin = Origin { node: [1; 16], epoch: 1 };

    fn queue(limit: usize) -> Publications {
        Publications::new(limit)
    }

    fn push(queue: &mut Publications, payload: &[u8]) {
        queue.push(ORIGIN, &Channel::of(Some(&[0x61])), false, true, payload);
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
        assert_eq!(queue.take_dropped(), 2);
        assert_eq!((queue.take_dropped(), queue.waiting().0 <= 10_000), (0, true));
        assert_eq!(numbers(&queue.take(10, usize::MAX)), [3, 4, 5]);
        assert_eq!((queue.waiting(), queue.is_empty()), ((0, None), true));
    }

    #[test]
    fn one_message_always_fits() {
        let mut queue = queue(1);
        push(&mut queue, &[0; 3000]);
        push(&mut queue, &[0; 3000]);
        assert_eq!(numbers(&queue.take(10, 1)), [2]);
    }

    #[test]
    fn what_is_put_back_is_the_next_to_be_taken() {
        let mut queue = queue(10_000);
        for _ in 0..4 {
            push(&mut queue, &[0; 1000]);
        }
        let taken = queue.take(10, 2500);
        push(&mut queue, &[0; 1000]);
        assert_eq!(numbers(&taken), [1, 2]);
        queue.put_back(taken);
        assert_eq!(numbers(&queue.take(10, usize::MAX)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn one_heartbeat_waits_at_a_time() {
        let mut queue = queue(10_000);
        queue.push_beat(ORIGIN, false);
        queue.push_beat(ORIGIN, false);
        queue.push_beat(ORIGIN, true);
        let taken = queue.take(10, usize::MAX);
        assert_eq!(taken.iter().map(|each| each.kind).collect::<Vec<_>>(), [Kind::Beat; 2]);
    }

    #[test]
    fn a_room_is_named_where_its_channel_is_not() {
        let mut queue = queue(10_000);
        queue.push(ORIGIN, &Channel::of(Some(&[0x61])), true, false, b"hi");
        let taken = queue.take(1, usize::MAX);
        assert_eq!(taken[0].channel, Channel::Everyone);
        let Ok((_, Envelope::Message(message))) = decode(&taken[0].bytes) else { panic!() };
        assert_eq!((message.room, message.payload), (Some(&b"a"[..]), &b"hi"[..]));
    }
}
