//! What nodes send each other, as bytes.
//!
//! ```text
//! "NRWS"  version  kind  node  epoch  ...
//!    4       1       1    16     8
//!
//! kind 0, 1: a text or binary message      stream  number  length and name of the room  payload
//!                                             8       8      4
//! kind 2, 3: a heartbeat, or the last one  beat  next stream  part  parts  count  entries
//!                                            8        8         2     2      4    32 each
//! ```
//!
//! Numbers are big-endian. The room is named only where the channel does not: then its length is not
//! `ffffffff`. Others may write what they like into a channel, so nothing here is trusted.

use super::names::ChannelHash;

const MAGIC: [u8; 4] = *b"NRWS";

/// The only version so far. Of others, which a newer release may speak while both run, nothing is
/// known but that they are no garbage.
const VERSION: u8 = 1;

/// Magic, version, kind, node, epoch.
const HEAD: usize = 4 + 1 + 1 + 16 + 8;

/// Before the payload of a message whose channel names the room.
pub const MESSAGE_OVERHEAD: usize = HEAD + 8 + 8 + 4;

const NO_ROOM: u32 = u32::MAX;
const ENTRY: usize = 32;

/// Entries in one part of a heartbeat: 128 KiB.
pub const PART_ENTRIES: usize = 4096;

/// The name of a node.
pub type NodeId = [u8; 16];

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// Another one in each life of the node.
    pub epoch: u64,
}

/// A number in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which series of numbers: a node begins another one in a channel that has been silent.
    pub stream: u64,
    /// Counts the messages of the series, from 1.
    pub number: u64,
}

/// What is being said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// A message for members.
    Message(Message<'a>),
    /// What was said lately.
    Beat(Beat),
}

/// A message for members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary. Text has not been checked.
    pub is_text: bool,
    /// Its place among those of the same node in the same channel.
    pub position: Position,
    /// The room, where the channel does not say it.
    pub room: Option<&'a [u8]>,
    /// What members get.
    pub payload: &'a [u8],
}

/// How far a node has come in the channels in which it has said something lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Counts the heartbeats of a node, from 1.
    pub number: u64,
    /// Series from this one on have not begun.
    pub next_stream: u64,
    /// Which part of the heartbeat this is, from 0, and how many there are.
    pub part: (u16, u16),
    /// The node is going.
    pub is_last: bool,
    /// How far it has come.
    pub entries: Vec<(ChannelHash, Position)>,
}

/// Why bytes are not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing that this package has written.
    Garbage,
    /// Written by another release.
    Version(u8),
}

fn head(kind: u8, origin: Origin, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + capacity);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&origin.node);
    bytes.extend_from_slice(&origin.epoch.to_be_bytes());
    bytes
}

impl Message<'_> {
    /// Its bytes.
    pub fn encode(&self, origin: Origin) -> Vec<u8> {
        let room = self.room.unwrap_or_default();
        let capacity = 8 + 8 + 4 + room.len() + self.payload.len();
        let mut bytes = head(u8::from(!self.is_text), origin, capacity);
        bytes.extend_from_slice(&self.position.stream.to_be_bytes());
        bytes.extend_from_slice(&self.position.number.to_be_bytes());
        let len = self.room.map_or(NO_ROOM, |room| room.len() as u32);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(room);
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

impl Beat {
    /// Its bytes.
    pub fn encode(&self, origin: Origin) -> Vec<u8> {
        let capacity = 8 + 8 + 2 + 2 + 4 + self.entries.len() * ENTRY;
        let mut bytes = head(2 + u8::from(self.is_last), origin, capacity);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.next_stream.to_be_bytes());
        bytes.extend_from_slice(&self.part.0.to_be_bytes());
        bytes.extend_from_slice(&self.part.1.to_be_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for (hash, position) in &self.entries {
            bytes.extend_from_slice(hash);
            bytes.extend_from_slice(&position.stream.to_be_bytes());
            bytes.extend_from_slice(&position.number.to_be_bytes());
        }
        bytes
    }
}

/// Reads what has come in a channel.
///
/// # Errors
/// Where it is nothing that can be read.
pub fn decode(bytes: &[u8]) -> Result<(Origin, Envelope<'_>), Unreadable> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(Unreadable::Garbage)?;
    match rest.first() {
        Some(&VERSION) => {}
        Some(version) => return Err(Unreadable::Version(*version)),
        None => return Err(Unreadable::Garbage),
    }
    let mut reader = Reader(&rest[1..]);
    reader.envelope().ok_or(Unreadable::Garbage)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn position(&mut self) -> Option<Position> {
        let (stream, number) = (self.u64()?, self.u64()?);
        (number > 0).then_some(Position { stream, number })
    }

    fn envelope(&mut self) -> Option<(Origin, Envelope<'a>)> {
        let [kind] = self.take()?;
        let origin = Origin { node: self.take()?, epoch: self.u64()? };
        let envelope = match kind {
            0 | 1 => Envelope::Message(self.message(kind == 0)?),
            2 | 3 => Envelope::Beat(self.beat(kind == 3)?),
            _ => return None,
        };
        Some((origin, envelope))
    }

    fn message(&mut self, is_text: bool) -> Option<Message<'a>> {
        let position = self.position()?;
        let room = match self.take().map(u32::from_be_bytes)? {
            NO_ROOM => None,
            len => {
                let (room, rest) = self.0.split_at_checked(len as usize)?;
                self.0 = rest;
                Some(room)
            }
        };
        Some(Message { is_text, position, room, payload: self.0 })
    }

    fn beat(&mut self, is_last: bool) -> Option<Beat> {
        let (number, next_stream) = (self.u64()?, self.u64()?);
        let part = (self.take().map(u16::from_be_bytes)?, self.take().map(u16::from_be_bytes)?);
        let count = self.take().map(u32::from_be_bytes)? as usize;
        // A count allocates nothing that has not come.
        if number == 0 || part.0 >= part.1 || self.0.len() != count.checked_mul(ENTRY)? {
            return None;
        }
        let entries = (0..count)
            .map(|_| Some((self.take()?, self.position()?)))
            .collect::<Option<Vec<_>>>()?;
        Some(Beat { number, next_stream, part, is_last, entries })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: Origin = Origin { node: *b"a node with a id", epoch: 7 };
    const POSITION: Position = Position { stream: 3, number: 9 };

    fn message(room: Option<&'static [u8]>) -> Message<'static> {
        Message { is_text: true, position: POSITION, room, payload: b"hi" }
    }

    #[test]
    fn a_message_has_these_bytes() {
        let expected = b"NRWS\x01\x00a node with a id\0\0\0\0\0\0\0\x07\
            \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09\xff\xff\xff\xffhi";
        assert_eq!(message(None).encode(ORIGIN), expected);
        assert_eq!(expected.len(), MESSAGE_OVERHEAD + 2);
    }

    #[test]
    fn what_is_written_is_read() {
        for room in [None, Some(&b""[..]), Some(b"\xed\xa0\xbe")] {
            for is_text in [true, false] {
                let message = Message { is_text, ..message(room) };
                let bytes = message.encode(ORIGIN);
                assert_eq!(decode(&bytes), Ok((ORIGIN, Envelope::Message(message))));
            }
        }
        for is_last in [true, false] {
            let entries = vec![([5; 16], POSITION), ([6; 16], POSITION)];
            let beat = Beat { number: 1, next_stream: 4, part: (1, 2), is_last, entries };
            let bytes = beat.encode(ORIGIN);
            assert_eq!(decode(&bytes), Ok((ORIGIN, Envelope::Beat(beat))));
        }
    }

    #[test]
    fn what_is_cut_off_is_garbage() {
        let bytes = message(Some(b"room")).encode(ORIGIN);
        for len in 0..MESSAGE_OVERHEAD + 4 {
            assert_eq!(decode(&bytes[..len]), Err(Unreadable::Garbage), "{len}");
        }
        let entries = vec![([5; 16], POSITION)];
        let beat = Beat { number: 1, next_stream: 4, part: (0, 1), is_last: false, entries };
        let bytes = beat.encode(ORIGIN);
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Err(Unreadable::Garbage), "{len}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_garbage() {
        let mut bytes = message(None).encode(ORIGIN);
        bytes[4] = 2;
        assert_eq!(decode(&bytes), Err(Unreadable::Version(2)));
        assert_eq!(decode(b"hello"), Err(Unreadable::Garbage));
        bytes[4] = VERSION;
        bytes[5] = 4;
        assert_eq!(decode(&bytes), Err(Unreadable::Garbage));
    }

    #[test]
    fn a_count_that_is_too_large_reserves_nothing() {
        let beat =
            Beat { number: 1, next_stream: 1, part: (0, 1), is_last: false, entries: vec![] };
        let mut bytes = beat.encode(ORIGIN);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&[0xff; 4]);
        assert_eq!(decode(&bytes), Err(Unreadable::Garbage));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(start in 0..3_usize, bytes: Vec<u8>) {
            let prefix: &[u8] = [&b""[..], b"NRWS\x01", b"NRWS\x01\x02"][start];
            let _ = decode(&[prefix, &bytes].concat());
        }
    }
}
