//! How the JavaScript thread and the I/O threads name a connection.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A connection: a slot that is reused, and a generation that tells its users apart.
///
/// The JavaScript thread hands slots out and takes them back only after the connection's end has
/// been delivered, so within the operation log a slot always means one connection. The generation
/// guards against a handle that outlives that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Index into the JavaScript thread's table. The remainder of its division by the number of
    /// I/O threads says which of them has the connection; the quotient is the index there.
    pub slot: u32,
    /// Its number among all connections that drew from the same [`Generations`].
    pub generation: u32,
}

/// Where engines get the generations of their connections from. Engines that share it never give
/// two connections the same name, so a handle on a connection of an engine that was stopped means
/// nothing to the one that was started after it.
///
/// The numbers begin anew after 2^32 connections. For a handle to reach a stranger then, its owner
/// would have to keep it for all that time (five days at 10,000 connections a second) without being
/// told that the connection has ended, and the stranger would have to be the one connection in four
/// thousand million with the same number, and have the same slot.
#[derive(Debug, Clone, Default)]
pub struct Generations(Rc<Cell<u64>>);

impl Generations {
    /// A number that was not given before.
    pub fn draw(&self) -> u32 {
        let drawn = self.0.get();
        self.0.set(drawn + 1);
        drawn as u32
    }

    /// How often the numbers had begun anew when the last one was drawn; wraps around.
    pub fn lap(&self) -> u8 {
        (self.0.get().saturating_sub(1) >> u32::BITS) as u8
    }
}

impl ConnectionId {
    /// Which of `threads` I/O threads has the connection.
    pub fn thread(self, threads: u32) -> usize {
        (self.slot % threads) as usize
    }

    /// Index into that thread's own table.
    pub fn index(self, threads: u32) -> usize {
        (self.slot / threads) as usize
    }
}

/// Most connections one engine can hold at a time: event codes carry the slot in 24 bits.
pub const MAX_SLOTS: u32 = 1 << 24;

/// The members of a room at one moment, by I/O thread.
pub type Members = Arc<[Box<[ConnectionId]>]>;
