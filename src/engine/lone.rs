//! A lone answer, which the JavaScript thread writes itself.
//!
//! When next to nothing is to be sent, the I/O thread sleeps, and to wake it takes longer than the
//! write. Under load there is always more, or something is on its way, and this stands aside.

use std::io::IoSlice;

use smallvec::SmallVec;

use super::slots::{SlotConnection, Slots};
use super::thread::Thread;
use crate::exchange::oplog::{Op, Segment};
use crate::protocol::EncodedFrame;

/// Up to so many frames are written here. If it were one, most answers would still wake a thread;
/// with many, JavaScript would wait for the kernel.
const LONE_FRAMES: usize = 4;

/// Longest frame that is written here, in bytes.
const LONE_BYTES: usize = 4 << 10;

impl Thread {
    /// Writes what is pending, if that is next to nothing and all before it has been carried out. What
    /// cannot be written, and all that follows it, goes through the log. `on_drained` is called with the
    /// slots of connections of whose queue JavaScript wants to hear that it is empty.
    pub fn write_lone(&self, slots: &Slots, on_drained: impl Fn(u32)) {
        let mut pending = self.pending.borrow_mut();
        let Segment { ops, bytes, .. } = &mut *pending;
        if ops.len() > LONE_FRAMES || !ops.iter().all(is_lone) || !self.has_caught_up() {
            return;
        }
        let mut done = 0;
        while let Some(Op::Frame(id, _)) = ops.get(done) {
            let frames: SmallVec<[&[u8]; LONE_FRAMES]> = ops[done..]
                .iter()
                .map_while(|op| match op {
                    Op::Frame(to, range) if to == id => Some(&bytes[range.clone()]),
                    _ => None,
                })
                .collect();
            let Some(connection) = slots.get(*id) else { break };
            let Written { whole, begun } = self.write(connection, &frames);
            let all = whole == frames.len();
            if connection.account.take_drained() {
                on_drained(id.slot);
            }
            done += whole;
            if let Some(written) = begun
                && let Op::Frame(id, range) = &ops[done]
            {
                ops[done] = Op::Rest(*id, range.clone(), written);
            }
            if !all {
                break;
            }
        }
        ops.drain(..done);
        if ops.is_empty() {
            pending.clear();
        }
    }

    /// Writes frames to one connection, as far as it is free and its socket takes them.
    fn write(&self, connection: &SlotConnection, frames: &[&[u8]]) -> Written {
        let SlotConnection { account, socket, .. } = connection;
        let Some(socket) = socket else { return Written::default() };
        let Some(taken) = account.writer().take() else { return Written::default() };
        let slices: SmallVec<[IoSlice<'_>; LONE_FRAMES]> =
            frames.iter().map(|frame| IoSlice::new(frame)).collect();
        // Of an error the I/O thread finds out as well.
        let count = socket.write(&slices).unwrap_or(0);
        account.remove(count);
        let (mut whole, mut rest) = (0, count);
        while let Some(frame) = frames.get(whole)
            && rest >= frame.len()
        {
            rest -= frame.len();
            whole += 1;
        }
        if rest > 0 {
            taken.owe();
        } else if taken.give_back() {
            self.log.nudge();
        }
        let begun = whole + usize::from(rest > 0);
        let len: usize = frames[..begun].iter().map(|frame| frame.len()).sum();
        self.counters.sent_alone(begun as u64, len as u64);
        for frame in &frames[..begun] {
            self.counters.sizes_sent_alone.add(EncodedFrame::new(frame).payload().len(), 1);
        }
        Written { whole, begun: (rest > 0).then_some(rest) }
    }
}

fn is_lone(op: &Op) -> bool {
    matches!(op, Op::Frame(_, range) if range.len() <= LONE_BYTES)
}

/// How much of some frames has been written.
#[derive(Default)]
struct Written {
    /// Frames that are whole.
    whole: usize,
    /// Bytes of the next one, if it has begun.
    begun: Option<usize>,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::net::sockopt;

    use crate::engine::{Engine, SendOptions, Welcome};
    use crate::exchange::oplog::{Except, Source};
    use crate::exchange::{ConnectionId, Generations, Settings};
    use crate::protocol::{CloseFrame, Opcode, encode_frame};
    use crate::session::{Limits, Overflow};

    const SETTINGS: Settings = Settings {
        io_threads: 1,
        close_timeout: Duration::from_secs(20),
        max_buffered_bytes: 1 << 30,
        limits: Limits { max_backpressure: 1 << 20, overflow: Overflow::Close, pong_timeout: 0 },
    };

    const RESPONSE: &[u8] = b"101";
    const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
    const PING: &[u8] = b"\x89\x82\0\0\0\0hi";

    fn start() -> Engine {
        Engine::start(SETTINGS, Generations::default(), Box::new(|| {}), || {}).unwrap()
    }

    /// A connection whose socket takes little more than `send_buffer` bytes, and its peer.
    fn adopt(engine: &Engine, send_buffer: usize) -> (ConnectionId, UnixStream) {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        sockopt::set_socket_send_buffer_size(&ours, send_buffer).unwrap();
        let source = Source::Descriptor(Arc::new(ours.into()));
        let id = engine.adopt(source, Welcome::of(RESPONSE), None).unwrap();
        engine.deliver(id);
        engine.flush();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut response = [0; RESPONSE.len()];
        peer.read_exact(&mut response).unwrap();
        (id, peer)
    }

    fn send(engine: &Engine, id: ConnectionId, payload: &[u8]) {
        engine.send(id, SendOptions::default(), |bytes| {
            let start = bytes.len();
            encode_frame(bytes, Opcode::Binary, payload);
            start..bytes.len()
        });
    }

    /// Longest that anything here takes, on a machine as busy as one may be.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn until(holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "it does not come about");
            thread::yield_now();
        }
    }

    /// Nothing is on its way to the connection, nor waits there.
    fn is_quiet(engine: &Engine, id: ConnectionId) -> bool {
        let slots = engine.slots.borrow();
        let Some(taken) = slots.get(id).unwrap().account.writer().take() else { return false };
        if taken.give_back() {
            // A pong had to be sent just then, and waits for whoever had the token.
            engine.threads[0].log.nudge();
            return false;
        }
        engine.threads[0].has_caught_up()
    }

    #[test]
    fn one_frame_is_written_before_the_flush_returns_and_wakes_nobody() {
        let engine = start();
        let (id, mut peer) = adopt(&engine, 1 << 16);
        until(|| is_quiet(&engine, id));
        send(&engine, id, b"alone");
        assert_eq!((engine.buffered_amount(id), engine.totals().messages_sent), (7, 0));
        engine.flush();
        assert!(is_quiet(&engine, id));
        let totals = engine.totals();
        assert_eq!(
            (engine.buffered_amount(id), totals.messages_sent, totals.bytes_sent),
            (0, 1, 7)
        );
        peer.set_nonblocking(true).unwrap();
        let mut seen = [0; 100];
        assert_eq!(peer.read(&mut seen).unwrap(), 7);
        assert_eq!(&seen[..7], b"\x82\x05alone");
    }

    #[test]
    fn the_descriptor_is_closed_with_the_connection_although_javascript_has_not_heard_of_the_end() {
        let engine = start();
        let (id, mut peer) = adopt(&engine, 1 << 16);
        until(|| is_quiet(&engine, id));
        engine.terminate_all();
        assert_eq!(peer.read(&mut [0; 100]).unwrap(), 0);
        let (ledger, socket) = (engine.ledger(), &engine.slots.borrow());
        let socket = socket.get(id).unwrap().socket.as_ref().unwrap();
        until(|| ledger.living() == 0);
        assert_eq!(socket.write(&[]).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    }

    /// What a peer reads, in pieces of any length: the numbers of the messages. It sends pings
    /// meanwhile, and a close frame after so many messages, or when it has read one.
    fn read_all(mut peer: UnixStream, mut random: Random, messages: usize) -> Vec<u32> {
        let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
        loop {
            let mut piece = vec![0; 1 + random.below(3000)];
            let count = peer.read(&mut piece).unwrap();
            assert_ne!(count, 0);
            bytes.extend_from_slice(&piece[..count]);
            while let Some((opcode, payload, rest)) = frame(&bytes) {
                match opcode {
                    0x82 => {
                        let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
                        assert!(payload[4..].iter().all(|byte| *byte == number as u8));
                        numbers.push(number);
                        if numbers.len() == messages {
                            peer.write_all(CLOSE).unwrap();
                        }
                    }
                    0x89 => assert_eq!(payload, b""),
                    0x8a => assert_eq!(payload, b"hi"),
                    0x88 => {
                        assert_eq!((payload, rest), (&b"\x03\xe8"[..], &b""[..]));
                        if numbers.len() < messages {
                            peer.write_all(CLOSE).unwrap();
                        }
                        assert_eq!(peer.read(&mut piece).unwrap(), 0);
                        return numbers;
                    }
                    opcode => panic!("{opcode:x}"),
                }
                bytes = rest.to_vec();
            }
            if random.below(4) == 0 && numbers.len() < messages {
                peer.write_all(PING).unwrap();
            }
        }
    }

    fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
        let (start, len) = match *bytes.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            len => (2, usize::from(len)),
        };
        let payload = bytes.get(start..start + len)?;
        Some((bytes[0], payload, &bytes[start + len..]))
    }

    struct Random(u32);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as usize % bound
        }
    }

    #[test]
    fn all_arrives_whole_and_in_order_however_little_the_socket_takes() {
        let engine = start();
        for seed in 0..10 {
            let mut random = Random(seed);
            let (id, peer) = adopt(&engine, 4 << 10);
            engine.mark_ready(id);
            let reader = thread::spawn(move || read_all(peer, Random(seed + 100), usize::MAX));
            let mut sent = 0..1000_u32;
            while !sent.is_empty() {
                // Also more than are written alone, and broadcasts among them.
                for number in sent.by_ref().take(1 + random.below(6)) {
                    let mut payload = number.to_be_bytes().to_vec();
                    payload.resize(4 + random.below(3000), number as u8);
                    if random.below(10) == 0 {
                        let mut frame = Vec::new();
                        encode_frame(&mut frame, Opcode::Binary, &payload);
                        engine.broadcast(None, Except::Nobody, frame.into());
                    } else {
                        send(&engine, id, &payload);
                    }
                }
                if random.below(10) == 0 {
                    engine.ping(id);
                }
                engine.flush();
                if random.below(3) > 0 || engine.buffered_amount(id) > 1 << 18 {
                    until(|| is_quiet(&engine, id));
                }
            }
            engine.close(id, CloseFrame { code: 1000, reason: "".into() });
            engine.flush();
            assert_eq!(reader.join().unwrap(), (0..1000).collect::<Vec<_>>());
            assert_eq!(engine.buffered_amount(id), 0);
            engine.release(id);
        }
        assert_eq!(engine.totals().messages_sent, 10_000);
    }

    #[test]
    fn nothing_follows_the_close_frame_when_the_peer_closes_while_it_is_sent_to() {
        let engine = start();
        for seed in 0..100 {
            let mut random = Random(seed);
            let (id, peer) = adopt(&engine, 4 << 10);
            let messages = 1 + random.below(50);
            let reader = thread::spawn(move || read_all(peer, Random(seed + 100), messages));
            let mut number = 0_u32;
            let start = Instant::now();
            while engine.common().inbox.take().is_none() {
                assert!(start.elapsed() < PATIENCE, "JavaScript does not hear of the end");
                if engine.buffered_amount(id) < 1 << 16 {
                    let mut payload = number.to_be_bytes().to_vec();
                    payload.resize(4 + random.below(3000), number as u8);
                    send(&engine, id, &payload);
                    engine.flush();
                    number += 1;
                }
            }
            engine.release(id);
            engine.flush();
            let seen = reader.join().unwrap();
            // After its close frame, it gets no more than it takes at once.
            assert!(seen[..messages].iter().copied().eq(0..messages as u32), "{seen:?}");
            assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
        }
    }
}
