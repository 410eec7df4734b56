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
//! kind 4, 5: a text or binary message      stream  number  rooms  length and name of each  payload
//!            to several rooms                 8       8      4      4
//! ```
//!
//! Numbers are big-endian. The room is named only where the channel does not: then its length is not
//! `ffffffff`. A message to several rooms goes to everyone: each node gets it once, and finds out by itself
//! who is in at least one of the rooms. Nodes that do not know a kind take it for garbage, and notice by the
//! number that they have missed something. Others may write what they like into a channel, so nothing here
//! is trusted.

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
    /// Whom it is for.
    pub to: Addressees<'a>,
    /// What members get.
    pub payload: &'a [u8],
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressees<'a> {
    /// Those that the channel says.
    Channel,
    /// The members of a room, where the channel does not say it.
    Room(&'a [u8]),
    /// Whoever is in at least one of several rooms.
    Rooms(RoomNames<'a>),
}

/// Names of several rooms, as they lie in a message: each behind its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomNames<'a>(&'a [u8]);

impl<'a> RoomNames<'a> {
    /// The names behind each other, to be borrowed.
    pub fn write<'n>(names: impl Iterator<Item = &'n [u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in names {
            bytes.extend_from_slice(&(name.len() as u32).to_be_bytes());
            bytes.extend_from_slice(name);
        }
        bytes
    }

    /// What [`Self::write`] has made.
    pub fn of(written: &'a [u8]) -> Self {
        Self(written)
    }

    /// The names.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Reader(self.0);
        std::iter::from_fn(move || rest.name())
    }
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
        let (kind, number, names): (u8, u32, &[u8]) = match self.to {
            Addressees::Channel => (0, NO_ROOM, &[]),
            Addressees::Room(name) => (0, name.len() as u32, name),
            Addressees::Rooms(names) => (4, names.iter().count() as u32, names.0),
        };
        let capacity = 8 + 8 + 4 + names.len() + self.payload.len();
        let mut bytes = head(kind + u8::from(!self.is_text), origin, capacity);
        bytes.extend_from_slice(&self.position.stream.to_be_bytes());
        bytes.extend_from_slice(&self.position.number.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(names);
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

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
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
            4 | 5 => Envelope::Message(self.message_to_rooms(kind == 4)?),
            _ => return None,
        };
        Some((origin, envelope))
    }

    fn message(&mut self, is_text: bool) -> Option<Message<'a>> {
        let position = self.position()?;
        let to = match self.u32()? {
            NO_ROOM => Addressees::Channel,
            len => Addressees::Room(self.bytes(len)?),
        };
        Some(Message { is_text, position, to, payload: self.0 })
    }

    fn message_to_rooms(&mut self, is_text: bool) -> Option<Message<'a>> {
        let position = self.position()?;
        let count = self.u32()?;
        let names = self.0;
        // A count takes no longer than there are bytes.
        for _ in 0..count {
            self.name()?;
        }
        let (names, payload) = names.split_at_checked(names.len() - self.0.len())?;
        Some(Message { is_text, position, to: Addressees::Rooms(RoomNames(names)), payload })
    }

    /// A room's name behind its length.
    fn name(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len)
    }

    fn bytes(&mut self, len: u32) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(bytes)
    }

    fn beat(&mut self, is_last: bool) -> Option<Beat> {
        let (number, next_stream) = (self.u64()?, self.u64()?);
        let part = (self.take().map(u16::from_be_bytes)?, self.take().map(u16::from_be_bytes)?);
        let count = self.u32()? as usize;
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
        let to = room.map_or(Addressees::Channel, Addressees::Room);
        Message { is_text: true, position: POSITION, to, payload: b"hi" }
    }

    fn names(names: &[&[u8]]) -> Vec<u8> {
        RoomNames::write(names.iter().copied())
    }

    fn message_to<'a>(names: &'a [u8]) -> Message<'a> {
        let to = Addressees::Rooms(RoomNames::of(names));
        Message { is_text: false, position: POSITION, to, payload: b"hi" }
    }

    #[test]
    fn a_message_has_these_bytes() {
        let expected = b"NRWS\x01\x00a node with a id\0\0\0\0\0\0\0\x07\
            \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09\xff\xff\xff\xffhi";
        assert_eq!(message(None).encode(ORIGIN), expected);
        assert_eq!(expected.len(), MESSAGE_OVERHEAD + 2);
    }

    #[test]
    fn a_message_to_several_rooms_has_these_bytes() {
        let expected = b"NRWS\x01\x05a node with a id\0\0\0\0\0\0\0\x07\
            \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09\0\0\0\x03\
            \0\0\0\x01a\0\0\0\0\0\0\0\x02bchi";
        let names = names(&[b"a", b"", b"bc"]);
        let message = message_to(&names);
        assert_eq!(message.encode(ORIGIN), expected);
        assert_eq!(decode(expected), Ok((ORIGIN, Envelope::Message(message))));
        let Addressees::Rooms(read) = message.to else { panic!() };
        assert_eq!(read.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
    }

    #[test]
    fn names_that_are_not_whole_are_garbage() {
        let names = names(&[b"a", b"room"]);
        let bytes = message_to(&names).encode(ORIGIN);
        for len in 0..bytes.len() - 2 {
            assert_eq!(decode(&bytes[..len]), Err(Unreadable::Garbage), "{len}");
        }
        // More rooms than there are bytes for.
        let mut bytes = message_to(&names).encode(ORIGIN);
        bytes[MESSAGE_OVERHEAD - 4..MESSAGE_OVERHEAD].copy_from_slice(&[0xff; 4]);
        assert_eq!(decode(&bytes), Err(Unreadable::Garbage));
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
        bytes[5] = 6;
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
        fn no_bytes_are_too_strange(start in 0..4_usize, bytes: Vec<u8>) {
            let prefix: &[u8] =
                [&b""[..], b"NRWS\x01", b"NRWS\x01\x02", b"NRWS\x01\x04"][start];
            let _ = decode(&[prefix, &bytes].concat());
        }
    }
}
