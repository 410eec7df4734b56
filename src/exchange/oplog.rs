//! What JavaScript asked for, on its way to an I/O thread.
//!
//! `send`, `broadcast`, `close`, `ping` and the adoption of new connections append to one ordered
//! log per I/O thread, so for every connection they take effect in the order in which JavaScript made
//! them. The JavaScript thread fills a [`Segment`] without a lock and hands it over once per dispatch
//! or tick.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::addresses::AddressPlace;
use super::ids::{ConnectionId, Members};
use super::places::Places;
use crate::protocol::CloseFrame;
use crate::session::{Account, Terms};

/// A segment is handed over early when it holds this many operations or bytes, so that a long
/// synchronous loop of sends starts to leave before it ends.
const SEGMENT_OPS: usize = 4096;
const SEGMENT_BYTES: usize = 1 << 20;

/// Segments kept for reuse.
const SPARE_SEGMENTS: usize = 4;

/// Most bytes of what other nodes say that wait for an I/O thread: about a tenth of a second of it.
const OTHERS_BYTES: usize = 16 << 20;

/// What a broadcast of another node counts beside its frame.
const OTHERS_COST: usize = 128;

/// Where a connection comes from.
#[derive(Debug)]
pub enum Source {
    /// A socket taken over from Node.
    #[cfg(unix)]
    Descriptor(Arc<std::os::fd::OwnedFd>),
    /// A connection over TLS that a pump has served until now.
    #[cfg(unix)]
    Secured(Pumped),
    /// A stream that JavaScript pumps, by the key of its bridge.
    Stream(u32),
}

/// A connection over TLS that a pump serves.
#[cfg(unix)]
#[derive(Debug)]
pub struct Pumped {
    /// The key of the pump.
    pub key: u32,
    /// A duplicate of Node's end of the pump's pair, with what Node has not read.
    pub plain: std::os::fd::OwnedFd,
}

/// A socket on which a client is about to begin a TLS handshake.
#[cfg(unix)]
#[derive(Debug)]
pub struct Securing {
    /// The key of the pump that serves it afterwards.
    pub key: u32,
    /// The client's socket.
    pub socket: std::os::fd::OwnedFd,
    /// What it is shown.
    pub config: Arc<crate::tls::config::TlsConfig>,
    /// A PROXY header stands before the client's first byte.
    pub expects_header: bool,
    /// How long the handshake may take, the header included.
    pub limit: std::time::Duration,
}

/// How Node has closed its end of a pump.
#[cfg(unix)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// All that was to be sent has been written.
    Done,
    /// In the middle of something: what was sent is not whole, and the client has to see that.
    CutShort,
}

/// A connection to be taken over by an I/O thread.
#[derive(Debug)]
pub struct Adoption {
    /// Its name on both threads.
    pub id: ConnectionId,
    /// What both threads see of it.
    pub account: Arc<Account>,
    /// What it was before.
    pub source: Source,
    /// The 101 response, written before anything else.
    pub response: Vec<u8>,
    /// Bytes that had been read before the take-over, parsed before anything else.
    pub replay: Vec<u8>,
    /// What holds for it.
    pub terms: Terms,
    /// Milliseconds between pings; zero means none.
    pub heartbeat: u32,
    /// What it takes up as long as it has a descriptor.
    pub places: Arc<Places>,
    /// Its place among those of its address, where these are counted.
    pub address_place: Option<Arc<AddressPlace>>,
}

/// One request to an I/O thread.
#[derive(Debug)]
pub enum Op {
    /// Takes over a connection; the first operation of its slot.
    Adopt(Box<Adoption>),
    /// Queues an encoded data frame that lies in the segment's bytes.
    Frame(ConnectionId, Range<usize>),
    /// Queues the rest of an encoded data frame of which the JavaScript thread has written so many
    /// bytes, before everything else.
    Rest(ConnectionId, Range<usize>, usize),
    /// Queues an encoded data frame that has its own allocation.
    SharedFrame(ConnectionId, Bytes),
    /// The same for one that is not to be compressed.
    UncompressedFrame(ConnectionId, Bytes),
    /// Queues an encoded data frame for many connections.
    Broadcast(Broadcast),
    /// Starts the close handshake.
    Close(ConnectionId, Box<CloseFrame>),
    /// Ends a connection whose queue is over its limit with 1008.
    Overflow(ConnectionId),
    /// Sends a ping.
    Ping(ConnectionId),
    /// Counts as a sign of life.
    MarkAlive(ConnectionId),
    /// The connection has passed all middleware.
    MarkReady(ConnectionId),
    /// The connection's handler is ready for messages: they need not be held any more.
    Deliver(ConnectionId),
    /// JavaScript says from now on which messages it has taken, by [`Op::Took`].
    Pace(ConnectionId),
    /// It holds so many bytes of those that came before [`What::Paced`](super::inbox::What).
    Holds(ConnectionId, usize),
    /// It has taken so many messages more.
    Took(ConnectionId, u32),
    /// It wants to hear how long answers to its pings take, or no longer.
    TimePongs(ConnectionId, bool),
    /// Ends a connection without a handshake.
    Terminate(ConnectionId),
    /// JavaScript has heard of the connection's end. Its last operation.
    Release(ConnectionId),
    /// Everything that had arrived for a bridged connection has been handed over.
    Probed(ConnectionId),
    /// News of the stream behind a bridge, named by the bridge's key.
    Bridge(u32, StreamNews),
    /// Speaks TLS with a client, and pumps what it says to Node.
    #[cfg(unix)]
    Secure(Box<Securing>),
    /// Node has closed its end of a pump, by key.
    #[cfg(unix)]
    NodeLeft(u32, Leave),
    /// Has a connection with one of these places make room that has nothing to write any more.
    MakeRoom(Arc<Places>),
    /// Ends every connection without a handshake.
    TerminateAll,
    /// Ends the thread once connections that are winding down have finished.
    Stop,
}

impl Op {
    /// Whether it is of the coming and going of a connection, and may wait for others of its kind: to
    /// wake a thread for each of them costs more than all else that is done for it here.
    fn may_wait(&self) -> bool {
        matches!(self, Self::Adopt(_) | Self::MarkReady(_) | Self::Deliver(_) | Self::Release(_))
    }
}

/// What happened to a stream that JavaScript pumps.
#[derive(Debug)]
pub enum StreamNews {
    /// Bytes came; they lie in the segment's bytes.
    Received(Range<usize>),
    /// So many bytes have been written.
    Written(usize),
    /// Nothing more will come.
    Ended,
    /// It is gone in both directions.
    Closed,
}

/// A frame for many.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Who gets it.
    pub target: Target,
    /// Who does not, although a member.
    pub except: Except,
    /// The encoded frame.
    pub frame: Bytes,
}

/// Recipients of a broadcast.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every open connection that has passed all middleware.
    All,
    /// The members of a room, or of several, when the broadcast was made, by I/O thread.
    Members(Members),
}

/// Who is left out of a broadcast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Except {
    /// Nobody is.
    #[default]
    Nobody,
    /// The one who sends it, mostly.
    One(ConnectionId),
    /// Several, in the order of their slots. Shared, and with one pointer only: an operation is to stay small.
    Several(Arc<Vec<ConnectionId>>),
}

impl Except {
    /// Leaves out these, in any order.
    pub fn all(mut ids: Vec<ConnectionId>) -> Self {
        match ids[..] {
            [] => Self::Nobody,
            [id] => Self::One(id),
            _ => {
                ids.sort_unstable_by_key(|id| (id.slot, id.generation));
                Self::Several(Arc::new(ids))
            }
        }
    }

    /// Whether a connection is left out.
    pub fn contains(&self, id: ConnectionId) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one) => *one == id,
            Self::Several(ids) => {
                let place = (id.slot, id.generation);
                ids.binary_search_by_key(&place, |each| (each.slot, each.generation)).is_ok()
            }
        }
    }
}

impl Broadcast {
    /// Whether it goes to the same connections as one with these recipients, so that both can be
    /// written as one.
    pub fn goes_to(&self, target: &Target, except: &Except) -> bool {
        let same = match (&self.target, target) {
            (Target::All, Target::All) => true,
            (Target::Members(one), Target::Members(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same && self.except == *except
    }
}

/// A stretch of the log.
#[derive(Debug, Default)]
pub struct Segment {
    /// In the order in which JavaScript made them.
    pub ops: Vec<Op>,
    /// Encoded frames that [`Op::Frame`] points into.
    pub bytes: Vec<u8>,
    /// It has an operation that does not wait for others.
    is_urgent: bool,
    /// What it has of other nodes, in bytes, where it is not the JavaScript thread's.
    of_others: Option<usize>,
}

impl Segment {
    /// Appends an operation.
    pub fn push(&mut self, op: Op) {
        self.is_urgent |= !op.may_wait();
        self.ops.push(op);
    }

    /// Whether it should be handed over at the end of the tick or dispatch. Otherwise it may wait for
    /// what the next turns of the event loop bring.
    pub fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Whether it should be handed over without waiting for the end of the tick.
    pub fn is_full(&self) -> bool {
        self.ops.len() >= SEGMENT_OPS || self.bytes.len() >= SEGMENT_BYTES
    }

    /// Forgets its contents but keeps its memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.bytes.clear();
        self.is_urgent = false;
        self.of_others = None;
    }

    /// As [`Self::clear`], unless it grew out of proportion.
    fn recycle(mut self) -> Option<Self> {
        self.clear();
        let keep =
            self.bytes.capacity() <= 2 * SEGMENT_BYTES && self.ops.capacity() <= 2 * SEGMENT_OPS;
        keep.then_some(self)
    }
}

/// The log between the threads.
#[derive(Debug, Default)]
pub struct OpLog {
    /// Guards segments that wait and spare ones; held for a few moves only.
    queue: Mutex<Queue>,
    ready: Notify,
    /// The JavaScript thread waits for the I/O thread to end.
    abandoned: AtomicBool,
    /// Segments of the JavaScript thread that have been carried out. Written by the I/O thread only.
    carried_out: AtomicU64,
    /// Bytes of what other nodes say that have not been carried out.
    of_others: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Segment>,
    spare: Vec<Segment>,
}

impl OpLog {
    /// JavaScript thread: appends `segment` and returns an empty one.
    pub fn append(&self, segment: Segment) -> Segment {
        let spare = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push(segment);
            queue.spare.pop()
        };
        self.ready.notify_one();
        spare.unwrap_or_default()
    }

    /// Any other thread: whether there is room for a broadcast of another node.
    pub fn has_room(&self, frame: &Bytes) -> bool {
        let waiting = self.of_others.load(Ordering::Relaxed);
        waiting == 0 || waiting + frame.len() + OTHERS_COST <= OTHERS_BYTES
    }

    /// Any other thread: appends a broadcast of another node, behind what the JavaScript thread has
    /// handed over. The caller holds what it has read the members of, so nobody leaves in between.
    pub fn append_of_others(&self, broadcast: Broadcast) {
        let cost = broadcast.frame.len() + OTHERS_COST;
        self.of_others.fetch_add(cost, Ordering::Relaxed);
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            match queue.waiting.last_mut() {
                Some(Segment { of_others: Some(bytes), ops, .. }) if ops.len() < SEGMENT_OPS => {
                    *bytes += cost;
                    ops.push(Op::Broadcast(broadcast));
                }
                _ => {
                    let mut segment = queue.spare.pop().unwrap_or_default();
                    segment.of_others = Some(cost);
                    segment.ops.push(Op::Broadcast(broadcast));
                    queue.waiting.push(segment);
                }
            }
        }
        self.ready.notify_one();
    }

    /// I/O thread: waits for segments, or for a nudge, and moves what is there into `out`.
    pub async fn take(&self, out: &mut Vec<Segment>) {
        self.ready.notified().await;
        self.try_take(out);
    }

    /// JavaScript thread: the I/O thread shall not wait for anything after a stop.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.ready.notify_one();
    }

    /// I/O thread: whether nothing shall be waited for.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// I/O thread: ends a wait for segments, because something else is to be written.
    pub fn nudge(&self) {
        self.ready.notify_one();
    }

    /// I/O thread: moves the segments that wait into `out`.
    pub fn try_take(&self, out: &mut Vec<Segment>) {
        out.append(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting);
    }

    /// I/O thread: frees the memory that was to be used again.
    pub fn trim(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).spare.clear();
    }

    /// JavaScript thread: how many of its segments have been carried out.
    pub fn carried_out(&self) -> u64 {
        self.carried_out.load(Ordering::Acquire)
    }

    /// JavaScript thread: whether all has been carried out of other nodes that other threads had
    /// appended before they let this one go on.
    pub fn has_none_of_others(&self) -> bool {
        self.of_others.load(Ordering::Acquire) == 0
    }

    /// I/O thread: gives a segment that has been carried out back for reuse.
    pub fn recycle(&self, segment: Segment) {
        match segment.of_others {
            Some(bytes) => {
                // As below.
                self.of_others.fetch_sub(bytes, Ordering::Release);
            }
            None => {
                let count = self.carried_out.load(Ordering::Relaxed) + 1;
                // What it queued is queued before anybody sees this.
                self.carried_out.store(count, Ordering::Release);
            }
        }
        if let Some(segment) = segment.recycle() {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.spare.len() < SPARE_SEGMENTS {
                queue.spare.push(segment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnectionId = ConnectionId { slot: 1, generation: 2 };

    #[test]
    fn only_the_coming_and_going_of_connections_waits_for_others() {
        let mut segment = Segment::default();
        for op in [Op::MarkReady(ID), Op::Deliver(ID), Op::Release(ID)] {
            segment.push(op);
            assert!(!segment.is_urgent());
        }
        segment.push(Op::Ping(ID));
        segment.push(Op::Release(ID));
        assert!(segment.is_urgent());
        assert!(!segment.recycle().unwrap().is_urgent());
    }

    #[test]
    fn what_other_nodes_say_is_known_to_be_under_way_until_it_is_carried_out() {
        let log = OpLog::default();
        log.append_of_others(Broadcast {
            target: Target::All,
            except: Except::Nobody,
            frame: Bytes::from_static(b"frame"),
        });
        let mut taken = Vec::new();
        log.try_take(&mut taken);
        assert!(!log.has_none_of_others());
        taken.drain(..).for_each(|segment| log.recycle(segment));
        assert!(log.has_none_of_others());
    }
}
