//! Moves bytes between a session and its transport, and does what the session asks for.
//!
//! One task reads ([`read_until_done`]). Writing happens wherever bytes were queued, by [`flush`]; a
//! second task waits for the socket only while it does not take more, and a third sees a connection
//! out that has ended.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use super::state::IoThread;
use super::turns::Turn;
use crate::exchange::Places;
use crate::exchange::inbox::What;
use crate::session::{Appetite, Course, Effects, Events, RatePolicy, Session};
use crate::transport::{Ready, Transport};

/// Once our side is done, how long the peer has to end its own before the descriptor is closed.
/// Closing earlier, with unread bytes, would reset the connection and could destroy the close
/// frame on its way.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long a connection that is being seen out waits where the JavaScript thread is writing to it.
const OUT_OF_TURN: Duration = Duration::from_millis(1);

/// More connections than this do not linger: whoever makes so many of them is not served by it.
const MAX_LINGERING: usize = 1024;

/// Does what a session has asked for.
pub(super) fn settle(io: &Rc<IoThread>, connection: &Rc<Connection>, effects: Effects) {
    if let Some(deadline) = effects.start {
        io.start(deadline, connection.id);
    }
    if effects.ask
        && let Some(bridge) = connection.transport.bridge()
    {
        bridge.probe();
    }
    if let Some(report) = effects.ended {
        io.batch.borrow_mut().push_closed(connection.id.slot, report);
        io.batch_changed();
        connection.stop_reading();
    }
    if effects.pinged {
        connection.session.borrow_mut().pinged(io.timers.now_micros());
    }
    if effects.write {
        io.mark_dirty(connection);
    }
    match effects.course {
        None => {}
        Some(Course::HangUp) => {
            io.forget(connection.id);
            hang_up(io, connection);
            // One that is being seen out still waits for its stream to close.
            if let Some(bridge) = connection.transport.bridge()
                && !io.leaving.borrow().contains_key(&connection.id.generation)
            {
                io.bridges.borrow_mut().remove(&bridge.key());
            }
        }
        Some(Course::Drain) => {
            io.forget(connection.id);
            // Counted before the task runs: a stop that comes right behind waits for it.
            io.leaving.borrow_mut().insert(connection.id.generation, connection.clone());
            tokio::task::spawn_local(wind_down(io.clone(), connection.clone()));
        }
    }
}

/// Ends both directions at once, which also wakes a task that waits to write.
fn hang_up(io: &IoThread, connection: &Connection) {
    connection.stop_reading();
    connection.transport.shut_down(Shutdown::Both);
    io.recount_transport(&connection.transport);
}

/// Ends a connection without a handshake.
pub(super) fn lose(io: &Rc<IoThread>, connection: &Rc<Connection>) {
    let effects = connection.session.borrow_mut().lose(&mut io.resources.borrow_mut());
    settle(io, connection, effects);
}

// Reading.

/// Starts the task that reads. What Node had read before, `replay`, comes first.
pub(super) fn start_reading(io: &Rc<IoThread>, connection: &Rc<Connection>, replay: Vec<u8>) {
    let reading = Reading {
        turn: Turn::new(io),
        unread: Cell::new(0),
        io: io.clone(),
        connection: connection.clone(),
    };
    let mut replay = replay.into_boxed_slice();
    // A block, as a function would keep its arguments twice.
    let task = async move {
        if !replay.is_empty() {
            receive(&reading.io, &reading.connection, Some(&mut std::mem::take(&mut replay)));
        }
        read_until_done(&reading).await;
    };
    debug_assert!(size_of_val(&task) <= MAX_READER_BYTES, "{}", size_of_val(&task));
    let reader = tokio::task::spawn_local(task).abort_handle();
    // Set once, here.
    let _ = connection.reader.set(reader);
}

/// With so many bytes, tokio's allocation for a reader is 256 bytes long; beyond, it is 384.
const MAX_READER_BYTES: usize = 152;

/// What a reader has, as long as it reads.
struct Reading {
    io: Rc<IoThread>,
    connection: Rc<Connection>,
    turn: Turn,
    /// How much of what it has been sent and not parsed is counted in [`IoThread::unread`].
    unread: Cell<usize>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Self { io, connection, turn, unread } = self;
        turn.leave(io, connection);
        io.unread.recount(unread, 0);
        // Tokio catches a panic of a task. The connection must not be left behind.
        if std::thread::panicking() {
            lose(io, connection);
        }
    }
}

impl Reading {
    fn appetite(&self) -> Appetite {
        let Self { io, connection, unread, .. } = self;
        let appetite = io.appetite(connection);
        // Those of a connection that waits for its own handler keep nobody else waiting.
        let waits = appetite == Appetite::Unread;
        io.unread.recount(unread, if waits { connection.session.borrow().unread() } else { 0 });
        appetite
    }

    /// Goes on with bytes that have been read, unless it does not want to any more. Returns whether it has.
    fn go_on(&self) -> bool {
        let wants = self.io.appetite(&self.connection) == Appetite::Unread;
        if wants {
            receive(&self.io, &self.connection, None);
        }
        wants
    }

    /// Reads what is there. Returns `true` if others should get their turn before the next read.
    fn read(&self, mut ready: Ready<'_>) -> bool {
        let Self { io, connection, .. } = self;
        // While this waited, others may have filled what there was room for, and JavaScript may have
        // ended the connection.
        match io.appetite(connection) {
            Appetite::Hungry(most) if io.reads() => read_once(io, connection, most, &mut ready),
            _ => false,
        }
    }

    /// What to wait for before what has come may be read; `None` where that may be now.
    fn turn_to_read(&self) -> Option<impl Future<Output = ()> + Unpin> {
        self.turn.to_read(&self.io, &self.connection)
    }

    fn turn_to_go_on(&self) -> Option<impl Future<Output = ()> + Unpin> {
        self.turn.to_go_on(&self.io, &self.connection)
    }
}

/// Whatever it has across a wait takes room in each connection that rests.
async fn read_until_done(reading: &Reading) {
    loop {
        match reading.appetite() {
            Appetite::Done => return,
            // The rare waits are boxed.
            Appetite::Held => reading.connection.resumed.wait().await,
            Appetite::Limited(pause) => {
                reading.io.counters.paused();
                Box::pin(wait_for_rate(&reading.connection, pause)).await;
            }
            Appetite::Unread => {
                if let Some(turn) = reading.turn_to_go_on() {
                    turn.await;
                }
                if reading.go_on() {
                    // Others get their turn, as after a read that filled the buffer.
                    tokio::task::yield_now().await;
                }
            }
            Appetite::Hungry(_) if reading.io.unread.is_full() => {
                Box::pin(reading.io.unread.wait_for_room()).await;
            }
            Appetite::Hungry(_) => {
                let Ok(ready) = reading.connection.transport.readable().await else {
                    return lose(&reading.io, &reading.connection);
                };
                if let Some(turn) = reading.turn_to_read() {
                    turn.await;
                }
                if reading.read(ready) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Lets a peer wait that has sent as much as it may, unless the connection begins to close: then its
/// answer has to be read.
async fn wait_for_rate(connection: &Connection, pause: u64) {
    // Its pong may be there.
    connection.marks.waits_to_read.set(true);
    // Running out of time is what this waits for.
    let _ = tokio::time::timeout(Duration::from_millis(pause), connection.resumed.wait()).await;
    connection.marks.waits_to_read.set(false);
}

impl IoThread {
    /// Whether the session of a connection wants bytes now.
    fn appetite(&self, connection: &Connection) -> Appetite {
        let session = connection.session.borrow();
        session.appetite(self.now_for(&session), &self.resources.borrow())
    }

    /// The time in milliseconds, where it means something to a session.
    fn now_for(&self, session: &Session) -> u64 {
        if session.asks_for_time() { self.timers.now() } else { 0 }
    }
}

/// Reads what is there, but no more than `most` bytes. Returns `true` if the buffer was filled, so
/// that others should get their turn before the next read.
fn read_once(
    io: &Rc<IoThread>,
    connection: &Rc<Connection>,
    most: usize,
    ready: &mut Ready<'_>,
) -> bool {
    let mut scratch = io.scratch.borrow_mut();
    let most = most.min(scratch.len());
    let buffer = &mut scratch[..most];
    match connection.transport.read(buffer) {
        Ok(0) => {
            let session = &connection.session;
            let effects = session.borrow_mut().peer_ended(&mut io.resources.borrow_mut());
            settle(io, connection, effects);
            false
        }
        Ok(count) => {
            io.recount_transport(&connection.transport);
            // Otherwise the socket is empty, so the read that would only say so is saved. An end of
            // stream is a readiness of its own, which this does not clear.
            let full = count == buffer.len() || !ready.clear();
            receive(io, connection, Some(&mut buffer[..count]));
            full
        }
        Err(error) => {
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    io.recount_transport(&connection.transport);
                    io.look_at_memory();
                    return !ready.clear();
                }
                io::ErrorKind::Interrupted => {}
                _ => lose(io, connection),
            }
            false
        }
    }
}

/// Has the session parse `bytes`, or those that it has kept, and posts what they say.
fn receive(io: &Rc<IoThread>, connection: &Rc<Connection>, bytes: Option<&mut [u8]>) {
    let mut posting = Posting { io, connection, messages: 0, payload: 0 };
    let effects = {
        let session = &mut connection.session.borrow_mut();
        let now = io.now_for(session);
        let resources = &mut io.resources.borrow_mut();
        match bytes {
            Some(bytes) => session.receive(bytes, now, &mut posting, resources),
            None => session.go_on(now, &mut posting, resources),
        }
    };
    let Posting { messages, payload, .. } = posting;
    if messages > 0 {
        io.counters.received(messages, payload);
        io.batch_changed();
    }
    if effects != Effects::default() {
        settle(io, connection, effects);
    }
    io.look_at_memory();
}

/// Puts messages into the batch.
struct Posting<'a> {
    io: &'a IoThread,
    connection: &'a Connection,
    messages: u64,
    payload: u64,
}

impl Posting<'_> {
    fn count(&mut self, len: usize) {
        self.messages += 1;
        self.payload += len as u64;
        self.io.counters.sizes_received.add(len, 1);
        self.io.post_if_full();
    }
}

impl Events for Posting<'_> {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        self.count(payload.len());
        self.io.batch.borrow_mut().push_message(self.connection.id.slot, is_text, payload);
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        self.count(payload.len());
        self.io.batch.borrow_mut().push_owned(self.connection.id.slot, is_text, payload);
    }

    fn pong(&mut self, pinged_at: u64) {
        let micros = self.io.timers.now_micros().saturating_sub(pinged_at);
        self.io.tell_news(self.connection, What::Pong(micros.try_into().unwrap_or(u32::MAX)));
    }

    fn too_fast(&mut self, policy: RatePolicy) {
        self.io.counters.too_fast(policy);
    }

    fn is_full(&self) -> bool {
        self.io.inbox_is_full()
    }
}

// Writing.

/// What came of writing.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// The transport takes no more for now.
    Blocked,
    /// The JavaScript thread is writing, or has yet to hand over what is left of its frame.
    NotNow,
    Failed,
}

fn write(io: &IoThread, transport: &Transport, session: &mut Session) -> Written {
    let resources = &mut io.resources.borrow_mut();
    if !session.may_write() {
        return Written::NotNow;
    }
    loop {
        let slices = session.slices();
        if slices.is_empty() {
            return Written::All;
        }
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        let ends = session.is_draining() && asked == session.queued();
        let sent = transport.write(&slices, ends);
        drop(slices);
        match sent {
            Ok(count) => {
                session.wrote(count, resources);
                if count < asked {
                    return Written::Blocked;
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Written::Blocked,
                io::ErrorKind::Interrupted => {}
                _ => return Written::Failed,
            },
        }
    }
}

/// Writes what is queued now, and leaves the rest to a task where the socket takes no more.
pub(super) fn flush(io: &Rc<IoThread>, connection: &Rc<Connection>) {
    let mut session = connection.session.borrow_mut();
    if session.is_blocked() {
        return;
    }
    if session.is_draining() {
        // Before the write, because a client that has read the last byte may connect again before
        // this thread goes on.
        connection.place.linger();
    }
    match write(io, &connection.transport, &mut session) {
        Written::All => io.tell_drained(connection, &session),
        // It nudges when it is done.
        Written::NotNow => {
            connection.place.stop_lingering();
            io.remember_dirty(connection);
        }
        Written::Failed => {
            drop(session);
            lose(io, connection);
        }
        Written::Blocked => {
            connection.place.stop_lingering();
            session.block(&mut io.resources.borrow_mut());
            io.recount_transport(&connection.transport);
            io.counters.backpressure_began();
            tokio::task::spawn_local(write_rest(io.clone(), connection.clone()));
        }
    }
}

/// Writes until nothing is queued. Returns `false` if the transport fails.
async fn drain(io: &IoThread, connection: &Connection) -> bool {
    loop {
        let Ok(mut ready) = connection.transport.writable().await else { return false };
        let written = write(io, &connection.transport, &mut connection.session.borrow_mut());
        io.recount_transport(&connection.transport);
        match written {
            Written::All => {
                io.tell_drained(connection, &connection.session.borrow());
                return true;
            }
            Written::Failed => return false,
            Written::Blocked => _ = ready.clear(),
            // It takes the time of a system call, and happens to hardly anyone.
            Written::NotNow => tokio::time::sleep(OUT_OF_TURN).await,
        }
    }
}

async fn write_rest(io: Rc<IoThread>, connection: Rc<Connection>) {
    let written = loop {
        if !drain(&io, &connection).await {
            break false;
        }
        let mut session = connection.session.borrow_mut();
        // A pong that waited may have been queued.
        if !session.unblock(&mut io.resources.borrow_mut()) {
            break true;
        }
        session.block(&mut io.resources.borrow_mut());
    };
    io.counters.backpressure_ended();
    io.look_at_memory();
    if !written {
        lose(&io, &connection);
    }
}

/// Lets the last bytes reach the peer before the descriptor is closed.
async fn wind_down(io: Rc<IoThread>, connection: Rc<Connection>) {
    let limit = io.settings().close_timeout;
    let written = tokio::time::timeout(limit, finish_writing(&io, &connection)).await == Ok(true);
    let ended = written && linger(&io, &connection).await;
    // Nothing is left to be told of.
    let _ = connection.session.borrow_mut().lose(&mut io.resources.borrow_mut());
    // Where both sides have ended, there is nothing to be shut down, nor kept by a bare descriptor.
    if !ended || !connection.transport.is_bare() {
        hang_up(&io, &connection);
    }
    if let Some(bridge) = connection.transport.bridge() {
        // Its stream writes for as long as that may take, and has its place so long.
        let _ = tokio::time::timeout(limit + LINGER, bridge.closed()).await;
        io.bridges.borrow_mut().remove(&bridge.key());
    }
    io.leaving.borrow_mut().remove(&connection.id.generation);
    io.look_at_memory();
    io.left.notify_one();
}

/// Gives the peer a while to end its side, once ours has ended. Returns `true` if it has, or sends
/// nothing more: its last frame was a close frame, and all that came is read, so that closing the
/// descriptor resets nothing.
async fn linger(io: &IoThread, connection: &Connection) -> bool {
    let has_closed = connection.session.borrow().peer_has_closed();
    if has_closed && connection.transport.is_bare() {
        match discard(io, connection) {
            Discarded::Nothing | Discarded::End => return true,
            Discarded::Some => {}
        }
    }
    if io.leaving.borrow().len() > MAX_LINGERING {
        return false;
    }
    connection.place.linger();
    // Running out of time is as good as the end of stream.
    tokio::time::timeout(LINGER, discard_until_end(io, connection)).await.is_ok()
}

/// Writes what is queued, and ends our side. Returns `false` if the transport fails.
async fn finish_writing(io: &IoThread, connection: &Connection) -> bool {
    let waits = {
        let session = connection.session.borrow();
        // The JavaScript thread may be in the middle of a frame.
        session.queued() > 0 || !session.may_write()
    };
    let drained = !waits || drain(io, connection).await;
    if drained {
        connection.transport.shut_down(Shutdown::Write);
        if connection.transport.drain().await.is_err() {
            return false;
        }
        if let Some(bridge) = connection.transport.bridge()
            && !bridge.has_ended()
        {
            bridge.all_written().await;
        }
    }
    drained
}

impl IoThread {
    /// Has a connection with one of these places make room that has nothing to write any more.
    pub fn make_room(&self, wanted: &Places) {
        let leaving = self.leaving.borrow();
        let made = leaving.values().find(|each| each.place.cut_short(wanted));
        wanted.hear();
        if let Some(connection) = made {
            match connection.transport.bridge() {
                // The peer has gone, or may as well have.
                Some(bridge) if bridge.has_ended() => bridge.abort(),
                // A stream still writes what it has been given.
                _ => connection.transport.shut_down(Shutdown::Both),
            }
        }
    }
}

/// What came of throwing away what is there.
enum Discarded {
    /// Something, so there may be more.
    Some,
    /// Nothing is there for now.
    Nothing,
    /// Nor will there be.
    End,
}

fn discard(io: &IoThread, connection: &Connection) -> Discarded {
    match connection.transport.read(&mut io.scratch.borrow_mut()) {
        Ok(0) => Discarded::End,
        Ok(_) => Discarded::Some,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Discarded::Nothing,
            io::ErrorKind::Interrupted => Discarded::Some,
            _ => Discarded::End,
        },
    }
}

async fn discard_until_end(io: &IoThread, connection: &Connection) {
    loop {
        let Ok(mut ready) = connection.transport.readable().await else { return };
        match discard(io, connection) {
            Discarded::Some => tokio::task::yield_now().await,
            Discarded::Nothing if ready.clear() => {}
            Discarded::Nothing => tokio::task::yield_now().await,
            Discarded::End => return,
        }
    }
}
