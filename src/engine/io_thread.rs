//! A thread on which connections live: one tokio runtime, no locks on its own state.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;

use super::connection::{self, Connection, Ending, Probe};
use super::deadlines::Deadlines;
use super::ids::ConnectionId;
use super::inbox::{Batch, Inbox};
use super::memory::{self, Population};
use super::oplog::{Broadcast, Op, OpLog, Segment, StreamNews, Target};
use super::outbox::BufferPool;
use super::stats::Counters;
use super::unread::UnreadBytes;
use super::{Adoption, Overflow, Settings, Source};
use crate::protocol::{CloseFrame, Deflater, close, split_encoded};
use crate::transport::Transport;
#[cfg(unix)]
use crate::transport::adopted::Adopted;
use crate::transport::bridge::{Bridge, Command};

/// Bytes read from a socket at a time, into one buffer that all connections share.
const READ_BYTES: usize = 256 << 10;

/// Connections written to in one go on behalf of broadcasts, before reads, pongs and direct sends
/// get their turn.
const BROADCAST_WRITES: usize = 256;

/// Broadcasts to the same recipients are joined into one piece of up to this many bytes.
const MERGED_BYTES: usize = 64 << 10;

/// Window sizes are 9 to 15 bits.
const WINDOW_SIZES: usize = 16;

/// Limits that run out within this time of each other are handled in one wake-up.
const TIMER_GRANULARITY: u64 = 10;

/// How long connections that are winding down keep the thread after a graceful stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Everything on an I/O thread. Owned by it, shared by its tasks, never seen by another thread.
pub(super) struct IoThread {
    pub settings: Settings,
    pub inbox: Arc<Inbox>,
    pub counters: Arc<Counters>,
    log: Arc<OpLog>,
    /// Which of the engine's I/O threads this is.
    number: usize,
    /// By [`ConnectionId::index`]. Ended connections are not in here.
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    population: Population,
    /// By key, also those of connections that have ended but still have something to write.
    bridges: RefCell<FxHashMap<u32, Weak<Bridge>>>,
    /// Events to be posted once the tasks that are ready have run.
    pub batch: RefCell<Batch>,
    /// Tells the posting task that the batch is no longer empty.
    batch_filled: Notify,
    /// The buffer that sockets are read into.
    pub scratch: RefCell<Box<[u8]>>,
    pub pool: RefCell<BufferPool>,
    /// Bytes that have been read and wait for JavaScript to take what came before them.
    pub unread: UnreadBytes,
    /// Compressors for messages that share no context, by window size in bits.
    deflaters: RefCell<[Option<Box<Deflater>>; WINDOW_SIZES]>,
    /// Connections with direct sends or pongs to be written.
    dirty: RefCell<Vec<Rc<Connection>>>,
    /// Connections with nothing but broadcasts to be written.
    dirty_broadcast: RefCell<VecDeque<Rc<Connection>>>,
    /// When the next ping is due.
    heartbeats: RefCell<Deadlines>,
    /// When a ping must have been answered.
    pongs: RefCell<Deadlines>,
    /// When a close frame must have been answered.
    closes: RefCell<Deadlines>,
    /// Tells the timer task that a queue is no longer empty.
    limits_changed: Notify,
    started: Instant,
    /// Connections that linger for the peer's end of stream, and the news that one has finished.
    pub winding_down: Cell<usize>,
    pub wound_down: Notify,
}

/// Body of an I/O thread: says through `started` whether it could start, returns after
/// [`Op::Stop`].
pub(super) fn run(
    number: usize,
    settings: Settings,
    log: Arc<OpLog>,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    started: &SyncSender<io::Result<()>>,
) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let (runtime, result) = match runtime {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // The other side waits for this; it cannot have gone.
    let _ = started.send(result);
    let Some(runtime) = runtime else { return };
    runtime.block_on(async move {
        let io = Rc::new(IoThread::new(number, settings, log, inbox, counters));
        tokio::task::spawn_local(post_batches(io.clone()));
        tokio::task::spawn_local(watch_limits(io.clone()));
        carry_out(io).await;
    });
}

/// Carries out the operation log until it says to stop.
async fn carry_out(io: Rc<IoThread>) {
    let mut segments = Vec::new();
    loop {
        if io.dirty_broadcast.borrow().is_empty() {
            io.log.take(&mut segments).await;
        } else {
            tokio::task::yield_now().await;
            io.log.try_take(&mut segments);
        }
        let mut stop = false;
        for mut segment in segments.drain(..) {
            stop |= io.apply(&mut segment);
            io.log.recycle(segment);
        }
        io.flush_direct();
        if stop {
            return wait_for_wind_down(&io).await;
        }
        io.flush_broadcasts();
    }
}

/// After a stop: lets close frames get out, but not for long.
async fn wait_for_wind_down(io: &Rc<IoThread>) {
    let all_done = async {
        while io.winding_down.get() > 0 {
            io.wound_down.notified().await;
        }
    };
    // What streams behind bridges have to tell is still needed.
    let abandoned = async {
        let mut segments = Vec::new();
        while !io.log.is_abandoned() {
            io.log.take(&mut segments).await;
            for mut segment in segments.drain(..) {
                io.apply(&mut segment);
            }
            io.flush_direct();
        }
    };
    tokio::select! {
        () = all_done => {}
        () = abandoned => {}
        () = tokio::time::sleep(STOP_LIMIT) => {}
    }
}

/// Runs behind the tasks that were ready when the batch got its first event, so that one wake of
/// the JavaScript thread covers what they all read.
async fn post_batches(io: Rc<IoThread>) {
    loop {
        io.batch_filled.notified().await;
        io.post();
    }
}

/// Pings, and ends connections whose limits run out.
async fn watch_limits(io: Rc<IoThread>) {
    loop {
        let due = [&io.heartbeats, &io.pongs, &io.closes]
            .into_iter()
            .filter_map(|limits| limits.borrow().next())
            .chain(io.population.due())
            .min();
        match due {
            None => io.limits_changed.notified().await,
            Some(due) => {
                let wait = due.saturating_sub(io.now()).max(TIMER_GRANULARITY);
                let changed = io.limits_changed.notified();
                let _ = tokio::time::timeout(Duration::from_millis(wait), changed).await;
            }
        }
        io.enforce_limits();
    }
}

impl IoThread {
    fn new(
        number: usize,
        settings: Settings,
        log: Arc<OpLog>,
        inbox: Arc<Inbox>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            inbox,
            counters,
            log,
            number,
            connections: RefCell::default(),
            population: Population::default(),
            bridges: RefCell::default(),
            batch: RefCell::default(),
            batch_filled: Notify::new(),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            pool: RefCell::default(),
            unread: UnreadBytes::default(),
            deflaters: RefCell::default(),
            dirty: RefCell::default(),
            dirty_broadcast: RefCell::default(),
            heartbeats: RefCell::new(Deadlines::new(millis(settings.heartbeat))),
            pongs: RefCell::new(Deadlines::new(millis(settings.pong_timeout))),
            closes: RefCell::new(Deadlines::new(millis(settings.close_timeout))),
            limits_changed: Notify::new(),
            started: Instant::now(),
            winding_down: Cell::new(0),
            wound_down: Notify::new(),
            settings,
        }
    }

    /// Milliseconds since the thread started.
    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    fn index(&self, id: ConnectionId) -> usize {
        id.index(self.settings.io_threads)
    }

    fn get(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        let connection = connections.get(self.index(id))?.as_ref()?;
        (connection.id == id).then(|| connection.clone())
    }

    /// Takes an ended connection off the table.
    pub fn forget(&self, id: ConnectionId) {
        let index = self.index(id);
        let entry = self.connections.borrow_mut().get_mut(index).and_then(Option::take);
        if entry.is_some() && self.population.went(self.now()) {
            self.limits_changed.notify_one();
        }
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().flatten().cloned().collect()
    }

    /// Has the batch posted soon.
    pub fn batch_changed(&self) {
        self.batch_filled.notify_one();
    }

    /// Posts a batch that should not grow any more.
    pub fn post_if_full(&self) {
        if self.batch.borrow().is_full() {
            self.post();
        }
    }

    fn post(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            *batch = self.inbox.post(std::mem::take(&mut batch));
        }
    }

    /// Has a connection written to before anything else.
    pub fn mark_dirty(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            self.dirty.borrow_mut().push(connection.clone());
            self.log.nudge();
        }
    }

    fn mark_dirty_broadcast(&self, connection: &Rc<Connection>) {
        if !connection.dirty_broadcast.replace(true) {
            self.dirty_broadcast.borrow_mut().push_back(connection.clone());
        }
    }

    fn flush_direct(self: &Rc<Self>) {
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for connection in dirty.drain(..) {
            connection.dirty.set(false);
            connection.flush(self);
        }
        // Keeps the allocation, unless flushing marked something meanwhile.
        let mut slot = self.dirty.borrow_mut();
        if slot.is_empty() {
            *slot = dirty;
        }
    }

    fn flush_broadcasts(self: &Rc<Self>) {
        for _ in 0..BROADCAST_WRITES {
            let Some(connection) = self.dirty_broadcast.borrow_mut().pop_front() else { return };
            connection.dirty_broadcast.set(false);
            connection.flush(self);
        }
    }

    /// Carries out one segment. Returns whether it says to stop.
    fn apply(self: &Rc<Self>, segment: &mut Segment) -> bool {
        let Segment { ops, bytes } = segment;
        let mut ops = ops.drain(..).peekable();
        let mut stop = false;
        while let Some(op) = ops.next() {
            match op {
                Op::Adopt(adoption) => self.adopt(*adoption),
                Op::Frame(id, range) => self.send(id, &bytes[range], None),
                Op::SharedFrame(id, frame) => self.send(id, &frame, Some(&frame)),
                Op::Broadcast(mut broadcast) => {
                    let mut count = 1;
                    let mut merged = None;
                    while let Some(Op::Broadcast(next)) = ops.peek() {
                        let so_far = merged.as_ref().map_or(broadcast.frame.len(), BytesMut::len);
                        if !broadcast.same_recipients(next)
                            || so_far + next.frame.len() > MERGED_BYTES
                        {
                            break;
                        }
                        merged
                            .get_or_insert_with(|| BytesMut::from(&broadcast.frame[..]))
                            .extend_from_slice(&next.frame);
                        count += 1;
                        ops.next();
                    }
                    if let Some(merged) = merged {
                        broadcast.frame = merged.freeze();
                    }
                    self.broadcast(&broadcast, count);
                }
                Op::Close(id, frame) => self.close(id, &frame),
                Op::Overflow(id) => self.with(id, |connection| {
                    connection.overflow(&mut self.pool.borrow_mut());
                    self.mark_dirty(connection);
                }),
                Op::Ping(id) => self.with(id, |connection| {
                    connection.ping(&mut self.pool.borrow_mut());
                    self.mark_dirty(connection);
                }),
                Op::MarkAlive(id) => self.with(id, |connection| connection.pinged_at.set(None)),
                Op::MarkReady(id) => self.with(id, |connection| connection.ready.set(true)),
                Op::Pause(id) => self.with(id, |connection| connection.pause()),
                Op::Resume(id) => self.with(id, |connection| connection.resume()),
                Op::Release(id) => self.with(id, |connection| {
                    if connection.is_answering() {
                        connection::answer(self, connection);
                    }
                }),
                Op::Probed(id) => self.with(id, |connection| self.on_probed(connection)),
                Op::Bridge(key, news) => {
                    let bridge = self.bridges.borrow().get(&key).and_then(Weak::upgrade);
                    // What comes for a bridge that is gone comes too late.
                    let Some(bridge) = bridge else { continue };
                    match news {
                        StreamNews::Received(range) => bridge.receive(&bytes[range]),
                        StreamNews::Written(count) => bridge.written(count),
                        StreamNews::Ended => bridge.end(),
                        StreamNews::Closed => bridge.close(),
                    }
                }
                Op::TerminateAll => {
                    for connection in self.all() {
                        connection.interrupt(Ending::lost());
                    }
                }
                Op::Stop => stop = true,
            }
        }
        stop
    }

    fn with(&self, id: ConnectionId, act: impl FnOnce(&Rc<Connection>)) {
        if let Some(connection) = self.get(id) {
            act(&connection);
        }
    }

    fn adopt(self: &Rc<Self>, adoption: Adoption) {
        let Adoption { id, shared, source, response, replay, deflate } = adoption;
        let transport = match self.transport(source) {
            Ok(transport) => transport,
            Err(error) => {
                shared.alive.store(false, Ordering::Relaxed);
                let reason = format!("the socket could not be watched: {error}").into();
                let frame = CloseFrame { code: close::ABNORMAL, reason };
                self.batch.borrow_mut().push_closed(id.slot, frame);
                self.counters.connection_went();
                return self.batch_changed();
            }
        };
        let connection = Rc::new(Connection::new(id, shared, transport, deflate));
        {
            let mut connections = self.connections.borrow_mut();
            let index = self.index(id);
            if connections.len() <= index {
                connections.resize(index + 1, None);
            }
            connections[index] = Some(connection.clone());
        }
        self.population.came();
        connection.queue_response(&response, &mut self.pool.borrow_mut());
        self.mark_dirty(&connection);
        if !self.settings.heartbeat.is_zero() {
            self.start_heartbeat(id);
        }
        tokio::task::spawn_local(connection::run(self.clone(), connection, replay));
    }

    fn transport(self: &Rc<Self>, source: Source) -> io::Result<Transport> {
        match source {
            #[cfg(unix)]
            Source::Descriptor(socket) => Ok(Transport::Adopted(Adopted::watch(socket)?)),
            Source::Stream(key) => {
                let io = Rc::downgrade(self);
                let bridge = Rc::new(Bridge::new(Box::new(move |command| {
                    if let Some(io) = io.upgrade() {
                        io.command(key, command);
                    }
                })));
                self.bridges.borrow_mut().insert(key, Rc::downgrade(&bridge));
                Ok(Transport::Bridged(bridge))
            }
        }
    }

    /// Tells the stream behind a bridge what to do.
    fn command(&self, key: u32, command: Command) {
        if command == Command::Destroy {
            self.bridges.borrow_mut().remove(&key);
        }
        self.post_if_full();
        self.batch.borrow_mut().push_command(key, command);
        self.batch_changed();
    }

    /// Queues a frame that JavaScript has counted; `shared` is the same frame where it has its own
    /// allocation.
    fn send(&self, id: ConnectionId, frame: &[u8], shared: Option<&Bytes>) {
        // A connection that has ended took its count along; one that is closing sends no more.
        let Some(connection) = self.get(id) else { return };
        if !connection.takes_data() {
            return connection.uncount(frame.len());
        }
        let pool = &mut self.pool.borrow_mut();
        let sent = if let Some(compressed) = self.compressed_for(&connection, frame) {
            connection.uncount(frame.len());
            connection.queue_shared(&compressed, pool);
            compressed.len()
        } else {
            match shared {
                Some(shared) => connection.queue_counted_shared(shared, pool),
                None => connection.queue_counted(frame, pool),
            }
            frame.len()
        };
        self.mark_dirty(&connection);
        self.counters.sent(1, sent as u64);
    }

    /// The frames in `encoded` as this connection gets them, or `None` where that is as they are.
    fn compressed_for(&self, connection: &Connection, encoded: &[u8]) -> Option<Bytes> {
        let params = connection.deflate?;
        if !self.any_worth_compressing(encoded) {
            return None;
        }
        let level = self.settings.deflate_level;
        let bits = params.server_max_window_bits;
        if params.server_no_context_takeover {
            let mut deflaters = self.deflaters.borrow_mut();
            let deflater = deflaters[usize::from(bits)]
                .get_or_insert_with(|| Box::new(Deflater::new(level, bits, true)));
            return Some(self.compress(deflater, encoded));
        }
        let mut own = connection.deflater.borrow_mut();
        let deflater = own.get_or_insert_with(|| Box::new(Deflater::new(level, bits, false)));
        Some(self.compress(deflater, encoded))
    }

    fn is_worth_compressing(&self, payload: &[u8]) -> bool {
        !payload.is_empty() && payload.len() >= self.settings.deflate_threshold
    }

    fn any_worth_compressing(&self, mut encoded: &[u8]) -> bool {
        while let Some((_, payload, rest)) = split_encoded(encoded) {
            if self.is_worth_compressing(payload) {
                return true;
            }
            encoded = rest;
        }
        false
    }

    /// Compresses those frames that are worth it and copies the others.
    fn compress(&self, deflater: &mut Deflater, mut encoded: &[u8]) -> Bytes {
        let mut out = Vec::new();
        while let Some((opcode, payload, rest)) = split_encoded(encoded) {
            if self.is_worth_compressing(payload) {
                out.append(&mut deflater.frame(opcode, payload));
            } else {
                out.extend_from_slice(&encoded[..encoded.len() - rest.len()]);
            }
            encoded = rest;
        }
        out.into()
    }

    fn broadcast(self: &Rc<Self>, broadcast: &Broadcast, count: u64) {
        let (mut messages, mut dropped, mut bytes) = (0, 0, 0);
        // Compressed once for all that share no context with earlier messages, by window size.
        let mut compressed: [Option<Bytes>; WINDOW_SIZES] = Default::default();
        let mut deliver = |connection: &Rc<Connection>| {
            if broadcast.except == Some(connection.id) || !connection.takes_data() {
                return;
            }
            if !self.fits(connection, broadcast.frame.len(), count) {
                let delivered = self.deliver_what_fits(connection, &broadcast.frame);
                messages += delivered.messages;
                bytes += delivered.bytes;
                dropped += delivered.dropped;
                return;
            }
            let encode = || {
                let compressed = self.compressed_for(connection, &broadcast.frame);
                compressed.unwrap_or_else(|| broadcast.frame.clone())
            };
            let own;
            let frame = match connection.deflate {
                None => &broadcast.frame,
                Some(params) if params.server_no_context_takeover => {
                    let bits = usize::from(params.server_max_window_bits);
                    compressed[bits].get_or_insert_with(encode)
                }
                Some(_) => {
                    own = encode();
                    &own
                }
            };
            messages += count;
            bytes += frame.len() as u64;
            connection.queue_shared(frame, &mut self.pool.borrow_mut());
            self.mark_dirty_broadcast(connection);
        };
        let connections = self.connections.borrow();
        match &broadcast.target {
            Target::All => {
                connections.iter().flatten().filter(|each| each.ready.get()).for_each(deliver);
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
        self.counters.sent(messages, bytes);
        self.counters.dropped(dropped);
    }

    /// Broadcasts that were joined are more than the connection's queue takes: queues them one by
    /// one, as far as they fit.
    fn deliver_what_fits(&self, connection: &Rc<Connection>, mut frames: &[u8]) -> Delivered {
        let mut delivered = Delivered::default();
        while let Some((_, _, rest)) = split_encoded(frames) {
            let frame = &frames[..frames.len() - rest.len()];
            frames = rest;
            let pool = &mut self.pool.borrow_mut();
            // The first that does not fit may have closed the connection.
            if connection.takes_data() && self.fits(connection, frame.len(), 1) {
                let compressed = self.compressed_for(connection, frame);
                delivered.messages += 1;
                delivered.bytes += compressed.as_ref().map_or(frame.len(), Bytes::len) as u64;
                match compressed {
                    Some(compressed) => connection.queue_shared(&compressed, pool),
                    None => connection.queue(frame, pool),
                }
            } else {
                delivered.dropped += 1;
                if self.settings.overflow == Overflow::Close {
                    connection.overflow(pool);
                }
            }
        }
        self.mark_dirty_broadcast(connection);
        delivered
    }

    /// Whether a connection's queue takes `len` bytes more, which are `count` messages. One that is
    /// alone always fits.
    fn fits(&self, connection: &Connection, len: usize, count: u64) -> bool {
        let buffered = connection.shared.buffered.load(Ordering::Relaxed);
        let alone = buffered == 0 && count == 1;
        alone || buffered.saturating_add(len) <= self.settings.max_backpressure
    }

    fn close(&self, id: ConnectionId, frame: &CloseFrame) {
        self.with(id, |connection| {
            // The peer's answer has to be read.
            connection.resume();
            if connection.start_close(frame, &mut self.pool.borrow_mut()) {
                self.mark_dirty(connection);
                self.start_close_limit(id);
            }
        });
    }

    /// JavaScript has been told of a connection's end and is to release it, but not at leisure.
    pub fn expect_release(&self, id: ConnectionId) {
        self.start_close_limit(id);
    }

    fn start_heartbeat(&self, id: ConnectionId) {
        self.start_limit(&self.heartbeats, id, |_, connection| connection.is_open());
    }

    fn start_pong_limit(&self, id: ConnectionId) {
        self.start_limit(&self.pongs, id, |started, connection| {
            // The limit of an older ping, which has been answered, ends nobody.
            connection.pinged_at.get().is_some_and(|pinged_at| pinged_at <= started)
        });
    }

    fn start_close_limit(&self, id: ConnectionId) {
        self.start_limit(&self.closes, id, |_, connection| !connection.is_open());
    }

    /// `counts` tells whether a limit that was started at a time still matters to its connection.
    fn start_limit(
        &self,
        limits: &RefCell<Deadlines>,
        id: ConnectionId,
        counts: impl Fn(u64, &Connection) -> bool,
    ) {
        let counts = |started, id| self.get(id).is_some_and(|each| counts(started, &each));
        if limits.borrow_mut().start(self.now(), id, counts) {
            self.limits_changed.notify_one();
        }
    }

    fn enforce_limits(self: &Rc<Self>) {
        let now = self.now();
        if self.population.take_due(now) {
            memory::give_back();
        }
        while let Some(id) = take_due(&self.closes, now) {
            self.with(id, |connection| {
                if connection.is_closing() {
                    connection.interrupt(Ending::lost());
                } else if connection.is_answering() {
                    connection::answer(self, connection);
                }
            });
        }
        while let Some(id) = take_due(&self.pongs, now) {
            self.with(id, |connection| self.check_pong(connection, now));
        }
        while let Some(id) = take_due(&self.heartbeats, now) {
            self.with(id, |connection| self.beat(connection, now));
        }
    }

    fn beat(self: &Rc<Self>, connection: &Rc<Connection>, now: u64) {
        if !connection.is_open() {
            return;
        }
        connection.ping(&mut self.pool.borrow_mut());
        connection.flush(self);
        if connection.pinged_at.get().is_none() && !self.settings.pong_timeout.is_zero() {
            connection.pinged_at.set(Some(now));
            if !connection.probe(Probe::PingWritten) {
                self.start_pong_limit(connection.id);
            }
        }
        self.start_heartbeat(connection.id);
    }

    fn check_pong(self: &Rc<Self>, connection: &Rc<Connection>, now: u64) {
        let Some(pinged_at) = connection.pinged_at.get() else { return };
        if !connection.is_open() || now - pinged_at < millis(self.settings.pong_timeout) {
            return;
        }
        if self.gives_time_again(connection, now) {
            return;
        }
        if !connection.probe(Probe::PongRead) {
            connection.give_up_on_silent_peer(&mut self.pool.borrow_mut());
        }
    }

    /// Where we do not read, the pong may well be there: the peer gets its time again.
    fn gives_time_again(&self, connection: &Connection, now: u64) -> bool {
        let reads = !self.inbox.is_full() && !self.unread.is_full() && !connection.is_paused();
        if !reads {
            connection.pinged_at.set(Some(now));
            self.start_pong_limit(connection.id);
        }
        !reads
    }

    /// JavaScript has written and read what there was.
    fn on_probed(self: &Rc<Self>, connection: &Rc<Connection>) {
        let Some(probe) = connection.probed() else { return };
        let (io, connection) = (self.clone(), connection.clone());
        // What it has read has woken the connection's task, which runs before this one.
        tokio::task::spawn_local(async move {
            if !connection.is_open() || connection.pinged_at.get().is_none() {
                return;
            }
            let now = io.now();
            match probe {
                Probe::PingWritten => {
                    connection.pinged_at.set(Some(now));
                    io.start_pong_limit(connection.id);
                }
                Probe::PongRead if io.gives_time_again(&connection, now) => {}
                Probe::PongRead => {
                    connection.give_up_on_silent_peer(&mut io.pool.borrow_mut());
                }
            }
        });
    }
}

/// What became of broadcasts to one connection.
#[derive(Debug, Default)]
struct Delivered {
    messages: u64,
    bytes: u64,
    dropped: u64,
}

fn take_due(limits: &RefCell<Deadlines>, now: u64) -> Option<ConnectionId> {
    limits.borrow_mut().take_due(now)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
