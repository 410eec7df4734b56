//! Carries out what JavaScript asked for.

use std::io;
use std::iter::Peekable;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::connection::{Connection, Place};
use super::driving::{lose, settle, start_reading};
use super::state::IoThread;
use crate::exchange::ConnectionId;
use crate::exchange::inbox::What;
use crate::exchange::oplog::{
    Adoption, Broadcast, Except, Op, Segment, Source, StreamNews, Target,
};
use crate::protocol::{CloseFrame, EncodedFrame, Frames, close};
use crate::session::{Effects, Memory, Resources, Session};
use crate::transport::Transport;
#[cfg(unix)]
use crate::transport::adopted::Adopted;
use crate::transport::bridge::Bridge;

/// Broadcasts to the same recipients are joined into one piece of up to this many bytes.
const MERGED_BYTES: usize = 64 << 10;

impl IoThread {
    /// Carries out one segment. Returns `true` if it says to stop.
    pub fn apply(self: &Rc<Self>, segment: &mut Segment) -> bool {
        let Segment { ops, bytes, .. } = segment;
        let mut ops = ops.drain(..).peekable();
        let mut stop = false;
        while let Some(op) = ops.next() {
            match op {
                Op::Adopt(adoption) => self.adopt(*adoption),
                Op::Frame(id, range) => self.send(id, EncodedFrame::new(&bytes[range]), None, true),
                Op::Rest(id, range, written) => {
                    self.send_rest(id, EncodedFrame::new(&bytes[range]), written);
                }
                Op::SharedFrame(id, frame) => {
                    self.send(id, EncodedFrame::new(&frame), Some(&frame), true);
                }
                Op::UncompressedFrame(id, frame) => {
                    self.send(id, EncodedFrame::new(&frame), Some(&frame), false);
                }
                Op::Broadcast(first) => self.broadcast(join(first, &mut ops, &self.common.memory)),
                Op::Close(id, frame) => self.close(id, *frame),
                Op::Overflow(id) => self.with(id, Session::overflow),
                Op::Ping(id) => self.with(id, Session::ping),
                Op::MarkAlive(id) => self.tell(id, |each| each.session.borrow_mut().mark_alive()),
                Op::MarkReady(id) => self.tell(id, |each| each.marks.ready.set(true)),
                Op::Deliver(id) => self.read_on(id, |session, resources| {
                    session.handler_is_ready(self.timers.now(), resources)
                }),
                Op::Pace(id) => self.pace(id),
                Op::Holds(id, bytes) => self.tell(id, |each| {
                    each.session.borrow_mut().holds(bytes, &mut self.resources.borrow_mut());
                }),
                Op::Took(id, count) => self.read_on(id, |session, resources| {
                    session.took(count as usize, self.timers.now(), resources)
                }),
                Op::TimePongs(id, wanted) => {
                    self.tell(id, |each| each.session.borrow_mut().time_pongs(wanted));
                }
                Op::Terminate(id) => self.terminate(id),
                Op::Release(id) => self.with(id, Session::release),
                Op::Probed(id) => self.on_answer(id),
                Op::Bridge(key, StreamNews::Received(range)) => {
                    self.tell_bridge(key, |bridge| bridge.receive(&bytes[range]));
                }
                Op::Bridge(key, StreamNews::Written(count)) => {
                    self.tell_bridge(key, |bridge| bridge.written(count));
                }
                Op::Bridge(key, StreamNews::Ended) => self.tell_bridge(key, Bridge::end),
                Op::Bridge(key, StreamNews::Closed) => self.tell_bridge(key, Bridge::close),
                #[cfg(unix)]
                Op::Secure(securing) => self.secure(*securing),
                #[cfg(unix)]
                Op::NodeLeft(key, how) => self.node_left(key, how),
                Op::MakeRoom(wanted) => self.make_room(&wanted),
                Op::TerminateAll => self.all().iter().for_each(|each| lose(self, each)),
                Op::Stop => stop = true,
            }
        }
        stop
    }

    /// Has the session of a connection do something, if there still is one.
    fn with(
        self: &Rc<Self>,
        id: ConnectionId,
        act: impl FnOnce(&mut Session, &mut Resources) -> Effects,
    ) {
        let Some(connection) = self.get(id) else { return };
        let effects = act(&mut connection.session.borrow_mut(), &mut self.resources.borrow_mut());
        settle(self, &connection, effects);
    }

    fn tell(&self, id: ConnectionId, act: impl FnOnce(&Connection)) {
        if let Some(connection) = self.get(id) {
            act(&connection);
        }
    }

    /// Has the session of a connection do something after which it may be read again.
    fn read_on(
        self: &Rc<Self>,
        id: ConnectionId,
        act: impl FnOnce(&mut Session, &mut Resources) -> Effects,
    ) {
        self.with(id, act);
        self.tell(id, |each| each.resumed.wake());
    }

    fn pace(&self, id: ConnectionId) {
        self.tell(id, |each| {
            if each.session.borrow_mut().pace(&mut self.resources.borrow_mut()) {
                self.tell_news(each, What::Paced);
            }
            each.resumed.wake();
        });
    }

    /// Also one that is being seen out.
    fn terminate(self: &Rc<Self>, id: ConnectionId) {
        if let Some(connection) = self.get(id).or_else(|| self.leaving(id)) {
            lose(self, &connection);
        }
    }

    /// What comes for a bridge that is gone comes too late.
    fn tell_bridge(&self, key: u32, act: impl FnOnce(&Bridge)) {
        let bridge = self.bridges.borrow().get(&key).and_then(Weak::upgrade);
        if let Some(bridge) = bridge {
            act(&bridge);
            self.recount(&bridge);
        }
    }

    fn close(self: &Rc<Self>, id: ConnectionId, frame: CloseFrame) {
        // The peer's answer has to be read.
        self.read_on(id, |session, resources| session.close(frame, resources));
    }

    fn adopt(self: &Rc<Self>, adoption: Adoption) {
        let Adoption {
            id,
            account,
            source,
            response,
            mut replay,
            terms,
            heartbeat,
            places,
            address_place,
        } = adoption;
        let place = Place::taken(places, address_place);
        let transport = match self.transport(source, &mut replay) {
            Ok(transport) => transport,
            Err(error) => {
                account.set_ended();
                let reason = match error.kind() {
                    // The client has gone in the meantime.
                    io::ErrorKind::NotConnected
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset => String::new(),
                    _ => format!("the socket could not be watched: {error}"),
                };
                let reason = reason.into();
                let frame = CloseFrame { code: close::ABNORMAL, reason };
                self.batch.borrow_mut().push_closed(id.slot, frame);
                return self.batch_changed();
            }
        };
        let pumped = transport.bridge().is_some();
        let session = {
            let resources = &mut self.resources.borrow_mut();
            Session::new(account, &response, terms, pumped, resources)
        };
        let connection = Rc::new(Connection::new(id, session, transport, place));
        self.remember(&connection);
        self.mark_dirty(&connection);
        if heartbeat > 0 {
            self.start_heartbeat(u64::from(heartbeat), id);
        }
        start_reading(self, &connection, replay);
    }

    /// What has been read for Node and not by it is appended to `replay`.
    #[cfg_attr(not(unix), expect(clippy::ptr_arg, unused_variables))]
    fn transport(self: &Rc<Self>, source: Source, replay: &mut Vec<u8>) -> io::Result<Transport> {
        match source {
            #[cfg(unix)]
            Source::Descriptor(socket) => Ok(Transport::Adopted(Adopted::watch(socket)?)),
            #[cfg(unix)]
            Source::Secured(pumped) => self.take_over(pumped, replay).map(Transport::Secured),
            Source::Stream(key) => {
                let io = Rc::downgrade(self);
                let send = Box::new(move |command| {
                    if let Some(io) = io.upgrade() {
                        io.command(key, command);
                    }
                });
                let bridge = Rc::new(Bridge::new(key, send));
                self.bridges.borrow_mut().insert(key, Rc::downgrade(&bridge));
                Ok(Transport::Bridged(bridge))
            }
        }
    }
}

/// Joins a broadcast with those that follow it to the same recipients.
fn join(
    first: Broadcast,
    ops: &mut Peekable<impl Iterator<Item = Op>>,
    memory: &Arc<Memory>,
) -> Joined {
    let Broadcast { target, except, frame } = first;
    // Most are alone.
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    while let Some(Op::Broadcast(next)) = ops.peek()
        && next.goes_to(&target, &except)
        && frame.len().max(bytes.len()) + next.frame.len() <= MERGED_BYTES
    {
        if bytes.is_empty() {
            bytes.extend_from_slice(&frame);
            ends.push(bytes.len());
        }
        bytes.extend_from_slice(&next.frame);
        ends.push(bytes.len());
        ops.next();
    }
    let frames = if ends.is_empty() {
        Frames::from(frame)
    } else {
        Frames::with_ends(memory.keep(bytes, 0), ends)
    };
    Joined { target, except, frames }
}

/// Broadcasts to the same recipients.
pub(super) struct Joined {
    pub target: Target,
    pub except: Except,
    pub frames: Frames,
}
