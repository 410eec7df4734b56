//! Puts frames into queues, and has queues written.

use std::rc::Rc;

use bytes::Bytes;

use super::connection::Connection;
use super::driving::{flush, settle};
use super::operations::Joined;
use super::state::IoThread;
use crate::exchange::ConnectionId;
use crate::exchange::oplog::Target;
use crate::protocol::EncodedFrame;
use crate::session::{Delivered, Effects, Outgoing};

/// Connections written to in one go on behalf of broadcasts, before reads, pongs and direct sends
/// get their turn. One that is costly to write to counts for several.
const BROADCAST_WRITES: usize = 256;

impl IoThread {
    /// Queues a frame that JavaScript has counted; `shared` is the same frame where it has its own
    /// memory. Not compressed unless it `may_compress`.
    pub fn send(
        &self,
        id: ConnectionId,
        frame: EncodedFrame<'_>,
        shared: Option<&Bytes>,
        may_compress: bool,
    ) {
        // A connection that has ended took its count along.
        let Some(connection) = self.get(id) else { return };
        let sent = {
            let resources = &mut self.resources.borrow_mut();
            connection.session.borrow_mut().send(frame, shared, may_compress, resources)
        };
        if let Some(sent) = sent {
            self.mark_dirty(&connection);
            self.counters.sent(1, sent as u64);
            self.counters.sizes_sent.add(frame.payload().len(), 1);
        }
    }

    /// Queues the rest of a frame that the JavaScript thread has begun to write, also where the
    /// connection has ended since.
    pub fn send_rest(self: &Rc<Self>, id: ConnectionId, frame: EncodedFrame<'_>, written: usize) {
        let Some(connection) = self.get(id).or_else(|| self.leaving(id)) else { return };
        let effects = {
            let resources = &mut self.resources.borrow_mut();
            connection.session.borrow_mut().queue_rest(frame, written, resources)
        };
        settle(self, &connection, effects);
    }

    pub fn broadcast(self: &Rc<Self>, broadcast: Joined) {
        let Joined { target, except, frames } = broadcast;
        let mut outgoing = Outgoing::from(frames);
        let mut sum = Delivered::default();
        // Those whose queue runs over leave the table, which is in use until all have been served.
        let mut overflowed: Vec<(Rc<Connection>, Effects)> = Vec::new();
        let mut deliver = |connection: &Rc<Connection>| {
            if except.contains(connection.id) {
                return;
            }
            let (delivered, effects) = {
                let resources = &mut self.resources.borrow_mut();
                connection.session.borrow_mut().broadcast(&mut outgoing, resources)
            };
            sum.messages += delivered.messages;
            sum.bytes += delivered.bytes;
            sum.dropped += delivered.dropped;
            if effects != Effects::default() {
                overflowed.push((connection.clone(), effects));
            } else if delivered.messages > 0 {
                self.mark_dirty_broadcast(connection);
            }
        };
        let connections = self.connections.borrow();
        match &target {
            Target::All => {
                let ready = connections.iter().flatten().filter(|each| each.marks.ready.get());
                ready.for_each(deliver);
            }
            Target::Members(members) => {
                for id in &members[self.number] {
                    if let Some(Some(connection)) = connections.get(self.index(*id))
                        && connection.id == *id
                    {
                        deliver(connection);
                    }
                }
            }
        }
        drop(connections);
        for (connection, effects) in overflowed {
            settle(self, &connection, effects);
        }
        self.counters.sent(sum.messages, sum.bytes);
        outgoing.delivered(|len, messages| self.counters.sizes_sent.add(len, messages));
        self.counters.dropped(sum.dropped);
    }

    /// Writes to all connections with direct sends or pongs.
    pub fn flush_direct(self: &Rc<Self>) {
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for connection in dirty.drain(..) {
            connection.marks.dirty.set(false);
            flush(self, &connection);
        }
        // Keeps the allocation, unless flushing marked something meanwhile.
        let mut slot = self.dirty.borrow_mut();
        if slot.is_empty() {
            *slot = dirty;
        }
    }

    /// Writes to some of the connections that have broadcasts only.
    pub fn flush_broadcasts(self: &Rc<Self>) {
        let mut left = BROADCAST_WRITES;
        while left > 0 {
            let Some(connection) = self.dirty_broadcast.borrow_mut().pop_front() else { return };
            connection.marks.dirty_broadcast.set(false);
            flush(self, &connection);
            left = left.saturating_sub(connection.transport.write_cost());
        }
    }
}
