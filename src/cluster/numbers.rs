//! Numbers what this node says, so that others notice what they have missed.
//!
//! A series of numbers lives as long as something is said in its channel, and is in
//! [`LISTED`] heartbeats after that. Then it is forgotten, and the next message begins another one: so
//! what is kept depends on what was said in the last seconds, and not on how many rooms there ever were.

use std::collections::HashMap;

use super::envelope::{Beat, PART_ENTRIES, Position};
use super::names::{Channel, ChannelHash};

/// How many heartbeats name a channel after the last message in it: a node that has missed fewer still
/// learns of all that it has missed.
pub const LISTED: u8 = 3;

/// Most series at a time. Who says something in more channels than that within seconds has the oldest
/// ones begun anew, and a loss at their end is not noticed.
const MAX_SERIES: usize = 1 << 17;

/// Most bytes of their channels' names, likewise: while the broker is away, no heartbeat forgets one.
const MAX_NAMES: usize = 8 << 20;

/// The series of one node.
#[derive(Debug, Default)]
pub struct Numbers {
    // Rooms may be named by clients: hashed with a secret of the process.
    series: HashMap<Channel, Series>,
    /// Bytes of their names.
    names: usize,
    next_stream: u64,
    beat: u64,
}

#[derive(Debug)]
struct Series {
    position: Position,
    hash: ChannelHash,
    /// Heartbeats that still name it.
    beats_left: u8,
}

impl Numbers {
    /// The place of the next message in a channel.
    pub fn next(&mut self, channel: &Channel) -> Position {
        if let Some(series) = self.series.get_mut(channel) {
            series.position.number += 1;
            series.beats_left = LISTED;
            return series.position;
        }
        if self.is_full() {
            self.series.retain(|_, series| series.beats_left == LISTED);
            self.count_names();
            if self.is_full() {
                self.series.clear();
                self.names = 0;
            }
        }
        let position = Position { stream: self.next_stream, number: 1 };
        self.next_stream += 1;
        let series = Series { position, hash: channel.hash(), beats_left: LISTED };
        self.series.insert(channel.clone(), series);
        self.names += channel.name_len();
        position
    }

    fn is_full(&self) -> bool {
        self.series.len() >= MAX_SERIES || self.names >= MAX_NAMES
    }

    fn count_names(&mut self) {
        self.names = self.series.keys().map(Channel::name_len).sum();
    }

    /// The next heartbeat, in parts.
    pub fn beat(&mut self, is_last: bool) -> Vec<Beat> {
        self.beat += 1;
        let mut entries = Vec::with_capacity(self.series.len());
        self.series.retain(|_, series| {
            entries.push((series.hash, series.position));
            series.beats_left -= 1;
            series.beats_left > 0
        });
        self.count_names();
        let (number, next_stream) = (self.beat, self.next_stream);
        let parts = entries.len().div_ceil(PART_ENTRIES).max(1) as u16;
        let mut chunks = entries.chunks(PART_ENTRIES);
        (0..parts)
            .map(|part| Beat {
                number,
                next_stream,
                part: (part, parts),
                is_last,
                entries: chunks.next().unwrap_or_default().to_vec(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(text: &str) -> Channel {
        Channel::of(Some(&text.encode_utf16().collect::<Vec<_>>()))
    }

    fn position(stream: u64, number: u64) -> Position {
        Position { stream, number }
    }

    #[test]
    fn each_channel_counts_for_itself() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.next(&room("a")), position(0, 1));
        assert_eq!(numbers.next(&Channel::Everyone), position(1, 1));
        assert_eq!(numbers.next(&room("a")), position(0, 2));
    }

    #[test]
    fn a_channel_is_in_three_heartbeats_after_its_last_message() {
        let mut numbers = Numbers::default();
        numbers.next(&room("a"));
        numbers.beat(false);
        numbers.next(&room("a"));
        for _ in 0..3 {
            assert_eq!(numbers.beat(false)[0].entries, [(room("a").hash(), position(0, 2))]);
        }
        let beat = &numbers.beat(false)[0];
        assert_eq!((beat.number, beat.next_stream, beat.entries.len()), (5, 1, 0));
        assert_eq!(numbers.next(&room("a")), position(1, 1));
    }

    #[test]
    fn long_names_without_heartbeats_are_bounded() {
        let mut numbers = Numbers::default();
        for number in 0..1000 {
            numbers.next(&room(&format!("{number:0>65535}")));
            let names: usize = numbers.series.keys().map(Channel::name_len).sum();
            assert!(names <= MAX_NAMES + 65_535, "{names}");
        }
    }

    #[test]
    fn a_heartbeat_of_many_channels_has_parts() {
        let mut numbers = Numbers::default();
        for number in 0..=PART_ENTRIES {
            numbers.next(&room(&number.to_string()));
        }
        let parts = numbers.beat(true);
        assert_eq!(parts.iter().map(|beat| beat.part).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
        assert_eq!(parts[0].entries.len() + parts[1].entries.len(), PART_ENTRIES + 1);
        assert!(parts.iter().all(|beat| beat.is_last && beat.number == 1));
    }
}
