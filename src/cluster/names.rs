//! What channels are called.
//!
//! Names of rooms are UTF-16 as JavaScript has them, and any string is one. On the wire a name is
//! UTF-8 where it can be; half a surrogate pair becomes the three bytes that UTF-8 would have for it
//! if it were a character, so no two rooms share a name.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// A room's name on the wire.
pub type WireName = Arc<[u8]>;

/// What heartbeats call a channel: names may be long, and there are many of them.
pub type ChannelHash = [u8; 16];

/// Sharded channels are spread over so many slots of a Redis Cluster.
pub const PARTITIONS: u16 = 256;

/// Longest room name, in bytes, that is readable in the channel of an adapter.
const READABLE: usize = 96;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// All connections of all nodes.
    Everyone,
    /// The members of a room.
    Room(WireName),
}

impl Channel {
    /// The channel of a room, or of everyone.
    pub fn of(room: Option<&[u16]>) -> Self {
        room.map_or(Self::Everyone, |name| Self::Room(wire_name(name)))
    }

    /// What heartbeats call it.
    pub fn hash(&self) -> ChannelHash {
        let mut hasher = Sha256::new();
        match self {
            Self::Everyone => hasher.update([0]),
            Self::Room(name) => {
                hasher.update([1]);
                hasher.update(name);
            }
        }
        let mut hash = ChannelHash::default();
        hash.copy_from_slice(&hasher.finalize()[..size_of::<ChannelHash>()]);
        hash
    }

    /// Which of the [`PARTITIONS`] it is in.
    pub fn partition(&self) -> u16 {
        match self {
            Self::Everyone => 0,
            Self::Room(_) => u16::from(self.hash()[0]) % PARTITIONS,
        }
    }

    /// The same where channels lie in partitions; otherwise all are in one.
    pub fn partition_if(&self, is_sharded: bool) -> u16 {
        if is_sharded { self.partition() } else { 0 }
    }

    /// Its name at an adapter: letters, digits, `-` and `_`.
    pub fn token(&self) -> String {
        match self {
            Self::Everyone => "all".to_owned(),
            Self::Room(name) if name.len() <= READABLE => format!("r-{}", base64url(name)),
            Self::Room(name) => format!("h-{}", base64url(&Sha256::digest(name))),
        }
    }

    /// Bytes that its name takes.
    pub fn name_len(&self) -> usize {
        match self {
            Self::Everyone => 0,
            Self::Room(name) => name.len(),
        }
    }
}

/// A room's name on the wire.
pub fn wire_name(room: &[u16]) -> WireName {
    let mut bytes = Vec::with_capacity(room.len());
    for unit in char::decode_utf16(room.iter().copied()) {
        match unit {
            Ok(character) => {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Err(half) => {
                let half = half.unpaired_surrogate();
                let byte = |shift: u16| (half >> shift & 0x3f) as u8 | 0x80;
                bytes.extend_from_slice(&[0xe0 | (half >> 12) as u8, byte(6), byte(0)]);
            }
        }
    }
    bytes.into()
}

/// The room's name as JavaScript has it, of what [`wire_name`] has made.
pub fn room_name(mut wire: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(wire.len());
    loop {
        let valid = match str::from_utf8(wire) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = wire.split_at(valid);
        units.extend(String::from_utf8_lossy(text).encode_utf16());
        // What is not UTF-8 is half a surrogate pair.
        let [first, second, third, rest @ ..] = rest else { return units };
        let bits = |byte: &u8, shift: u32| u16::from(byte & 0x3f) << shift;
        units.push(u16::from(first & 0x0f) << 12 | bits(second, 6) | bits(third, 0));
        wire = rest;
    }
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for index in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * index) & 0x3f) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn well_formed_names_are_utf_8() {
        for text in ["", "lobby", "ü \u{0}", "🦀 and 🦀"] {
            assert_eq!(&*wire_name(&units(text)), text.as_bytes());
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_other_name() {
        assert_eq!(&*wire_name(&[0xd83e]), b"\xed\xa0\xbe");
        assert_eq!(&*wire_name(&[0xdd80, 0xd83e]), b"\xed\xb6\x80\xed\xa0\xbe");
        let names = [vec![0xd83e], vec![0xdd80], vec![0xd83e, 0xdd80], vec![0xfffd], vec![]];
        let seen: HashSet<WireName> = names.iter().map(|name| wire_name(name)).collect();
        assert_eq!(seen.len(), names.len());
    }

    proptest::proptest! {
        #[test]
        fn a_name_comes_back_from_the_wire_as_it_was(
            units in proptest::collection::vec(
                proptest::prop_oneof![0xd700..0xe100_u16, 0..0x100_u16, 0..=0xffff_u16], 0..20),
        ) {
            proptest::prop_assert_eq!(room_name(&wire_name(&units)), units);
        }
    }

    #[test]
    fn the_channel_of_an_adapter_is_short_and_plain() {
        assert_eq!(Channel::Everyone.token(), "all");
        assert_eq!(Channel::of(Some(&units("lobby"))).token(), "r-bG9iYnk");
        assert_eq!(Channel::of(Some(&[])).token(), "r-");
        let long = Channel::of(Some(&vec![0x61; 65_536])).token();
        assert!(long.starts_with("h-") && long.len() < 60, "{long}");
        for room in [&[0xd83e][..], &units("a.b *>"), &[0xff; 48]] {
            let token = Channel::of(Some(room)).token();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(token.len() <= 200 && token.chars().all(is_plain), "{token}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v")] {
            assert_eq!(base64url(bytes), text);
        }
        assert_eq!(base64url(b"\xfb\xff"), "-_8");
    }

    #[test]
    fn rooms_are_spread_over_the_partitions() {
        let mut count = [0; PARTITIONS as usize];
        for number in 0..25_600 {
            count[Channel::of(Some(&units(&format!("{{same}}{number}")))).partition() as usize] +=
                1;
        }
        assert!(count.iter().all(|rooms| (50..200).contains(rooms)), "{count:?}");
    }
}
