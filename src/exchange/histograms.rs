//! How often something was how long: counted where it happens, added up when somebody asks.

use std::ops::{Add, AddAssign};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Up to how many bytes each bucket of [`Sizes`] reaches; the last one has no end. Each is four times the
/// one before, so that the bucket of a length is told by its leading zeros.
pub const SIZE_BOUNDS: [u64; 11] = {
    let mut bounds = [SMALLEST; 11];
    let mut index = 1;
    while index < bounds.len() {
        bounds[index] = bounds[index - 1] * 4;
        index += 1;
    }
    bounds
};

/// End of the first bucket of [`Sizes`], in bytes; a power of two.
const SMALLEST: u64 = 64;

/// Up to how many microseconds each bucket of [`Times`] reaches; the last one has no end.
pub const TIME_BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The bucket of a message of so many bytes.
fn bucket_of(len: u64) -> usize {
    let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
    let above = bits.saturating_sub(SMALLEST.trailing_zeros());
    (above.div_ceil(2) as usize).min(SIZE_BOUNDS.len())
}

/// Lengths of messages. One thread adds, with no more than plain loads and stores; read from anywhere.
#[derive(Debug, Default)]
pub struct Sizes {
    counts: [AtomicU64; SIZE_BOUNDS.len() + 1],
    bytes: AtomicU64,
}

impl Sizes {
    /// So many messages of `len` bytes each. Only the one thread whose numbers these are.
    pub fn add(&self, len: usize, messages: u64) {
        let add = |to: &AtomicU64, count: u64| {
            to.store(to.load(Relaxed).wrapping_add(count), Relaxed);
        };
        let len = len as u64;
        add(&self.counts[bucket_of(len)], messages);
        add(&self.bytes, len.wrapping_mul(messages));
    }

    /// A reading.
    pub fn read(&self) -> SizeTotals {
        SizeTotals {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

/// A reading of [`Sizes`], or a sum of some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeTotals {
    /// Messages by bucket, each in one only.
    pub counts: [u64; SIZE_BOUNDS.len() + 1],
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Add for SizeTotals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            counts: std::array::from_fn(|bucket| self.counts[bucket] + other.counts[bucket]),
            bytes: self.bytes + other.bytes,
        }
    }
}

impl std::iter::Sum for SizeTotals {
    fn sum<I: Iterator<Item = Self>>(readings: I) -> Self {
        readings.fold(Self::default(), Add::add)
    }
}

/// How long things have taken. Belongs to one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// By bucket, each in one only.
    pub counts: [u64; TIME_BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Times {
    /// One thing has taken so long.
    pub fn add(&mut self, time: Duration) {
        let micros = time.as_micros();
        let bucket = TIME_BOUNDS.iter().position(|bound| micros <= u128::from(*bound));
        self.counts[bucket.unwrap_or(TIME_BOUNDS.len())] += 1;
        self.sum += time;
    }
}

impl AddAssign<&Times> for Times {
    fn add_assign(&mut self, other: &Times) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_the_first_bucket_that_reaches_it() {
        let mut lengths: Vec<u64> = vec![0, 1, 63, u64::MAX >> 1];
        for bound in SIZE_BOUNDS {
            lengths.extend([bound - 1, bound, bound + 1]);
        }
        for len in lengths {
            let first = SIZE_BOUNDS.iter().position(|bound| len <= *bound);
            assert_eq!(bucket_of(len), first.unwrap_or(SIZE_BOUNDS.len()), "{len}");
        }
    }

    #[test]
    fn readings_of_several_threads_are_added_up() {
        let (one, other) = (Sizes::default(), Sizes::default());
        one.add(10, 1);
        other.add(10, 3);
        other.add(100, 1);
        let SizeTotals { counts, bytes } = [one, other].iter().map(Sizes::read).sum();
        assert_eq!((counts[0], counts[1], bytes), (4, 1, 140));
        assert_eq!(counts.iter().sum::<u64>(), 5);
    }

    #[test]
    fn times_are_counted_once_each() {
        let mut times = Times::default();
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            times.add(Duration::from_micros(micros));
        }
        assert_eq!((times.counts[0], times.counts[1]), (2, 1));
        assert_eq!(times.counts[15..], [1, 1]);
        let mut sum = times.clone();
        sum += &times;
        assert_eq!(sum.counts.iter().sum::<u64>(), 10);
        assert_eq!(sum.sum, 2 * times.sum);
    }
}
