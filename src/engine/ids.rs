//! How the JavaScript thread and the I/O threads name a connection.

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
    /// Counts the connections that have had this slot.
    pub generation: u32,
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
