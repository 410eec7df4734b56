//! How the JavaScript thread and the I/O thread name a connection.

/// A connection: a slot that is reused, and a generation that tells its users apart.
///
/// The JavaScript thread hands slots out and takes them back only after the connection's end has
/// been delivered, so within the operation log a slot always means one connection. The generation
/// guards against a handle that outlives that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Index into the tables of both threads.
    pub slot: u32,
    /// Counts the connections that have had this slot.
    pub generation: u32,
}

/// Most connections one engine can hold at a time: event codes carry the slot in 24 bits.
pub const MAX_SLOTS: u32 = 1 << 24;
