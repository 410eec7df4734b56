//! What other nodes say reaches the members here without the JavaScript thread.

use std::sync::Arc;

use super::rooms::Rooms;
use crate::cluster::node::{Delivery, Members};
use crate::exchange::oplog::{Broadcast, OpLog, Target};
use crate::protocol::{Opcode, encode_frame};
use crate::session::Memory;

/// The members on this server, as other threads reach them.
pub struct LocalMembers {
    /// Changed by the JavaScript thread only.
    rooms: Arc<Rooms>,
    /// One for each I/O thread.
    logs: Box<[Arc<OpLog>]>,
    memory: Arc<Memory>,
}

impl LocalMembers {
    pub(super) fn new(rooms: Arc<Rooms>, logs: Box<[Arc<OpLog>]>, memory: Arc<Memory>) -> Self {
        Self { rooms, logs, memory }
    }

    fn append(&self, is_for: impl Fn(usize) -> bool, broadcast: &Broadcast) -> Delivery {
        let logs = || self.logs.iter().enumerate().filter(|(number, _)| is_for(*number));
        // All of them, or none.
        if !logs().all(|(_, log)| log.has_room(&broadcast.frame)) {
            return Delivery::Full;
        }
        logs().for_each(|(_, log)| log.append_of_others(broadcast.clone()));
        Delivery::Sent
    }
}

impl Members for LocalMembers {
    fn deliver(&self, room: Option<&[u16]>, is_text: bool, payload: &[u8]) -> Delivery {
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let broadcast = |target| {
            let mut frame = Vec::new();
            encode_frame(&mut frame, opcode, payload);
            Broadcast { target, except: None, frame: self.memory.keep(frame, 0) }
        };
        let Some(room) = room else { return self.append(|_| true, &broadcast(Target::All)) };
        // Whoever leaves the room waits until it is in the log: nothing of it comes after what is said
        // to the one who has left.
        let sent = self.rooms.with_members(room, |members| {
            let broadcast = broadcast(Target::Members(members.clone()));
            self.append(|number| !members[number].is_empty(), &broadcast)
        });
        sent.unwrap_or(Delivery::Nobody)
    }
}
