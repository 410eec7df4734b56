//! Named groups of connections.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use once_cell::sync::OnceCell;
use rustc_hash::FxHashSet;

use crate::exchange::{ConnectionId, Members};

/// A room's name: UTF-16 as JavaScript has it, so that any string names a room of its own, also
/// one that is not well-formed Unicode.
pub type RoomName = Arc<[u16]>;

/// All rooms of an engine. Names may come from clients, so they are hashed with a secret of the
/// process: nobody can make names that collide. Connection ids cannot be chosen and hash faster.
///
/// Changed by the JavaScript thread only, so that a change applies at once and in order with the
/// broadcasts around it. The map is concurrent because other threads may read it: a broadcast that
/// another node announces is delivered without a detour over JavaScript.
#[derive(Debug)]
pub struct Rooms {
    /// I/O threads that share the members.
    threads: u32,
    by_name: DashMap<RoomName, Room>,
    /// Numbers rooms in the order of their creation.
    created: AtomicU64,
    /// Held by who leaves a room, and by another thread while it sends to several: the lock of one room
    /// does not tell of the others.
    leaving: Mutex<()>,
}

#[derive(Debug)]
struct Room {
    number: u64,
    members: FxHashSet<ConnectionId>,
    /// The members as broadcasts capture them; made anew by the first broadcast after a change.
    snapshot: OnceCell<Members>,
}

/// The rooms that one connection is in. Owned by the JavaScript thread, beside the connection.
#[derive(Debug, Default)]
pub struct Memberships(HashSet<RoomName>);

impl Memberships {
    /// Whether `name` is among them.
    pub fn contains(&self, name: &[u16]) -> bool {
        self.0.contains(name)
    }

    /// Their names, in no order.
    pub fn names(&self) -> Vec<RoomName> {
        self.0.iter().cloned().collect()
    }

    /// How many rooms that is.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Rooms {
    /// Rooms of connections that are spread over so many I/O threads.
    pub fn new(threads: u32) -> Self {
        Self {
            threads,
            by_name: DashMap::new(),
            created: AtomicU64::new(0),
            leaving: Mutex::default(),
        }
    }

    /// Adds a member. Returns whether that created the room. Joining twice is joining once.
    pub fn join(&self, id: ConnectionId, own: &mut Memberships, name: &[u16]) -> bool {
        if own.0.contains(name) {
            return false;
        }
        let name: RoomName = name.into();
        let mut created = false;
        let mut room = self.by_name.entry(name.clone()).or_insert_with(|| {
            created = true;
            let number = self.created.fetch_add(1, Ordering::Relaxed);
            Room { number, members: FxHashSet::default(), snapshot: OnceCell::new() }
        });
        room.members.insert(id);
        room.snapshot.take();
        drop(room);
        own.0.insert(name);
        created
    }

    /// Removes a member. Returns whether that destroyed the room. Leaving a room that was never
    /// joined does nothing.
    pub fn leave(&self, id: ConnectionId, own: &mut Memberships, name: &[u16]) -> bool {
        own.0.remove(name) && self.remove(id, name)
    }

    /// Removes a member from all its rooms and returns the names of those that this destroyed.
    pub fn leave_all(&self, id: ConnectionId, own: &mut Memberships) -> Vec<RoomName> {
        let own = std::mem::take(own);
        own.0.into_iter().filter(|name| self.remove(id, name)).collect()
    }

    fn remove(&self, id: ConnectionId, name: &[u16]) -> bool {
        let _leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut room) = self.by_name.get_mut(name) else { return false };
        room.members.remove(&id);
        room.snapshot.take();
        let empty = room.members.is_empty();
        drop(room);
        if empty {
            self.by_name.remove(name);
        }
        empty
    }

    /// Runs `act` while nobody leaves a room, so it must be short.
    pub fn while_nobody_leaves<R>(&self, act: impl FnOnce() -> R) -> R {
        let _leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// How many rooms there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// How many members a room has.
    pub fn member_count(&self, name: &[u16]) -> usize {
        self.by_name.get(name).map_or(0, |room| room.members.len())
    }

    /// The members of each of these rooms that there is.
    pub fn members_of_each(&self, names: &[&[u16]]) -> Vec<Members> {
        names.iter().filter_map(|name| self.members(name)).collect()
    }

    /// The members of a room at this moment, or `None` where there is no such room.
    pub fn members(&self, name: &[u16]) -> Option<Members> {
        self.with_members(name, Members::clone)
    }

    /// Has `act` see the members of a room. Nobody joins or leaves it meanwhile, so it must be short.
    pub fn with_members<R>(&self, name: &[u16], act: impl FnOnce(&Members) -> R) -> Option<R> {
        let room = self.by_name.get(name)?;
        let by_thread = || {
            let mut shares = vec![Vec::new(); self.threads as usize];
            for id in &room.members {
                shares[id.thread(self.threads)].push(*id);
            }
            // In the order of the tables: connections, and the kernel's sockets, that were made one
            // after the other lie side by side.
            shares.iter_mut().for_each(|share| share.sort_unstable_by_key(|id| id.slot));
            shares.into_iter().map(Vec::into_boxed_slice).collect()
        };
        Some(act(room.snapshot.get_or_init(by_thread)))
    }

    /// Names of all rooms, oldest first.
    pub fn names(&self) -> Vec<RoomName> {
        let mut rooms: Vec<(u64, RoomName)> =
            self.by_name.iter().map(|room| (room.number, room.key().clone())).collect();
        rooms.sort_unstable_by_key(|(number, _)| *number);
        rooms.into_iter().map(|(_, name)| name).collect()
    }
}

/// Who is in at least one of these rooms, each once and in the same order; `None` where there are no
/// rooms.
pub fn union(rooms: &[Members]) -> Option<Members> {
    let [first, others @ ..] = rooms else { return None };
    if others.is_empty() {
        return Some(first.clone());
    }
    let of_thread = |thread: usize| {
        let mut share: Vec<ConnectionId> =
            rooms.iter().flat_map(|members| members[thread].iter().copied()).collect();
        // A stable sort makes use of what is in order already, and merges it.
        share.sort_by_key(|id| id.slot);
        share.dedup();
        share.into_boxed_slice()
    };
    Some((0..first.len()).map(of_thread).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 0 }
    }

    fn name(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn count(rooms: &Rooms, text: &str) -> usize {
        rooms.members(&name(text)).unwrap().iter().map(|share| share.len()).sum()
    }

    fn names(rooms: &Rooms) -> Vec<String> {
        rooms.names().iter().map(|name| String::from_utf16(name).unwrap()).collect()
    }

    #[test]
    fn the_first_join_creates_a_room_and_the_last_leave_destroys_it() {
        let rooms = Rooms::new(1);
        let (mut one, mut two) = (Memberships::default(), Memberships::default());
        assert!(rooms.join(id(1), &mut one, &name("a")));
        assert!(!rooms.join(id(2), &mut two, &name("a")));
        assert!(!rooms.leave(id(1), &mut one, &name("a")));
        assert!(rooms.leave(id(2), &mut two, &name("a")));
        assert!(rooms.names().is_empty() && rooms.members(&name("a")).is_none());
    }

    #[test]
    fn joining_twice_is_once_and_leaving_unjoined_is_nothing() {
        let rooms = Rooms::new(1);
        let (mut one, mut two) = (Memberships::default(), Memberships::default());
        rooms.join(id(1), &mut one, &name("a"));
        assert!(!rooms.join(id(1), &mut one, &name("a")));
        assert_eq!(count(&rooms, "a"), 1);
        assert!(!rooms.leave(id(2), &mut two, &name("a")));
        assert!(!rooms.leave(id(1), &mut one, &name("b")));
        assert_eq!(count(&rooms, "a"), 1);
    }

    #[test]
    fn a_captured_membership_does_not_change_and_is_shared_until_a_change() {
        let rooms = Rooms::new(1);
        let (mut one, mut two) = (Memberships::default(), Memberships::default());
        rooms.join(id(1), &mut one, &name("a"));
        let before = rooms.members(&name("a")).unwrap();
        assert!(Arc::ptr_eq(&before, &rooms.members(&name("a")).unwrap()));
        rooms.join(id(2), &mut two, &name("a"));
        assert_eq!((before[0].len(), count(&rooms, "a")), (1, 2));
    }

    #[test]
    fn leaving_all_names_the_rooms_that_are_gone() {
        let rooms = Rooms::new(1);
        let (mut one, mut two) = (Memberships::default(), Memberships::default());
        for text in ["", "b", "ü \u{0}", "shared"] {
            rooms.join(id(1), &mut one, &name(text));
        }
        rooms.join(id(2), &mut two, &name("shared"));
        assert_eq!(names(&rooms), ["", "b", "ü \u{0}", "shared"]);
        let mut gone = rooms.leave_all(id(1), &mut one);
        gone.sort_unstable();
        assert_eq!(gone.len(), 3);
        assert_eq!(names(&rooms), ["shared"]);
        assert!(rooms.leave_all(id(1), &mut one).is_empty());
    }

    #[test]
    fn the_same_slot_of_another_generation_is_another_member() {
        let rooms = Rooms::new(1);
        let (mut old, mut new) = (Memberships::default(), Memberships::default());
        rooms.join(id(1), &mut old, &name("a"));
        rooms.join(ConnectionId { slot: 1, generation: 1 }, &mut new, &name("a"));
        assert_eq!(count(&rooms, "a"), 2);
    }

    #[test]
    fn who_is_in_several_rooms_is_in_their_union_once() {
        let rooms = Rooms::new(2);
        for (slot, names) in ["a", "ab", "bc", "c", "abc", "d"].into_iter().enumerate() {
            let mut own = Memberships::default();
            for letter in names.chars() {
                rooms.join(id(slot as u32), &mut own, &name(&letter.to_string()));
            }
        }
        let slots = |names: &str| {
            let names: Vec<_> = names.chars().map(|letter| name(&letter.to_string())).collect();
            let names: Vec<&[u16]> = names.iter().map(|name| &name[..]).collect();
            let members = union(&rooms.members_of_each(&names))?;
            let slots = |share: &[ConnectionId]| share.iter().map(|id| id.slot).collect();
            Some(members.iter().map(|share| slots(share)).collect::<Vec<Vec<u32>>>())
        };
        assert_eq!(slots("cab"), Some(vec![vec![0, 2, 4], vec![1, 3]]));
        assert_eq!(slots("dx"), Some(vec![vec![], vec![5]]));
        assert_eq!((slots("xy"), slots("")), (None, None));
        // One room needs no other list.
        let one = rooms.members(&name("a")).unwrap();
        assert!(Arc::ptr_eq(&union(std::slice::from_ref(&one)).unwrap(), &one));
    }

    #[test]
    fn rooms_and_members_are_counted_without_a_list() {
        let rooms = Rooms::new(1);
        let (mut one, mut two) = (Memberships::default(), Memberships::default());
        rooms.join(id(1), &mut one, &name("a"));
        rooms.join(id(2), &mut two, &name("a"));
        rooms.join(id(2), &mut two, &name("b"));
        let counts = |rooms: &Rooms| ["a", "b", "c"].map(|room| rooms.member_count(&name(room)));
        assert_eq!((rooms.count(), counts(&rooms)), (2, [2, 1, 0]));
        rooms.leave_all(id(2), &mut two);
        assert_eq!((rooms.count(), counts(&rooms)), (1, [1, 0, 0]));
    }

    #[test]
    fn members_are_captured_by_the_thread_that_has_them() {
        let rooms = Rooms::new(3);
        let mut own = Memberships::default();
        for slot in 0..7 {
            rooms.join(id(slot), &mut own, &name("a"));
            own = Memberships::default();
        }
        let members = rooms.members(&name("a")).unwrap();
        for (thread, share) in members.iter().enumerate() {
            assert!(share.iter().all(|id| id.slot as usize % 3 == thread));
        }
        assert_eq!(members.iter().map(|share| share.len()).collect::<Vec<_>>(), [3, 2, 2]);
    }
}
