//! One connection on the I/O thread.
//!
//! A task reads, parses and reports ([`run`]). Writing happens wherever bytes were queued, by
//! [`Connection::write`]; a second task waits for the socket only while it does not take more.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;

use super::ids::ConnectionId;
use super::io_thread::IoThread;
use super::outbox::{BufferPool, Outbox};
use crate::protocol::{
    Assembler, CloseFrame, DeflateParams, Deflater, MAX_CONTROL_PAYLOAD, Opcode, Sink, close,
    encode_frame,
};
use crate::transport::{Ready, Transport};

/// Once our side is done, how long the peer has to end its own before the descriptor is closed.
/// Closing earlier, with unread bytes, would reset the connection and could destroy the close
/// frame on its way.
const LINGER: Duration = Duration::from_secs(2);

/// With so many bytes in the queue, a ping is not answered at once: of those that one read brings
/// from then on, only the last one is (RFC 6455 §5.5.3).
const MAX_QUEUED_FOR_PONG: usize = 64 << 10;

/// More connections than this do not linger: whoever makes so many of them is not served by it.
const MAX_LINGERING: usize = 1024;

/// The part of a connection that both threads see.
#[derive(Debug)]
pub struct Shared {
    /// Cleared by the I/O thread when the connection ends.
    pub alive: AtomicBool,
    /// When the last pong came, in milliseconds since 1970. Written by the I/O thread, and by the
    /// JavaScript thread in `markAlive`.
    pub last_pong: AtomicU64,
    /// Counts what moves `last_pong`, whose clock is too coarse to tell two of them apart.
    pub signs_of_life: AtomicU32,
    /// Bytes queued for the peer. The JavaScript thread adds what it sends to this connection, the
    /// I/O thread adds the rest and subtracts what has been written.
    pub buffered: AtomicUsize,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            alive: AtomicBool::new(true),
            last_pong: AtomicU64::new(epoch_ms()),
            signs_of_life: AtomicU32::new(0),
            buffered: AtomicUsize::new(0),
        }
    }

    /// The peer has shown that it lives.
    pub(super) fn mark_alive(&self) {
        self.last_pong.store(epoch_ms(), Ordering::Relaxed);
        self.signs_of_life.fetch_add(1, Ordering::Relaxed);
    }
}

/// Milliseconds since 1970, as JavaScript's `Date.now()`.
pub(super) fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// We sent a close frame and wait for the peer's.
    Closing,
    /// The peer closed, or broke the protocol. JavaScript has been told, but may still be busy with
    /// messages that came before: what it sends in answer to them goes out before the close frame.
    Answering,
    /// Nothing is sent any more.
    Ended,
}

/// What is to be known of a connection whose bytes JavaScript pumps: it may be too busy to do so.
#[derive(Debug, Clone, Copy)]
pub(super) enum Probe {
    /// The ping has been written: from then on the peer has its time.
    PingWritten,
    /// The pong is overdue, unless it was waiting to be read.
    PongRead,
}

/// How a connection ends.
#[derive(Debug)]
pub(super) struct Ending {
    /// What JavaScript is told.
    report: CloseFrame,
    then: Then,
}

/// What is still to be written once a connection has ended.
#[derive(Debug)]
enum Then {
    /// Nothing: the socket takes no more.
    HangUp,
    /// What is queued.
    Drain,
    /// Also what JavaScript answers to messages that came before, and then the close frame that the
    /// peer is owed, if it is.
    Answer(Option<CloseFrame>),
}

impl Ending {
    /// Without a close handshake: reset, end of stream, or a limit ran out.
    pub fn lost() -> Self {
        Self { report: without_handshake(), then: Then::HangUp }
    }

    /// The peer will send no more, without a close frame. It may well go on reading.
    fn end_of_stream(phase: Phase) -> Self {
        let then = if phase == Phase::Open { Then::Answer(None) } else { Then::Drain };
        Self { report: without_handshake(), then }
    }

    /// The peer closed, or has to be told that it broke the protocol.
    fn to_be_answered(frame: CloseFrame) -> Self {
        Self { then: Then::Answer(Some(frame.clone())), report: frame }
    }

    /// A close frame has been queued already; `report` is what it said.
    fn announced(report: CloseFrame) -> Self {
        Self { report, then: Then::Drain }
    }
}

fn without_handshake() -> CloseFrame {
    CloseFrame { code: close::ABNORMAL, reason: "".into() }
}

/// Owned by the I/O thread.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub shared: Arc<Shared>,
    transport: Transport,
    outbox: RefCell<Outbox>,
    /// What was agreed on compression, if anything.
    pub deflate: Option<DeflateParams>,
    /// The compressor, made by the first message that needs it, where messages share a context.
    pub deflater: RefCell<Option<Box<Deflater>>>,
    phase: Cell<Phase>,
    /// Set by whoever ends the connection from outside of its task.
    verdict: RefCell<Option<Ending>>,
    /// The close frame that is due once JavaScript has heard of the end.
    reply: RefCell<Option<Box<CloseFrame>>>,
    /// The close frame that we sent first. Once it is answered, it is what JavaScript is told:
    /// many clients answer without the reason.
    sent_close: RefCell<Option<Box<CloseFrame>>>,
    /// When the oldest unanswered ping was sent, in the thread's milliseconds.
    pub pinged_at: Cell<Option<u64>>,
    /// What JavaScript has been asked last, where it pumps the bytes, and how many of its answers
    /// are still to come. Only the last one counts.
    probe: Cell<(Probe, u32)>,
    /// The latest ping that came while the peer does not read, or while too much is queued. Only that
    /// one has to be answered (RFC 6455 §5.5.3), so a flood of pings cannot fill the outbox.
    unanswered_ping: RefCell<Option<Box<[u8]>>>,
    paused: Cell<bool>,
    resumed: Notify,
    /// A task waits for the socket to take more.
    writer_waits: Cell<bool>,
    /// A ping has been queued meanwhile.
    ping_waits: Cell<bool>,
    /// Whether broadcasts to everyone reach it: not before it has passed all middleware.
    pub ready: Cell<bool>,
    /// Stands in the list of connections to be flushed first.
    pub dirty: Cell<bool>,
    /// Stands in the list of connections with broadcasts to be flushed.
    pub dirty_broadcast: Cell<bool>,
}

/// What came of writing the outbox.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// The socket takes no more for now; whether it took anything.
    Blocked {
        progress: bool,
    },
    Failed,
}

impl Connection {
    pub fn new(
        id: ConnectionId,
        shared: Arc<Shared>,
        transport: Transport,
        deflate: Option<DeflateParams>,
    ) -> Self {
        Self {
            id,
            shared,
            transport,
            outbox: RefCell::default(),
            deflate,
            deflater: RefCell::default(),
            phase: Cell::new(Phase::Open),
            verdict: RefCell::default(),
            reply: RefCell::default(),
            sent_close: RefCell::default(),
            pinged_at: Cell::new(None),
            probe: Cell::new((Probe::PingWritten, 0)),
            unanswered_ping: RefCell::default(),
            paused: Cell::new(false),
            resumed: Notify::new(),
            writer_waits: Cell::new(false),
            ping_waits: Cell::new(false),
            ready: Cell::new(false),
            dirty: Cell::new(false),
            dirty_broadcast: Cell::new(false),
        }
    }

    pub fn is_open(&self) -> bool {
        self.phase.get() == Phase::Open
    }

    pub fn is_closing(&self) -> bool {
        self.phase.get() == Phase::Closing
    }

    pub fn is_answering(&self) -> bool {
        self.phase.get() == Phase::Answering
    }

    /// Where JavaScript pumps the bytes: has it say when it has done so, and returns true.
    pub fn probe(&self, probe: Probe) -> bool {
        let Some(bridge) = self.transport.bridge() else { return false };
        let (_, answers) = self.probe.get();
        self.probe.set((probe, answers + 1));
        bridge.probe();
        true
    }

    /// JavaScript's answer, if it is the last one to come.
    pub fn probed(&self) -> Option<Probe> {
        let (probe, answers) = self.probe.get();
        let answers = answers.saturating_sub(1);
        self.probe.set((probe, answers));
        (answers == 0).then_some(probe)
    }

    /// Whether data may still be sent.
    pub fn takes_data(&self) -> bool {
        matches!(self.phase.get(), Phase::Open | Phase::Answering)
    }

    /// Queues the 101 response.
    pub fn queue_response(&self, response: &[u8], pool: &mut BufferPool) {
        self.shared.buffered.fetch_add(response.len(), Ordering::Relaxed);
        self.outbox.borrow_mut().push_response(response, pool);
    }

    /// Queues bytes that JavaScript has counted already.
    pub fn queue_counted(&self, frame: &[u8], pool: &mut BufferPool) {
        self.outbox.borrow_mut().push(frame, pool);
    }

    /// As [`Self::queue_counted`], without a copy.
    pub fn queue_counted_shared(&self, frame: &Bytes, pool: &mut BufferPool) {
        self.outbox.borrow_mut().push_shared(frame, pool);
    }

    /// Queues bytes that nobody has counted.
    pub fn queue(&self, frame: &[u8], pool: &mut BufferPool) {
        self.shared.buffered.fetch_add(frame.len(), Ordering::Relaxed);
        self.queue_counted(frame, pool);
    }

    /// As [`Self::queue`], without a copy.
    pub fn queue_shared(&self, frame: &Bytes, pool: &mut BufferPool) {
        self.shared.buffered.fetch_add(frame.len(), Ordering::Relaxed);
        self.queue_counted_shared(frame, pool);
    }

    fn queue_control(&self, opcode: Opcode, payload: &[u8], pool: &mut BufferPool) {
        let mut frame = Vec::with_capacity(2 + MAX_CONTROL_PAYLOAD);
        encode_frame(&mut frame, opcode, payload);
        self.queue(&frame, pool);
    }

    /// Takes back the count of a frame that JavaScript sent but that is not going to be written.
    pub fn uncount(&self, len: usize) {
        self.shared.buffered.fetch_sub(len, Ordering::Relaxed);
    }

    /// Queues a ping, but no more than one for a peer that does not read.
    pub fn ping(&self, pool: &mut BufferPool) {
        if !self.is_open() || (self.writer_waits.get() && self.ping_waits.replace(true)) {
            return;
        }
        self.queue_control(Opcode::Ping, b"", pool);
    }

    /// Starts the close handshake. Returns `false` if it had begun already.
    pub fn start_close(&self, frame: &CloseFrame, pool: &mut BufferPool) -> bool {
        if !self.is_open() {
            return false;
        }
        self.queue_control(Opcode::Close, &frame.payload(), pool);
        self.phase.set(Phase::Closing);
        *self.sent_close.borrow_mut() = Some(Box::new(frame.clone()));
        true
    }

    /// The peer is silent for too long: it is told with 1001, if that can still be written.
    pub fn give_up_on_silent_peer(&self, pool: &mut BufferPool) {
        let frame = CloseFrame { code: close::GOING_AWAY, reason: "no pong in time".into() };
        self.start_close(&frame, pool);
        match self.write(pool) {
            Written::All => self.interrupt(Ending::announced(frame)),
            Written::Blocked { .. } | Written::Failed => self.interrupt(Ending::lost()),
        }
    }

    /// The queue is over its limit: what has not begun to leave is dropped, and the peer is told
    /// with 1008 should it read again.
    pub fn overflow(&self, pool: &mut BufferPool) {
        if !self.is_open() {
            return;
        }
        let dropped = self.outbox.borrow_mut().drop_unsent();
        self.uncount(dropped);
        let reason = "maxBackpressure exceeded: the peer reads too slowly";
        let frame = CloseFrame { code: close::POLICY_VIOLATION, reason: reason.into() };
        self.start_close(&frame, pool);
        self.interrupt(Ending::announced(frame));
    }

    /// Ends the connection from outside of its task, which sees an end of stream and reports.
    pub fn interrupt(&self, ending: Ending) {
        self.verdict.borrow_mut().get_or_insert(ending);
        self.transport.shut_down(Shutdown::Read);
        self.resume();
    }

    pub fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Has the task read no more. One that is about to end has to see that.
    pub fn pause(&self) {
        if self.is_open() && self.verdict.borrow().is_none() {
            self.paused.set(true);
        }
    }

    pub fn resume(&self) {
        if self.paused.replace(false) {
            self.resumed.notify_one();
        }
    }

    /// Writes as much of the outbox as the socket takes.
    fn write(&self, pool: &mut BufferPool) -> Written {
        let mut outbox = self.outbox.borrow_mut();
        let mut progress = false;
        while !outbox.is_empty() {
            let slices = outbox.slices();
            let asked: usize = slices.iter().map(|slice| slice.len()).sum();
            let sent = self.transport.write(&slices);
            drop(slices);
            match sent {
                Ok(count) => {
                    progress |= count > 0;
                    outbox.consume(count, pool);
                    self.uncount(count);
                    if count < asked {
                        return Written::Blocked { progress };
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Written::Blocked { progress };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    let len = outbox.len();
                    *outbox = Outbox::default();
                    self.uncount(len);
                    return Written::Failed;
                }
            }
        }
        Written::All
    }

    /// Writes what is queued now, and leaves the rest to a task where the socket takes no more.
    pub fn flush(self: &Rc<Self>, io: &Rc<IoThread>) {
        if self.writer_waits.get() {
            return;
        }
        let written = self.write(&mut io.pool.borrow_mut());
        match written {
            Written::All => {}
            Written::Failed => self.interrupt(Ending::lost()),
            Written::Blocked { .. } => {
                self.writer_waits.set(true);
                io.counters.backpressure_began();
                tokio::task::spawn_local(write_rest(io.clone(), self.clone()));
            }
        }
    }

    /// Nobody waits for the socket any more.
    fn writing_again(&self, io: &IoThread) {
        self.writer_waits.set(false);
        self.ping_waits.set(false);
        io.counters.backpressure_ended();
    }

    /// Writes until the outbox is empty or the socket fails.
    async fn drain(&self, io: &IoThread) -> bool {
        loop {
            let Ok(mut ready) = self.transport.writable().await else { return false };
            let written = self.write(&mut io.pool.borrow_mut());
            match written {
                Written::All => return true,
                Written::Failed => return false,
                Written::Blocked { progress } => {
                    if progress {
                        // The peer reads, so it lives, even if its pong waits behind our data.
                        self.pinged_at.set(None);
                    }
                    ready.clear();
                }
            }
        }
    }
}

async fn write_rest(io: Rc<IoThread>, connection: Rc<Connection>) {
    while connection.drain(&io).await {
        match connection.unanswered_ping.take() {
            // Nothing follows a close frame.
            Some(ping) if connection.takes_data() => {
                connection.queue_control(Opcode::Pong, &ping, &mut io.pool.borrow_mut());
            }
            _ => return connection.writing_again(&io),
        }
    }
    connection.writing_again(&io);
    connection.interrupt(Ending::lost());
}

/// The life of a connection: reads until it ends, then reports that and winds down.
pub(super) async fn run(io: Rc<IoThread>, connection: Rc<Connection>, replay: Vec<u8>) {
    let guard = PanicGuard { io: &io, connection: &connection };
    let ending = read_until_end(&io, &connection, replay).await;
    finish(&io, &connection, ending);
    drop(guard);
}

/// Tokio catches a panic of a task. This sees to it that its connection is not left behind.
struct PanicGuard<'a> {
    io: &'a Rc<IoThread>,
    connection: &'a Rc<Connection>,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.connection.phase.get() != Phase::Ended {
            finish(self.io, self.connection, Ending::lost());
        }
    }
}

async fn read_until_end(io: &Rc<IoThread>, connection: &Rc<Connection>, replay: Vec<u8>) -> Ending {
    let limit = io.settings.max_message_size;
    let mut assembler = match connection.deflate {
        Some(params) => Assembler::with_deflate(limit, params),
        None => Assembler::new(limit),
    };
    // Bytes that Node had read before the connection was taken over come first.
    let mut unread = io.unread.keep(replay);
    loop {
        if connection.paused.get() {
            // Those of a connection that waits for its own handler keep nobody else waiting.
            unread.set_aside();
            connection.resumed.notified().await;
            unread.count_again();
        } else if io.inbox.is_full() {
            io.inbox.wait_for_room().await;
        } else if !unread.is_empty() {
            let (taken, ending) = receive(io, connection, &mut assembler, unread.bytes());
            if let Some(ending) = ending {
                return ending;
            }
            unread.took(taken);
            // Others get their turn, as after a read that filled the buffer.
            tokio::task::yield_now().await;
        } else if io.unread.is_full() {
            io.unread.wait_for_room().await;
        } else {
            let Ok(mut ready) = connection.transport.readable().await else {
                return Ending::lost();
            };
            // While this waited, others may have filled what there was room for.
            if !connection.may_read(io) || io.unread.is_full() {
                continue;
            }
            match read_once(io, connection, &mut assembler, &mut ready) {
                ReadOutcome::Again => {}
                ReadOutcome::Full => tokio::task::yield_now().await,
                ReadOutcome::Stopped(rest) => unread = io.unread.keep(rest),
                ReadOutcome::End(ending) => return ending,
            }
        }
    }
}

impl Connection {
    /// Whether JavaScript takes more of this connection.
    fn may_read(&self, io: &IoThread) -> bool {
        !io.inbox.is_full() && !self.paused.get()
    }
}

enum ReadOutcome {
    Again,
    /// The buffer was filled: others get their turn before the next read.
    Full,
    /// JavaScript takes no more for now; these bytes have been read and not been looked at.
    Stopped(Vec<u8>),
    End(Ending),
}

fn read_once(
    io: &IoThread,
    connection: &Rc<Connection>,
    assembler: &mut Assembler,
    ready: &mut Ready<'_>,
) -> ReadOutcome {
    let mut scratch = io.scratch.borrow_mut();
    match connection.transport.read(&mut scratch) {
        Ok(0) => {
            let verdict = connection.verdict.take();
            let end = || Ending::end_of_stream(connection.phase.get());
            ReadOutcome::End(verdict.unwrap_or_else(end))
        }
        Ok(count) => {
            let full = count == scratch.len();
            if !full {
                // The socket is empty, so the read that would only say so is saved. An end of
                // stream is a readiness of its own, which this does not clear.
                ready.clear();
            }
            match receive(io, connection, assembler, &mut scratch[..count]) {
                (_, Some(ending)) => ReadOutcome::End(ending),
                (taken, None) if taken < count => {
                    ReadOutcome::Stopped(scratch[taken..count].to_vec())
                }
                (_, None) if full => ReadOutcome::Full,
                (_, None) => ReadOutcome::Again,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            ready.clear();
            ReadOutcome::Again
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadOutcome::Again,
        Err(_) => ReadOutcome::End(connection.verdict.take().unwrap_or_else(Ending::lost)),
    }
}

/// Parses bytes, posts what they say and answers pings. Returns how many bytes it took: fewer than
/// there are where JavaScript takes no more for now.
fn receive(
    io: &IoThread,
    connection: &Rc<Connection>,
    assembler: &mut Assembler,
    bytes: &mut [u8],
) -> (usize, Option<Ending>) {
    if let Some(ending) = connection.verdict.take() {
        return (0, Some(ending));
    }
    connection.pinged_at.set(None);
    let mut reception =
        Reception { io, connection, messages: 0, payload: 0, pongs: false, close: None };
    let result = assembler.feed(bytes, &mut reception);
    let Reception { messages, payload, pongs, close, .. } = reception;
    if messages > 0 {
        io.counters.received(messages, payload);
        io.batch_changed();
    }
    let last_ping =
        if connection.writer_waits.get() { None } else { connection.unanswered_ping.take() };
    if let Some(ping) = &last_ping {
        connection.queue_control(Opcode::Pong, ping, &mut io.pool.borrow_mut());
    }
    if pongs || last_ping.is_some() {
        io.mark_dirty(connection);
    }
    let (taken, over) = match (result, close) {
        (Err(violation), _) => {
            (0, CloseFrame { code: violation.code, reason: violation.reason.into() })
        }
        (Ok(taken), Some(frame)) => (taken, frame),
        (Ok(taken), None) => return (taken, None),
    };
    let ending = match connection.sent_close.take() {
        Some(sent) => Ending::announced(*sent),
        None => Ending::to_be_answered(over),
    };
    (taken, Some(ending))
}

/// Where the assembler puts what it finds in the bytes of one read.
struct Reception<'a> {
    io: &'a IoThread,
    connection: &'a Rc<Connection>,
    messages: u64,
    payload: u64,
    pongs: bool,
    close: Option<CloseFrame>,
}

impl Reception<'_> {
    /// Data that arrives after we started to close is dropped, as in browsers.
    fn counts(&mut self, len: usize) -> bool {
        let counts = self.connection.is_open();
        if counts {
            self.messages += 1;
            self.payload += len as u64;
        }
        counts
    }
}

impl Sink for Reception<'_> {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        if self.counts(payload.len()) {
            let slot = self.connection.id.slot;
            self.io.post_if_full();
            self.io.batch.borrow_mut().push_message(slot, is_text, payload);
        }
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        if self.counts(payload.len()) {
            let slot = self.connection.id.slot;
            self.io.post_if_full();
            self.io.batch.borrow_mut().push_owned(slot, is_text, payload);
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        if !self.connection.is_open() {
            return;
        }
        let queued = self.connection.outbox.borrow().len();
        if self.connection.writer_waits.get() || queued >= MAX_QUEUED_FOR_PONG {
            *self.connection.unanswered_ping.borrow_mut() = Some(payload.into());
        } else {
            let pool = &mut self.io.pool.borrow_mut();
            self.connection.queue_control(Opcode::Pong, payload, pool);
            self.pongs = true;
        }
    }

    fn pong(&mut self, _payload: &[u8]) {
        self.connection.shared.mark_alive();
    }

    fn close(&mut self, frame: CloseFrame) {
        self.close = Some(frame);
    }

    fn is_full(&self) -> bool {
        self.io.inbox.is_full()
    }
}

fn finish(io: &Rc<IoThread>, connection: &Rc<Connection>, ending: Ending) {
    io.batch.borrow_mut().push_closed(connection.id.slot, ending.report);
    io.batch_changed();
    match ending.then {
        Then::HangUp => end(io, connection, false),
        Then::Drain => end(io, connection, true),
        Then::Answer(frame) => {
            connection.phase.set(Phase::Answering);
            *connection.reply.borrow_mut() = frame.map(Box::new);
            io.expect_release(connection.id);
        }
    }
}

/// Sends the close frame that the peer is owed.
pub(super) fn answer(io: &Rc<IoThread>, connection: &Rc<Connection>) {
    if let Some(reply) = connection.reply.take() {
        let pool = &mut io.pool.borrow_mut();
        connection.queue_control(Opcode::Close, &reply.payload(), pool);
    }
    end(io, connection, true);
}

fn end(io: &Rc<IoThread>, connection: &Rc<Connection>, writable: bool) {
    connection.phase.set(Phase::Ended);
    connection.shared.alive.store(false, Ordering::Relaxed);
    io.forget(connection.id);
    if writable {
        // Counted before the task runs: a stop that comes right behind waits for it.
        io.winding_down.set(io.winding_down.get() + 1);
        tokio::task::spawn_local(wind_down(io.clone(), connection.clone()));
    } else {
        io.counters.connection_went();
        connection.hang_up();
    }
}

impl Connection {
    /// Ends both directions at once, which also wakes a task that waits to write.
    fn hang_up(&self) {
        let len = std::mem::take(&mut *self.outbox.borrow_mut()).len();
        self.uncount(len);
        self.transport.shut_down(Shutdown::Both);
    }
}

/// Lets the last bytes reach the peer before the descriptor is closed.
async fn wind_down(io: Rc<IoThread>, connection: Rc<Connection>) {
    let limit = io.settings.close_timeout;
    let drained = tokio::time::timeout(limit, connection.drain(&io)).await;
    // What lingers from here on has nothing to write, and is bounded by itself.
    io.counters.connection_went();
    if drained == Ok(true) {
        // Also where nobody lingers: without it, what a bridge has under way would be dropped.
        connection.transport.shut_down(Shutdown::Write);
        if io.winding_down.get() <= MAX_LINGERING {
            // Running out of time is as good as the end of stream.
            let _ = tokio::time::timeout(LINGER, discard_until_end(&io, &connection)).await;
        }
    }
    connection.hang_up();
    io.winding_down.set(io.winding_down.get() - 1);
    io.wound_down.notify_one();
}

async fn discard_until_end(io: &IoThread, connection: &Connection) {
    loop {
        let Ok(mut ready) = connection.transport.readable().await else { return };
        let read = connection.transport.read(&mut io.scratch.borrow_mut());
        match read {
            Ok(0) => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
