//! What other nodes say reaches the members here without the JavaScript thread.

use std::sync::Arc;

use super::rooms::{Rooms, union};
use crate::cluster::node::{Delivery, Members};
use crate::exchange::Members as Recipients;
use crate::exchange::oplog::{Broadcast, Except, OpLog, Target};
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
    fn deliver(&self, rooms: Option<&[&[u16]]>, is_text: bool, payload: &[u8]) -> Delivery {
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let broadcast = |target| {
            let mut frame = Vec::new();
            encode_frame(&mut frame, opcode, payload);
            Broadcast { target, except: Except::Nobody, frame: self.memory.keep(frame, 0) }
        };
        let send = |members: &Recipients| {
            let broadcast = broadcast(Target::Members(members.clone()));
            self.append(|number| !members[number].is_empty(), &broadcast)
        };
        // Whoever leaves a room waits until it is in the log: nothing of it comes after what is said to
        // the one who has left.
        let sent = match rooms {
            None => Some(self.append(|_| true, &broadcast(Target::All))),
            Some([room]) => self.rooms.with_members(room, send),
            Some(several) => self.rooms.while_nobody_leaves(|| {
                union(&self.rooms.members_of_each(several)).map(|members| send(&members))
            }),
        };
        sent.unwrap_or(Delivery::Nobody)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::engine::{Engine, SendOptions, Welcome};
    use crate::exchange::oplog::Source;
    use crate::exchange::{ConnectionId, Generations, Settings};
    use crate::session::{Limits, Overflow};

    const SETTINGS: Settings = Settings {
        io_threads: 2,
        close_timeout: Duration::from_secs(1),
        max_buffered_bytes: 1 << 30,
        limits: Limits { max_backpressure: 1 << 30, overflow: Overflow::Close, pong_timeout: 0 },
    };

    const ROOM: [u16; 1] = [0x61];

    fn start() -> Engine {
        Engine::start(SETTINGS, Generations::default(), Box::new(|| {}), || {}).unwrap()
    }

    fn adopt(engine: &Engine) -> (ConnectionId, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let source = Source::Descriptor(Arc::new(ours.into()));
        (engine.adopt(source, Welcome::of(b"101"), None).unwrap(), peer)
    }

    fn send(engine: &Engine, id: ConnectionId, text: &[u8]) {
        engine.send(id, SendOptions::default(), |bytes| {
            let start = bytes.len();
            encode_frame(bytes, Opcode::Text, text);
            start..bytes.len()
        });
    }

    fn read(peer: &mut UnixStream, expected: &[u8]) {
        let mut seen = vec![0; expected.len()];
        peer.read_exact(&mut seen).unwrap();
        assert_eq!(seen, expected);
    }

    #[test]
    fn members_on_all_threads_are_sent_it_and_nobody_else() {
        let engine = start();
        let mut peers: Vec<_> = (0..4).map(|_| adopt(&engine)).collect();
        for (id, _) in &peers[..3] {
            engine.join(*id, &ROOM);
            engine.mark_ready(*id);
        }
        engine.flush();
        let members = engine.members();
        assert_eq!(members.deliver(Some(&[&ROOM]), true, b"room"), Delivery::Sent);
        assert_eq!(members.deliver(Some(&[&[0x62]]), true, b"another"), Delivery::Nobody);
        assert_eq!(members.deliver(None, false, b"all"), Delivery::Sent);
        for (_, peer) in &mut peers[..3] {
            read(peer, b"101\x81\x04room\x82\x03all");
        }
        engine.terminate_all();
        read(&mut peers[3].1, b"101");
        assert_eq!(peers[3].1.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn who_has_joined_is_sent_it_although_javascript_has_not_handed_it_over() {
        let engine = start();
        let (id, mut peer) = adopt(&engine);
        engine.show_to_others(id);
        engine.join(id, &ROOM);
        engine.members().deliver(Some(&[&ROOM]), true, b"hi");
        read(&mut peer, b"101\x81\x02hi");
    }

    #[test]
    fn who_joins_is_sent_nothing_of_the_room_before_what_it_was_told_until_then() {
        let engine = start();
        let (id, mut peer) = adopt(&engine);
        engine.flush();
        send(&engine, id, b"joins");
        engine.show_to_others(id);
        engine.join(id, &ROOM);
        engine.members().deliver(Some(&[&ROOM]), true, b"room");
        read(&mut peer, b"101\x81\x05joins\x81\x04room");
    }

    #[test]
    fn who_has_left_is_sent_nothing_of_the_room_behind_what_it_is_told_then() {
        let engine = start();
        let (id, mut peer) = adopt(&engine);
        engine.show_to_others(id);
        engine.join(id, &ROOM);
        let members = engine.members();
        let other = std::thread::spawn(move || {
            let mut sent = 0;
            while members.deliver(Some(&[&ROOM]), true, b"room") == Delivery::Sent {
                sent += 1;
            }
            sent
        });
        engine.leave(id, &ROOM);
        send(&engine, id, b"left");
        engine.flush();
        let sent = other.join().unwrap();
        read(&mut peer, b"101");
        (0..sent).for_each(|_| read(&mut peer, b"\x81\x04room"));
        read(&mut peer, b"\x81\x04left");
    }

    #[test]
    fn what_an_io_thread_does_not_take_is_bounded() {
        let log = Arc::new(OpLog::default());
        let memory = Arc::new(Memory::new(usize::MAX));
        let members =
            LocalMembers::new(Arc::new(Rooms::new(1)), [log.clone()].into(), memory.clone());
        let payload = vec![0; 1 << 20];
        let mut sent = 0;
        while members.deliver(None, false, &payload) == Delivery::Sent {
            sent += 1;
        }
        assert_eq!(sent, 15);
        let mut segments = Vec::new();
        log.try_take(&mut segments);
        for segment in segments.drain(..) {
            log.recycle(segment);
        }
        assert_eq!((log.carried_out(), memory.used()), (0, 0));
        // However long it is, one fits.
        assert_eq!(members.deliver(None, false, &vec![0; 17 << 20]), Delivery::Sent);
    }
}
