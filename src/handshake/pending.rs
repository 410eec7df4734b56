//! The handshakes under way.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::opening::Handshake;

/// Handshakes that were admitted and have not become connections. Each has a number of its own, which
/// is never used again: after a handshake is [taken](Self::take) its number means nothing.
#[derive(Debug, Default)]
pub struct Pending {
    handshakes: FxHashMap<u64, (Handshake, Instant)>,
    /// Number of the next one. At a million a second it lasts for half a million years.
    next: u64,
}

impl Pending {
    /// Adds a handshake and returns its number, counted from 0.
    pub fn add(&mut self, handshake: Handshake) -> u64 {
        let number = self.next;
        self.next += 1;
        self.handshakes.insert(number, (handshake, Instant::now()));
        number
    }

    /// The handshake, unless it has been taken.
    pub fn get(&self, number: u64) -> Option<&Handshake> {
        self.handshakes.get(&number).map(|(handshake, _)| handshake)
    }

    /// Takes a handshake out, to make a connection of it or to drop it, with the time since it was
    /// added. `None` where that has been done before.
    pub fn take(&mut self, number: u64) -> Option<(Handshake, Duration)> {
        self.handshakes.remove(&number).map(|(handshake, since)| (handshake, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::UpgradeRequest;
    use super::*;

    fn handshake(route: u32) -> Handshake {
        let headers = [
            Some("host"),
            Some("websocket"),
            Some("upgrade"),
            Some("dGhlIHNhbXBsZSBub25jZQ=="),
            Some("13"),
            None,
            None,
            None,
        ];
        let request = UpgradeRequest::new("GET", "1.1", 1, headers);
        Handshake::read(&request, Some(route), None).unwrap()
    }

    #[test]
    fn a_handshake_is_taken_once() {
        let mut pending = Pending::default();
        let first = pending.add(handshake(1));
        let second = pending.add(handshake(2));
        assert_eq!(pending.handshakes.len(), 2);
        assert_eq!(pending.take(first).map(|(taken, _)| taken), Some(handshake(1)));
        assert!(pending.take(first).is_none() && pending.get(first).is_none());
        assert_eq!(pending.handshakes.len(), 1);
        assert_eq!(pending.get(second), Some(&handshake(2)));
    }

    #[test]
    fn the_number_of_a_handshake_that_is_over_means_no_other() {
        let mut pending = Pending::default();
        let first = pending.add(handshake(1));
        pending.take(first);
        let second = pending.add(handshake(2));
        assert_ne!(first, second);
        assert!(pending.take(first).is_none());
        assert_eq!(pending.handshakes.len(), 1);
    }
}
