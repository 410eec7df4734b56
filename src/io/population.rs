//! Memory that is given back when many connections have gone.

use std::cell::Cell;

/// Connections that must have gone before it is worth looking. They had about 1 MiB.
const MIN_GONE: usize = 1000;

/// Milliseconds from then until memory is given back, in which more may go.
const DELAY: u64 = 1000;

/// Milliseconds from one time to the next: a flood that comes and goes again and again shall not have
/// the heap searched all the time.
const INTERVAL: u64 = 30_000;

/// Watches the number of connections of one I/O thread. Owned by it.
///
/// glibc keeps what has been freed unless it lies at the very end of the heap. After 10,000
/// connections had come and gone that was 1,300 bytes for each of them, out of 1,200 that they had
/// needed (the rest is of the upgrade). Giving it back took 1 to 2 ms, which the other connections
/// of the thread wait for; so it happens once for many.
#[derive(Debug, Default)]
pub(super) struct Population {
    open: Cell<usize>,
    /// Most that were open at a time since memory was given back.
    peak: Cell<usize>,
    /// When memory is to be given back, in the thread's milliseconds.
    due: Cell<Option<u64>>,
    not_before: Cell<u64>,
}

impl Population {
    pub fn came(&self) {
        self.open.set(self.open.get() + 1);
        self.peak.set(self.peak.get().max(self.open.get()));
    }

    /// Returns whether [`Self::due`] is news.
    pub fn went(&self, now: u64) -> bool {
        self.open.set(self.open.get() - 1);
        let (open, peak) = (self.open.get(), self.peak.get());
        let worth_it = peak - open >= MIN_GONE && open <= peak / 2;
        if !worth_it || self.due.get().is_some() {
            return false;
        }
        self.due.set(Some((now + DELAY).max(self.not_before.get())));
        true
    }

    pub fn due(&self) -> Option<u64> {
        self.due.get()
    }

    /// Returns whether memory is to be given back now, once.
    pub fn take_due(&self, now: u64) -> bool {
        let is_due = self.due.get().is_some_and(|due| due <= now);
        if is_due {
            self.due.set(None);
            self.peak.set(self.open.get());
            self.not_before.set(now + INTERVAL);
        }
        is_due
    }
}

/// Has the allocator give unused memory back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn give_back() {
    // SAFETY: callable at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn populated(count: usize) -> Population {
        let population = Population::default();
        (0..count).for_each(|_| population.came());
        population
    }

    #[test]
    fn memory_is_given_back_once_when_half_of_many_connections_have_gone() {
        let population = populated(3000);
        let news: Vec<usize> = (1..=3000).filter(|_| population.went(5)).collect();
        assert_eq!(news, [1500]);
        assert_eq!(population.due(), Some(5 + DELAY));
        assert!(!population.take_due(4 + DELAY));
        assert!(population.take_due(5 + DELAY));
        assert!(!population.take_due(5 + DELAY));
        assert_eq!(population.due(), None);

        (0..3000).for_each(|_| population.came());
        let at = 2 * DELAY;
        (0..3000).for_each(|_| _ = population.went(at));
        assert_eq!(population.due(), Some(5 + DELAY + INTERVAL));
    }

    #[test]
    fn a_few_connections_and_a_steady_coming_and_going_are_left_alone() {
        let few = populated(MIN_GONE - 1);
        assert!((1..MIN_GONE).all(|_| !few.went(0)));
        let steady = populated(5000);
        for _ in 0..20_000 {
            assert!(!steady.went(0));
            steady.came();
        }
    }
}
