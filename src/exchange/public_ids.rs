//! What users call a connection.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ids::ConnectionId;

/// Makes the ids of connections, UUIDs of version 4 (RFC 9562 §5.4), and finds the connection of one
/// without a table.
///
/// An id is a connection's slot and generation, encrypted with a secret in the way of a synthetic
/// initialization vector (RFC 5297): a hash of both is the nonce, with which both are masked. Without the
/// secret it cannot be told from a random number, and what somebody has made up has the right hash once in
/// 2^58 times. With the secret it names one connection. No two of one secret are alike, and those of
/// different ones are as likely to be as random UUIDs.
pub struct PublicIds {
    secret: [u8; 32],
}

/// Bits of the hash.
const NONCE_BITS: u32 = 58;

/// Bits behind the variant of a UUID, whose other 60 free bits lie before it.
const LOW_BITS: u32 = 62;

impl PublicIds {
    /// With a secret of its own.
    pub fn random() -> Self {
        let mut secret = [0; 32];
        // All but twelve of its bits are random.
        for half in secret.chunks_exact_mut(16) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self { secret }
    }

    /// The id of a connection. Another one where the generations have begun anew in between, which `lap`
    /// counts.
    pub fn name(&self, id: ConnectionId, lap: u8) -> Uuid {
        let plain = u64::from(id.slot) | u64::from(lap) << 24 | u64::from(id.generation) << 32;
        let nonce = self.hash(b'n', plain) & ((1 << NONCE_BITS) - 1);
        let masked = plain ^ self.hash(b'm', nonce);
        let bits = u128::from(nonce) << u64::BITS | u128::from(masked);
        let high = bits >> LOW_BITS;
        let low = bits & ((1 << LOW_BITS) - 1);
        let (time, rest) = (high >> 12, high & 0xfff);
        Uuid::from_u128(time << 80 | 4 << 76 | rest << 64 | 0b10 << LOW_BITS | low)
    }

    /// Which connection has or had this id; `None` where that is none of ours, or not written as
    /// [`Self::name`] is.
    pub fn find(&self, name: &str) -> Option<ConnectionId> {
        let uuid = Uuid::try_parse(name).ok()?;
        let value = uuid.as_u128();
        let high = value >> 80 << 12 | value >> 64 & 0xfff;
        let bits = high << LOW_BITS | value & ((1 << LOW_BITS) - 1);
        let (nonce, masked) = ((bits >> u64::BITS) as u64, bits as u64);
        let plain = masked ^ self.hash(b'm', nonce);
        let id = ConnectionId { slot: plain as u32 & 0xff_ffff, generation: (plain >> 32) as u32 };
        let own = self.name(id, (plain >> 24) as u8);
        let mut buffer = Uuid::encode_buffer();
        (own == uuid && *own.hyphenated().encode_lower(&mut buffer) == *name).then_some(id)
    }

    /// A number that only the secret leads to. What is hashed has one length, and `purpose` tells apart
    /// what it is for.
    fn hash(&self, purpose: u8, number: u64) -> u64 {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update([purpose]);
        hasher.update(number.to_be_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize()[..8]);
        u64::from_be_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use uuid::{Variant, Version};

    use super::*;
    use crate::exchange::MAX_SLOTS;

    fn id(slot: u32, generation: u32) -> ConnectionId {
        ConnectionId { slot, generation }
    }

    proptest! {
        #[test]
        fn an_id_leads_to_its_connection_and_to_nobody_with_another_secret(
            slot in 0..MAX_SLOTS, generation: u32, lap: u8,
        ) {
            let ids = PublicIds::random();
            let uuid = ids.name(id(slot, generation), lap);
            prop_assert_eq!(uuid.get_version(), Some(Version::Random));
            prop_assert_eq!(uuid.get_variant(), Variant::RFC4122);
            prop_assert_eq!(ids.find(&uuid.to_string()), Some(id(slot, generation)));
            prop_assert_eq!(PublicIds::random().find(&uuid.to_string()), None);
        }

        #[test]
        fn whatever_is_no_id_leads_to_nobody(text: String, random: u128) {
            let ids = PublicIds::random();
            prop_assert_eq!(ids.find(&text), None);
            prop_assert_eq!(ids.find(&Uuid::from_u128(random).to_string()), None);
        }
    }

    #[test]
    fn an_id_with_one_bit_changed_leads_to_nobody() {
        let ids = PublicIds::random();
        let uuid = ids.name(id(5, 7), 0).as_u128();
        for bit in 0..128 {
            assert_eq!(ids.find(&Uuid::from_u128(uuid ^ 1 << bit).to_string()), None, "{bit}");
        }
    }

    #[test]
    fn an_id_in_another_spelling_is_none() {
        let ids = PublicIds::random();
        // With letters in it.
        let uuids = (0..).map(|generation| ids.name(id(1, generation), 0));
        let uuid = uuids.into_iter().find(|uuid| uuid.to_string().contains('a')).unwrap();
        for spelling in [
            uuid.to_string().to_uppercase(),
            uuid.simple().to_string(),
            uuid.braced().to_string(),
            uuid.urn().to_string(),
            format!(" {uuid}"),
        ] {
            assert_eq!(ids.find(&spelling), None, "{spelling}");
        }
    }

    #[test]
    fn no_two_are_alike_and_half_of_all_bits_are_set() {
        let ids = PublicIds::random();
        let mut seen = HashSet::new();
        let mut set = [0; 128];
        for generation in 0..4096 {
            // The same slots again and again, as a server has them.
            let value = ids.name(id(generation % 4, generation), 0).as_u128();
            assert!(seen.insert(value));
            for (bit, count) in set.iter_mut().enumerate() {
                *count += value >> bit & 1;
            }
        }
        assert!(seen.insert(ids.name(id(0, 0), 1).as_u128()));
        for (bit, count) in set.into_iter().enumerate() {
            let fixed = matches!(bit, 62 | 63 | 76..80);
            // Ten standard deviations.
            assert!(fixed || (1728..2368).contains(&count), "bit {bit}: {count}");
        }
    }
}
