//! How many connections have a descriptor, also when nobody has anything to do with them any more.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The connections of one I/O thread, or those of them that a limit of its own counts, by their
/// descriptors and streams. Both threads read it; who adds to what is said below.
#[derive(Debug, Default)]
pub struct Places {
    /// The I/O thread's own, where these are but a part of them.
    all: Option<Arc<Places>>,
    /// Connections whose descriptor or stream has been closed. Added to by the I/O thread.
    gone: AtomicU64,
    /// Connections that make room when their place is wanted. I/O thread.
    lingering: AtomicU32,
    /// Those of them that have been told to. I/O thread.
    cut_short: AtomicU32,
    /// How often room was asked for. JavaScript thread.
    asked: AtomicU64,
    /// How often the I/O thread has heard so.
    heard: AtomicU64,
}

impl Places {
    /// A part of the places of an I/O thread.
    pub fn part_of(all: &Arc<Self>) -> Self {
        Self { all: Some(all.clone()), ..Self::default() }
    }

    /// Whether one of these is one of `others`.
    pub fn are_among(&self, others: &Self) -> bool {
        let all = self.all.as_deref();
        std::ptr::eq(self, others) || all.is_some_and(|all| std::ptr::eq(all, others))
    }

    fn each(&self, act: impl Fn(&Self)) {
        act(self);
        if let Some(all) = &self.all {
            act(all);
        }
    }

    /// I/O thread: a connection makes room from now on when its place is wanted.
    pub fn linger_began(&self) {
        self.each(|places| _ = places.lingering.fetch_add(1, Relaxed));
    }

    /// I/O thread: it is gone, or has something to write after all. `cut_short` tells whether it had
    /// been told to make room.
    pub fn linger_ended(&self, cut_short: bool) {
        self.each(|places| {
            let of = if cut_short { &places.cut_short } else { &places.lingering };
            of.fetch_sub(1, Relaxed);
        });
    }

    /// I/O thread: it has been told to make room.
    pub fn cut_short(&self) {
        self.each(|places| {
            places.cut_short.fetch_add(1, Relaxed);
            places.lingering.fetch_sub(1, Relaxed);
        });
    }

    /// JavaScript thread: room is asked for.
    pub fn ask(&self) {
        self.each(|places| _ = places.asked.fetch_add(1, Relaxed));
    }

    /// I/O thread: has looked for a connection that makes room.
    pub fn hear(&self) {
        self.each(|places| _ = places.heard.fetch_add(1, Relaxed));
    }

    /// Connections whose place others may have: they make room when asked, or are about to.
    pub fn making_room(&self) -> u32 {
        self.lingering.load(Relaxed) + self.cut_short.load(Relaxed)
    }

    /// Connections that still can be asked to make room.
    pub fn can_make_room(&self) -> u64 {
        let under_way = self.asked.load(Relaxed).saturating_sub(self.heard.load(Relaxed));
        u64::from(self.lingering.load(Relaxed)).saturating_sub(under_way)
    }

    /// I/O thread: the descriptor or stream of a connection has been closed.
    pub fn connection_went(&self) {
        self.each(|places| _ = places.gone.fetch_add(1, Relaxed));
    }
}

/// Connections of an engine, all of them or those that a limit of its own counts, by their descriptors.
/// Owned by the JavaScript thread.
#[derive(Debug, Clone)]
pub struct Ledger {
    adopted: Rc<Cell<u64>>,
    /// By I/O thread.
    places: Rc<[Arc<Places>]>,
}

impl Ledger {
    /// For connections with these places, by I/O thread.
    pub fn new(places: impl Iterator<Item = Arc<Places>>) -> Self {
        Self { adopted: Rc::default(), places: places.collect() }
    }

    /// For some of these connections.
    pub fn part(&self) -> Self {
        Self::new(self.places.iter().map(|all| Arc::new(Places::part_of(all))))
    }

    /// One more connection, on this I/O thread. Returns where it is to say that it has gone.
    pub fn adopt(&self, thread: usize) -> Arc<Places> {
        self.count();
        self.places[thread].clone()
    }

    /// One more connection, which [`Self::adopt`] of a part has given its place.
    pub fn count(&self) {
        self.adopted.set(self.adopted.get() + 1);
    }

    /// Connections that have a descriptor or a stream at this moment: those that are open, and those
    /// that have ended and are being seen out.
    pub fn living(&self) -> u64 {
        let gone: u64 = self.places.iter().map(|places| places.gone.load(Relaxed)).sum();
        self.adopted.get().saturating_sub(gone)
    }

    /// Those of them that make room when their place is wanted.
    pub fn making_room(&self) -> u64 {
        self.places.iter().map(|places| u64::from(places.making_room())).sum()
    }

    /// The I/O thread that has most of those that can still be asked for it, and their places.
    pub fn most_roomy(&self) -> Option<(usize, &Arc<Places>)> {
        let threads = self.places.iter().enumerate();
        let can = |(_, places): &(usize, &Arc<Places>)| places.can_make_room();
        threads.filter(|thread| can(thread) > 0).max_by_key(can)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_in_a_part_happens_in_the_whole_and_nowhere_else() {
        let all = Ledger::new((0..2).map(|_| Arc::default()));
        let (part, other) = (all.part(), all.part());
        let place = part.adopt(1);
        all.count();
        assert_eq!([&all, &part, &other].map(Ledger::living), [1, 1, 0]);
        place.linger_began();
        assert_eq!([&all, &part, &other].map(Ledger::making_room), [1, 1, 0]);
        assert_eq!(all.most_roomy().map(|(thread, _)| thread), Some(1));
        assert!(other.most_roomy().is_none());
        assert!(place.are_among(part.most_roomy().unwrap().1));
        assert!(place.are_among(all.most_roomy().unwrap().1));
        place.cut_short();
        place.linger_ended(true);
        place.connection_went();
        for ledger in [&all, &part, &other] {
            assert_eq!((ledger.living(), ledger.making_room()), (0, 0));
        }
    }

    #[test]
    fn nobody_is_asked_for_room_twice() {
        let all = Ledger::new(std::iter::once(Arc::default()));
        let place = all.adopt(0);
        assert!(all.most_roomy().is_none());
        place.linger_began();
        all.most_roomy().unwrap().1.ask();
        assert!(all.most_roomy().is_none());
        assert_eq!(all.making_room(), 1);
        place.cut_short();
        place.hear();
        assert!(all.most_roomy().is_none());
        place.linger_began();
        assert!(all.most_roomy().is_some());
    }

    #[test]
    fn who_was_asked_for_room_in_a_part_is_not_asked_for_it_in_the_whole() {
        let all = Ledger::new(std::iter::once(Arc::default()));
        let part = all.part();
        let place = part.adopt(0);
        all.count();
        place.linger_began();
        part.most_roomy().unwrap().1.ask();
        assert!(part.most_roomy().is_none() && all.most_roomy().is_none());
        place.cut_short();
        place.hear();
        place.linger_began();
        assert!(part.most_roomy().is_some() && all.most_roomy().is_some());
    }
}
