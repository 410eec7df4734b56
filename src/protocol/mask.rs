//! Masking of payloads (RFC 6455 §5.3). XOR is its own inverse, so this unmasks as well.

/// Applies `key` to `bytes` in place and returns the key rotated so that the next bytes of the
/// same payload can go on with it.
///
/// The loop over 32-byte blocks compiles to vector instructions.
pub fn apply(bytes: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let wide: [u8; 32] = std::array::from_fn(|index| key[index % 4]);
    let mut blocks = bytes.chunks_exact_mut(32);
    for block in &mut blocks {
        for (byte, mask) in block.iter_mut().zip(wide) {
            *byte ^= mask;
        }
    }
    let tail = blocks.into_remainder();
    for (byte, mask) in tail.iter_mut().zip(wide) {
        *byte ^= mask;
    }
    let mut next = key;
    next.rotate_left(tail.len() % 4);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_split_gives_the_bytes_of_the_plain_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..140usize {
            let plain: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let expected: Vec<u8> = (0..len).map(|index| index as u8 ^ key[index % 4]).collect();
            for split in [0, len / 3, len / 2, len] {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(split);
                let key = apply(head, key);
                apply(tail, key);
                assert_eq!(bytes, expected, "length {len}, split {split}");
            }
        }
    }
}
