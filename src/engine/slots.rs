//! Which connections there are, and how the JavaScript thread finds them.

use std::sync::Arc;

use super::rooms::Memberships;
use crate::exchange::{ConnectionId, Generations, MAX_SLOTS};
use crate::session::Account;
#[cfg(unix)]
use crate::transport::adopted::LentSocket;

/// The connections of an engine, by slot. Owned by the JavaScript thread.
pub(super) struct Slots {
    entries: Vec<Slot>,
    /// By I/O thread.
    shares: Box<[Share]>,
    /// Connections that have passed all middleware.
    ready: usize,
    generations: Generations,
}

/// The slots of one I/O thread.
#[derive(Default)]
struct Share {
    free: Vec<u32>,
    /// Slots ever used.
    used: u32,
}

impl Share {
    fn connections(&self) -> usize {
        self.used as usize - self.free.len()
    }
}

struct Slot {
    /// Of the connection, or of the last one.
    generation: u32,
    /// `None` while the slot is free.
    connection: Option<SlotConnection>,
}

/// No limit of its own counts a connection. An `Option` would take eight bytes of each.
pub(super) const NOT_COUNTED: u32 = u32::MAX;

/// What a connection was that has left its slot.
#[derive(Default)]
pub(super) struct Vacated {
    /// JavaScript pumped its bytes.
    pub bridged: bool,
    /// The number of the limit of its own that counts it.
    pub counted: Option<u32>,
}

/// A connection as the JavaScript thread sees it.
pub(super) struct SlotConnection {
    pub account: Arc<Account>,
    pub rooms: Memberships,
    /// JavaScript pumps its bytes.
    pub bridged: bool,
    /// Its messages may be compressed.
    pub deflates: bool,
    /// It has passed all middleware.
    pub is_ready: bool,
    /// The number of the limit of its own that counts it, or [`NOT_COUNTED`].
    pub counted: u32,
    /// Where this thread writes to it when it has the [token](Account::writer), which it never gets where
    /// messages are compressed; and who the peer is.
    #[cfg(unix)]
    pub socket: Option<LentSocket>,
}

impl Slots {
    pub fn new(threads: u32, generations: Generations) -> Self {
        let shares = (0..threads).map(|_| Share::default()).collect();
        Self { entries: Vec::new(), shares, ready: 0, generations }
    }

    /// Gives a new connection a slot of `thread`, or of the one that has the fewest. `None` when every
    /// slot is taken.
    pub fn occupy(
        &mut self,
        connection: SlotConnection,
        thread: Option<usize>,
    ) -> Option<ConnectionId> {
        let threads = self.shares.len();
        let shares = self.shares.iter().enumerate();
        let fewest = || shares.min_by_key(|(_, share)| share.connections());
        let thread = thread.or_else(|| fewest().map(|(thread, _)| thread))?;
        let share = &mut self.shares[thread];
        let slot = match share.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = share.used as usize * threads + thread;
                let slot = u32::try_from(slot).ok().filter(|slot| *slot < MAX_SLOTS)?;
                share.used += 1;
                slot
            }
        };
        let index = slot as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || Slot { generation: 0, connection: None });
        }
        let entry = &mut self.entries[index];
        entry.connection = Some(connection);
        entry.generation = self.generations.draw();
        Some(ConnectionId { slot, generation: entry.generation })
    }

    /// Frees the slot of a connection, if it has one.
    pub fn vacate(&mut self, id: ConnectionId) -> Option<Vacated> {
        let SlotConnection { bridged, counted, is_ready, .. } = *self.get(id)?;
        self.ready -= usize::from(is_ready);
        let counted = (counted != NOT_COUNTED).then_some(counted);
        let entry = &mut self.entries[id.slot as usize];
        entry.connection = None;
        let threads = self.shares.len() as u32;
        self.shares[id.thread(threads)].free.push(id.slot);
        Some(Vacated { bridged, counted })
    }

    /// A connection has passed all middleware.
    pub fn mark_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id)
            && !std::mem::replace(&mut connection.is_ready, true)
        {
            self.ready += 1;
        }
    }

    /// How many have.
    pub fn ready_count(&self) -> usize {
        self.ready
    }

    /// The slots of those.
    pub fn ready_slots(&self) -> impl Iterator<Item = u32> {
        let is_ready =
            |slot: &Slot| slot.connection.as_ref().is_some_and(|connection| connection.is_ready);
        (0..).zip(&self.entries).filter(move |(_, slot)| is_ready(slot)).map(|(slot, _)| slot)
    }

    pub fn iter(&self) -> impl Iterator<Item = &SlotConnection> {
        self.entries.iter().filter_map(|slot| slot.connection.as_ref())
    }

    pub fn get(&self, id: ConnectionId) -> Option<&SlotConnection> {
        let entry = self.entries.get(id.slot as usize)?;
        entry.connection.as_ref().filter(|_| entry.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut SlotConnection> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        let generation = entry.generation;
        entry.connection.as_mut().filter(|_| generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupy(slots: &mut Slots) -> ConnectionId {
        let connection = SlotConnection {
            account: Arc::default(),
            rooms: Memberships::default(),
            bridged: false,
            deflates: false,
            counted: NOT_COUNTED,
            is_ready: false,
            #[cfg(unix)]
            socket: None,
        };
        slots.occupy(connection, None).unwrap()
    }

    #[test]
    fn a_slot_that_is_used_again_has_another_generation() {
        let mut slots = Slots::new(1, Generations::default());
        let first = occupy(&mut slots);
        assert!(slots.get(first).is_some());
        slots.vacate(first);
        assert!(slots.get(first).is_none());
        let second = occupy(&mut slots);
        assert_eq!(second.slot, first.slot);
        assert!(slots.get(first).is_none() && slots.get(second).is_some());
    }

    #[test]
    fn those_that_are_ready_are_counted_once_and_until_they_are_gone() {
        let mut slots = Slots::new(2, Generations::default());
        let ids: Vec<ConnectionId> = (0..4).map(|_| occupy(&mut slots)).collect();
        let ready = |slots: &Slots| (slots.ready_count(), slots.ready_slots().collect::<Vec<_>>());
        for id in [ids[3], ids[1], ids[3]] {
            slots.mark_ready(id);
        }
        assert_eq!(ready(&slots), (2, vec![1, 3]));
        slots.vacate(ids[0]);
        slots.vacate(ids[3]);
        slots.vacate(ids[3]);
        slots.mark_ready(ids[3]);
        assert_eq!(ready(&slots), (1, vec![1]));
        assert_eq!(occupy(&mut slots).slot, 0);
        assert_eq!(ready(&slots), (1, vec![1]));
    }
}
