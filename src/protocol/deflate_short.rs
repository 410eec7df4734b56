//! DEFLATE (RFC 1951) of short messages that share no context.
//!
//! A compressor for streams has tables of hundreds of kilobytes, and clearing them takes half as long as
//! compressing a kilobyte. Here the tables are small, and are not cleared: positions are counted over all
//! messages, so that those of earlier ones are known by their number.

/// Longest message that is compressed here, in bytes. Beyond, the tables of a stream pay.
const MAX_SHORT: usize = 8 << 10;

/// The same at level 1, at which a stream is as fast from here on, if half as good.
const MAX_SHORT_FASTEST: usize = 1 << 10;

/// Base-2 logarithm of how many hashes of four bytes are told apart.
const HASH_BITS: u32 = 12;

/// Shortest repetition that is looked for: a shorter one saves next to nothing.
const MIN_MATCH: usize = 4;
/// The longest that can be told (RFC 1951 §3.2.5).
const MAX_MATCH: usize = 258;

/// From this length on, a repetition is taken without a look at the next place.
const LAZY_BELOW: usize = 16;

/// How many earlier places are compared at most, by level.
const DEPTHS: [u32; 10] = [0, 1, 2, 4, 6, 8, 16, 24, 48, 96];

/// Symbols for bytes, the end of a block, and lengths.
const LITERALS: usize = 286;
const END_OF_BLOCK: usize = 256;
/// Symbols for distances.
const DISTANCES: usize = 30;
/// Symbols for the lengths of code words.
const LENGTH_CODES: usize = 19;

/// Most bits of a code word, and of one for the length of such a word.
const MAX_WORD: usize = 15;
const MAX_LENGTH_WORD: usize = 7;

/// The order in which the lengths of the codes for code lengths are written (RFC 1951 §3.2.7).
const LENGTH_ORDER: [usize; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Headers of blocks that are not the last one (RFC 1951 §3.2.3).
const STORED_BLOCK: u64 = 0b000;
const FIXED_BLOCK: u64 = 0b010;
const DYNAMIC_BLOCK: u64 = 0b100;

/// Bytes that a stored block has beside its content.
const STORED_OVERHEAD: usize = 5;

/// What a message is made of: a byte, or a repetition of what came before.
#[derive(Debug, Clone, Copy)]
struct Token {
    /// Of the repetition, or 1.
    len: u16,
    /// How far back it begins; of a byte, 0.
    distance: u16,
}

/// Compresses one message after the other. Some 40 KiB.
#[derive(Debug)]
pub(super) struct ShortDeflater {
    /// By hash: the latest position at which it was seen, counted over all messages.
    head: Box<[u32]>,
    /// By position in the message: how far back the same hash was seen before; 0 for not at all.
    back: Box<[u16]>,
    /// Number of the first position of the message.
    base: u32,
    tokens: Vec<Token>,
    /// How many earlier places are compared at most.
    depth: u32,
    /// How far back a repetition may reach.
    window: usize,
    /// The code that need not be told.
    fixed: Fixed,
}

impl ShortDeflater {
    /// A compressor of `level` (1 to 9) with a window of `bits` (9 to 15).
    pub fn new(level: u32, bits: u8) -> Self {
        Self {
            head: vec![0; 1 << HASH_BITS].into_boxed_slice(),
            back: vec![0; MAX_SHORT].into_boxed_slice(),
            base: 1,
            tokens: Vec::new(),
            depth: DEPTHS[level.min(9) as usize],
            window: 1 << bits,
            fixed: Fixed::new(),
        }
    }

    /// Longest message that it should be given, in bytes.
    pub fn longest(&self) -> usize {
        if self.depth == DEPTHS[1] { MAX_SHORT_FASTEST } else { MAX_SHORT }
    }

    /// Appends the compressed form of a message of up to [`MAX_SHORT`] bytes to `out`, without the tail
    /// that is not transmitted (RFC 7692 §7.2.1).
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut counts = Counts::default();
        self.tokenize(data, &mut counts);
        let codes = Codes::of(&counts);
        let own = codes.bits(&counts);
        let fixed = self.fixed.bits(&counts);
        let mut bits = Bits::behind(out);
        if own.min(fixed).div_ceil(8) >= data.len() + STORED_OVERHEAD {
            bits.stored(data);
        } else if fixed <= own {
            bits.put(FIXED_BLOCK, 3);
            bits.tokens(&self.tokens, data, &self.fixed.literals, &self.fixed.distances);
        } else {
            bits.put(DYNAMIC_BLOCK, 3);
            codes.tell(&mut bits);
            bits.tokens(&self.tokens, data, &codes.literals, &codes.distances);
        }
        bits.end();
    }

    /// Finds what the message repeats of itself.
    fn tokenize(&mut self, data: &[u8], counts: &mut Counts) {
        debug_assert!(data.len() <= MAX_SHORT);
        if self.base > u32::MAX - 2 * MAX_SHORT as u32 {
            self.head.fill(0);
            self.base = 1;
        }
        self.tokens.clear();
        let mut at = 0;
        let mut pending = None;
        while at < data.len() {
            let found = match pending.take() {
                Some(found) => found,
                None => self.look(data, at, MIN_MATCH - 1),
            };
            let (len, distance) = found;
            if len < MIN_MATCH {
                counts.literal(data[at]);
                self.tokens.push(Token { len: 1, distance: 0 });
                at += 1;
                continue;
            }
            let mut remembered = at + 1;
            if self.depth > 1 && len < LAZY_BELOW && at + 1 < data.len() {
                // One that begins a byte later may be longer.
                let next = self.look(data, at + 1, len);
                if next.0 > len {
                    counts.literal(data[at]);
                    self.tokens.push(Token { len: 1, distance: 0 });
                    at += 1;
                    pending = Some(next);
                    continue;
                }
                remembered += 1;
            }
            self.remember_all(data, remembered, at + len);
            counts.repetition(len, distance);
            self.tokens.push(Token { len: len as u16, distance: distance as u16 });
            at += len;
        }
        counts.literals[END_OF_BLOCK] = 1;
        self.base += data.len() as u32;
    }

    /// Notes that the bytes at `at` stand there, and returns how far back they stood before.
    fn remember(&mut self, data: &[u8], at: usize) -> usize {
        let Some(four) = data.get(at..at + 4) else { return 0 };
        let four = u32::from_le_bytes(four.try_into().expect("four bytes"));
        let hash = (four.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize;
        let now = self.base + at as u32;
        let before = std::mem::replace(&mut self.head[hash], now);
        let back = if before >= self.base { now - before } else { 0 };
        self.back[at] = back as u16;
        back as usize
    }

    fn remember_all(&mut self, data: &[u8], from: usize, to: usize) {
        for at in from..to {
            self.remember(data, at);
        }
    }

    /// The longest repetition at `at` that is longer than `least`, by length and distance.
    fn look(&mut self, data: &[u8], at: usize, least: usize) -> (usize, usize) {
        let (mut best, mut distance) = (least, 0);
        let rest = &data[at..];
        let most = rest.len().min(MAX_MATCH);
        let mut back = self.remember(data, at);
        let mut total = 0;
        for _ in 0..self.depth {
            total += back;
            if back == 0 || total > self.window || best >= most {
                break;
            }
            let earlier = &data[at - total..];
            if earlier[best] == rest[best] {
                let len = common(&earlier[..most], &rest[..most]);
                if len > best {
                    (best, distance) = (len, total);
                }
            }
            back = usize::from(self.back[at - total]);
        }
        if distance == 0 { (0, 0) } else { (best, distance) }
    }
}

/// How many bytes at the start are the same.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut len = 0;
    for (a, b) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        let [a, b] = [a, b].map(|eight| u64::from_le_bytes(eight.try_into().expect("eight bytes")));
        if a != b {
            return len + ((a ^ b).trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + one[len..].iter().zip(&other[len..]).take_while(|(a, b)| a == b).count()
}

/// Symbol, number of extra bits, and extra bits of a length (RFC 1951 §3.2.5).
fn length_symbol(len: usize) -> (usize, u32, u64) {
    let over = len as u32 - 3;
    if len == MAX_MATCH {
        return (285, 0, 0);
    }
    if over < 8 {
        return (257 + over as usize, 0, 0);
    }
    let extra = over.ilog2() - 2;
    let symbol = 257 + 4 * (extra + 1) + ((over >> extra) & 3);
    (symbol as usize, extra, u64::from(over & ((1 << extra) - 1)))
}

/// The same for a distance.
fn distance_symbol(distance: usize) -> (usize, u32, u64) {
    let over = distance as u32 - 1;
    if over < 4 {
        return (over as usize, 0, 0);
    }
    let extra = over.ilog2() - 1;
    let symbol = 2 * (extra + 1) + ((over >> extra) & 1);
    (symbol as usize, extra, u64::from(over & ((1 << extra) - 1)))
}

/// How often each symbol is needed.
struct Counts {
    literals: [u16; LITERALS],
    distances: [u16; DISTANCES],
    /// Bits of lengths and distances that are in no symbol.
    extra_bits: usize,
}

impl Default for Counts {
    fn default() -> Self {
        Self { literals: [0; LITERALS], distances: [0; DISTANCES], extra_bits: 0 }
    }
}

impl Counts {
    fn literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
    }

    fn repetition(&mut self, len: usize, distance: usize) {
        let (symbol, extra, _) = length_symbol(len);
        self.literals[symbol] += 1;
        let (far, more, _) = distance_symbol(distance);
        self.distances[far] += 1;
        self.extra_bits += (extra + more) as usize;
    }
}

/// A prefix code: lengths, and the bits in the order in which they are written.
#[derive(Debug)]
struct Code<const N: usize> {
    lengths: [u8; N],
    bits: [u16; N],
}

impl<const N: usize> Code<N> {
    /// The best code for these counts, or nearly, whose words have up to `most` bits.
    fn of(counts: &[u16; N], most: usize) -> Self {
        let mut lengths = [0; N];
        // By count; symbols that are not needed get no word.
        let mut sorted: [u32; N] = [0; N];
        let mut used = 0;
        for (symbol, count) in counts.iter().enumerate() {
            if *count > 0 {
                sorted[used] = u32::from(*count) << 16 | symbol as u32;
                used += 1;
            }
        }
        let sorted = &mut sorted[..used];
        match used {
            0 => {}
            1 => lengths[(sorted[0] & 0xffff) as usize] = 1,
            _ => {
                sorted.sort_unstable();
                let by_length = word_counts(sorted, most);
                let mut symbols = sorted.iter();
                for len in (1..=most).rev() {
                    for entry in symbols.by_ref().take(usize::from(by_length[len])) {
                        lengths[(entry & 0xffff) as usize] = len as u8;
                    }
                }
            }
        }
        Self::with(lengths)
    }

    /// The canonical code with these lengths (RFC 1951 §3.2.2).
    fn with(lengths: [u8; N]) -> Self {
        let mut by_length = [0u16; 16];
        for len in lengths {
            by_length[usize::from(len)] += 1;
        }
        by_length[0] = 0;
        let mut next = [0u16; 16];
        for len in 1..16 {
            next[len] = (next[len - 1] + by_length[len - 1]) << 1;
        }
        let mut bits = [0; N];
        for (word, len) in bits.iter_mut().zip(lengths) {
            if len > 0 {
                let next = &mut next[usize::from(len)];
                *word = next.reverse_bits() >> (16 - len);
                *next += 1;
            }
        }
        Self { lengths, bits }
    }

    fn cost(&self, counts: &[u16; N]) -> usize {
        counts
            .iter()
            .zip(self.lengths)
            .map(|(count, len)| usize::from(*count) * usize::from(len))
            .sum()
    }

    fn put(&self, symbol: usize, out: &mut Bits<'_>) {
        out.put(u64::from(self.bits[symbol]), u32::from(self.lengths[symbol]));
    }
}

/// How many words of each length a code has for two or more counts, which come in ascending order in the
/// upper halves of `sorted`: Huffman's, with words of more than `most` bits shortened.
fn word_counts(sorted: &[u32], most: usize) -> [u16; 33] {
    // Nodes in the order in which they are joined: the leaves are sorted, and so are the sums.
    let leaves = sorted.len();
    let mut sums = [0u32; LITERALS];
    let mut parents = [0u16; 2 * LITERALS];
    let (mut leaf, mut sum) = (0, 0);
    for node in 0..leaves - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let takes_leaf = leaf < leaves && (sum >= node || sorted[leaf] >> 16 <= sums[sum]);
            if takes_leaf {
                weight += sorted[leaf] >> 16;
                parents[leaf] = node as u16;
                leaf += 1;
            } else {
                weight += sums[sum];
                parents[leaves + sum] = node as u16;
                sum += 1;
            }
        }
        sums[node] = weight;
    }
    let mut depths = [0u8; LITERALS];
    for node in (0..leaves - 2).rev() {
        depths[node] = depths[usize::from(parents[leaves + node])] + 1;
    }
    let mut by_length = [0u16; 33];
    for parent in &parents[..leaves] {
        let len = usize::from(depths[usize::from(*parent)]) + 1;
        by_length[len.min(most)] += 1;
    }
    // Words that were cut to `most` bits are too many: each time, one of them finds its place beside a shorter
    // one, which gets a bit more.
    let space = |by_length: &[u16; 33]| -> u32 {
        (1..=most).map(|len| u32::from(by_length[len]) << (most - len)).sum()
    };
    let mut excess = space(&by_length).saturating_sub(1 << most);
    while excess > 0 {
        by_length[most] -= 1;
        if let Some(len) = (1..most).rev().find(|len| by_length[*len] > 0) {
            by_length[len] -= 1;
            by_length[len + 1] += 2;
        }
        excess -= 1;
    }
    by_length
}

/// A length of code words, or a run of them.
struct Told {
    symbol: u8,
    /// The rest of the run's length, and how many bits that has.
    extra: u8,
    bits: u8,
}

/// The codes of a block, and how they are told (RFC 1951 §3.2.7).
struct Codes {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
    lengths: Code<LENGTH_CODES>,
    /// The lengths of the words of both.
    told: Vec<Told>,
    told_literals: usize,
    told_distances: usize,
    told_lengths: usize,
    told_bits: usize,
}

impl Codes {
    fn of(counts: &Counts) -> Self {
        let literals = Code::of(&counts.literals, MAX_WORD);
        let distances = Code::of(&counts.distances, MAX_WORD);
        let needed = |lengths: &[u8], least: usize| {
            lengths.iter().rposition(|len| *len > 0).map_or(least, |last| least.max(last + 1))
        };
        let told_literals = needed(&literals.lengths, 257);
        let told_distances = needed(&distances.lengths, 1);
        let mut all = [0; LITERALS + DISTANCES];
        let count = told_literals + told_distances;
        all[..told_literals].copy_from_slice(&literals.lengths[..told_literals]);
        all[told_literals..count].copy_from_slice(&distances.lengths[..told_distances]);
        let mut length_counts = [0u16; LENGTH_CODES];
        let told = run_lengths(&all[..count], &mut length_counts);
        let lengths = Code::of(&length_counts, MAX_LENGTH_WORD);
        let told_lengths = LENGTH_ORDER
            .iter()
            .rposition(|symbol| lengths.lengths[*symbol] > 0)
            .map_or(4, |last| 4.max(last + 1));
        let extra: usize = told.iter().map(|each| usize::from(each.bits)).sum();
        let told_bits = 3 + 14 + 3 * told_lengths + lengths.cost(&length_counts) + extra;
        Self {
            literals,
            distances,
            lengths,
            told,
            told_literals,
            told_distances,
            told_lengths,
            told_bits,
        }
    }

    fn bits(&self, counts: &Counts) -> usize {
        self.told_bits
            + self.literals.cost(&counts.literals)
            + self.distances.cost(&counts.distances)
            + counts.extra_bits
    }

    /// Writes what the codes are.
    fn tell(&self, out: &mut Bits<'_>) {
        out.put(self.told_literals as u64 - 257, 5);
        out.put(self.told_distances as u64 - 1, 5);
        out.put(self.told_lengths as u64 - 4, 4);
        for symbol in &LENGTH_ORDER[..self.told_lengths] {
            out.put(u64::from(self.lengths.lengths[*symbol]), 3);
        }
        for Told { symbol, extra, bits } in &self.told {
            self.lengths.put(usize::from(*symbol), out);
            out.put(u64::from(*extra), u32::from(*bits));
        }
    }
}

/// The code that both sides know (RFC 1951 §3.2.6).
#[derive(Debug)]
struct Fixed {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
}

impl Fixed {
    fn new() -> Self {
        // Two words that mean nothing belong to the code, which would be another one without them.
        let mut lengths = [8; LITERALS + 2];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        let all = Code::with(lengths);
        let mut literals = Code { lengths: [0; LITERALS], bits: [0; LITERALS] };
        literals.lengths.copy_from_slice(&all.lengths[..LITERALS]);
        literals.bits.copy_from_slice(&all.bits[..LITERALS]);
        Self { literals, distances: Code::with([5; DISTANCES]) }
    }

    fn bits(&self, counts: &Counts) -> usize {
        3 + self.literals.cost(&counts.literals)
            + self.distances.cost(&counts.distances)
            + counts.extra_bits
    }
}

/// Code lengths with runs told by their length (RFC 1951 §3.2.7).
fn run_lengths(lengths: &[u8], counts: &mut [u16; LENGTH_CODES]) -> Vec<Told> {
    let mut told = Vec::with_capacity(lengths.len());
    let mut tell = |symbol: u8, extra: usize, bits: u8| {
        counts[usize::from(symbol)] += 1;
        told.push(Told { symbol, extra: extra as u8, bits });
    };
    let mut rest = lengths;
    while let Some(&len) = rest.first() {
        let run = rest.iter().take_while(|each| **each == len).count();
        let mut left = run;
        if len == 0 {
            while left >= 11 {
                let part = left.min(138);
                tell(18, part - 11, 7);
                left -= part;
            }
            if left >= 3 {
                tell(17, left - 3, 3);
                left = 0;
            }
        } else {
            tell(len, 0, 0);
            left -= 1;
            while left >= 3 {
                let part = left.min(6);
                tell(16, part - 3, 2);
                left -= part;
            }
        }
        for _ in 0..left {
            tell(len, 0, 0);
        }
        rest = &rest[run..];
    }
    told
}

/// Writes bits, the lowest first.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    waiting: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn behind(out: &'a mut Vec<u8>) -> Self {
        Self { out, waiting: 0, count: 0 }
    }

    /// Up to 16 bits.
    fn put(&mut self, bits: u64, count: u32) {
        self.waiting |= bits << self.count;
        self.count += count;
        if self.count >= 48 {
            self.out.extend_from_slice(&self.waiting.to_le_bytes()[..6]);
            self.waiting >>= 48;
            self.count -= 48;
        }
    }

    fn align(&mut self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.waiting.to_le_bytes()[..bytes]);
        (self.waiting, self.count) = (0, 0);
    }

    /// The content of a block, and its end.
    fn tokens(
        &mut self,
        tokens: &[Token],
        data: &[u8],
        literals: &Code<LITERALS>,
        distances: &Code<DISTANCES>,
    ) {
        let mut at = 0;
        for Token { len, distance } in tokens {
            if *distance == 0 {
                literals.put(usize::from(data[at]), self);
            } else {
                let (symbol, bits, extra) = length_symbol(usize::from(*len));
                literals.put(symbol, self);
                self.put(extra, bits);
                let (symbol, bits, extra) = distance_symbol(usize::from(*distance));
                distances.put(symbol, self);
                self.put(extra, bits);
            }
            at += usize::from(*len);
        }
        literals.put(END_OF_BLOCK, self);
    }

    fn stored(&mut self, data: &[u8]) {
        self.put(STORED_BLOCK, 3);
        self.align();
        let len = data.len() as u16;
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(&(!len).to_le_bytes());
        self.out.extend_from_slice(data);
    }

    /// Begins the empty block that ends a message, whose other bytes are not transmitted.
    fn end(mut self) {
        self.put(STORED_BLOCK, 3);
        self.align();
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    /// What a peer with a window of so many bits makes of a compressed message.
    fn inflated(compressed: &[u8], bits: u8) -> Vec<u8> {
        let mut stream = Decompress::new_with_window_bits(false, bits);
        let mut out = Vec::with_capacity(2 * MAX_SHORT);
        let whole = [compressed, &[0x00, 0x00, 0xff, 0xff]].concat();
        stream.decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
        assert_eq!(stream.total_in() as usize, whole.len());
        out
    }

    fn compressed(deflater: &mut ShortDeflater, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.compress(message, &mut out);
        out
    }

    #[test]
    fn the_example_of_the_rfc_has_the_bytes_that_it_has_there() {
        // RFC 7692 §7.2.3.1.
        let hello = compressed(&mut ShortDeflater::new(6, 15), b"Hello");
        assert_eq!(hello, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    }

    #[test]
    fn each_kind_of_block_is_used_where_it_is_the_shortest() {
        let mut deflater = ShortDeflater::new(6, 15);
        let kind = |message: &[u8], deflater: &mut ShortDeflater| {
            let bytes = compressed(deflater, message);
            assert_eq!(inflated(&bytes, 15), message);
            u64::from(bytes[0] & 0b111)
        };
        assert_eq!(kind(b"a", &mut deflater), FIXED_BLOCK);
        let numbers: String = (0..500).map(|number| (number * 7919).to_string()).collect();
        assert_eq!(kind(numbers.as_bytes(), &mut deflater), DYNAMIC_BLOCK);
        let mut seed = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(MAX_SHORT)
        .collect();
        assert_eq!(kind(&noise, &mut deflater), STORED_BLOCK);
    }

    #[test]
    fn nothing_of_an_earlier_message_is_referred_to_also_when_positions_begin_anew() {
        let message = b"a message that comes again and again, word for word".repeat(9);
        let mut deflater = ShortDeflater::new(6, 15);
        let first = compressed(&mut deflater, &message);
        for base in [2, u32::MAX / 2, u32::MAX - 2 * MAX_SHORT as u32, u32::MAX - MAX_SHORT as u32]
        {
            deflater.base = base.max(deflater.base);
            for _ in 0..3 {
                assert_eq!(compressed(&mut deflater, &message), first);
            }
        }
    }

    #[test]
    fn words_of_a_code_are_never_too_long() {
        // Counts as the Fibonacci numbers make the longest words.
        let mut counts = [0u16; LENGTH_CODES];
        let (mut one, mut two) = (1, 1);
        for count in &mut counts {
            *count = one;
            (one, two) = (two, one + two);
        }
        for most in [MAX_LENGTH_WORD, MAX_WORD] {
            let code = Code::of(&counts, most);
            assert!(code.lengths.iter().all(|len| (1..=most).contains(&usize::from(*len))));
            let space: u32 = code.lengths.iter().map(|len| 1 << (most - usize::from(*len))).sum();
            assert_eq!(space, 1 << most, "every word is used");
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_whatever_they_are(
            messages in prop::collection::vec(
                (1u8..=255, prop::collection::vec(any::<u8>(), 1..MAX_SHORT)),
                1..6,
            ),
            level in 1u32..=9,
            bits in 9u8..=15,
        ) {
            let mut deflater = ShortDeflater::new(level, bits);
            for (alphabet, mut message) in messages {
                message.iter_mut().for_each(|byte| *byte %= alphabet);
                let bytes = compressed(&mut deflater, &message);
                prop_assert!(bytes.len() <= message.len() + STORED_OVERHEAD + 1);
                prop_assert_eq!(inflated(&bytes, bits), message);
            }
        }

        #[test]
        fn repetitions_of_any_length_and_distance_come_back(
            pieces in prop::collection::vec((0usize..4000, 1usize..600), 1..20),
            level in 1u32..=9,
            bits in 9u8..=15,
        ) {
            let mut message: Vec<u8> = (0..64).collect();
            for (from, len) in pieces {
                let from = from % message.len();
                for at in from..from + len {
                    message.push(message[at].wrapping_add(u8::from(at == from)));
                }
            }
            message.truncate(MAX_SHORT);
            let bytes = compressed(&mut ShortDeflater::new(level, bits), &message);
            prop_assert_eq!(inflated(&bytes, bits), message);
        }
    }
}
