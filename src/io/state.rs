//! What the tasks of an I/O thread share.

use std::cell::RefCell;
#[cfg(unix)]
use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::connection::Connection;
use super::deadlines::Timers;
use super::population::Population;
#[cfg(unix)]
use super::securing::Pump;
use super::turns::Turns;
use super::unread::UnreadBytes;
use crate::exchange::inbox::{Batch, What};
use crate::exchange::oplog::OpLog;
use crate::exchange::{Common, ConnectionId, Counters, Settings};
use crate::session::{Resources, Session};
use crate::transport::Transport;
use crate::transport::bridge::{Bridge, Command};
#[cfg(unix)]
use crate::transport::secured::TlsBuffers;

/// Bytes read from a socket at a time, into one buffer that all connections share.
const READ_BYTES: usize = 256 << 10;

/// Everything on an I/O thread. Owned by it, shared by its tasks, never seen by another thread.
pub(super) struct IoThread {
    pub common: Arc<Common>,
    pub counters: Arc<Counters>,
    pub log: Arc<OpLog>,
    /// Which of the engine's I/O threads this is.
    pub number: usize,
    /// By [`ConnectionId::index`]. Ended connections are not in here.
    pub connections: RefCell<Vec<Option<Rc<Connection>>>>,
    pub population: Population,
    /// By key, also those of connections that have ended but still have something to write.
    pub bridges: RefCell<FxHashMap<u32, Weak<Bridge>>>,
    /// What serves the HTTP requests of connections over TLS, by key.
    #[cfg(unix)]
    pub pumps: RefCell<FxHashMap<u32, Pump>>,
    /// Bytes that are kept for TLS handshakes.
    #[cfg(unix)]
    pub greeting_bytes: Cell<usize>,
    /// Clients that have broken TLS and are being seen off.
    #[cfg(unix)]
    pub seen_off: Cell<usize>,
    /// What all connections over TLS use. There once there has been one.
    #[cfg(unix)]
    pub tls_buffers: OnceCell<Rc<TlsBuffers>>,
    /// Events to be posted once the tasks that are ready have run.
    pub batch: RefCell<Batch>,
    /// Tells the posting task that the batch is no longer empty.
    pub batch_filled: Notify,
    /// The buffer that sockets are read into.
    pub scratch: RefCell<Box<[u8]>>,
    /// What sessions share. Borrowed for the length of one call of a session.
    pub resources: RefCell<Resources>,
    /// Bytes that have been read and wait for JavaScript to take what came before them.
    pub unread: UnreadBytes,
    /// Readers that wait for JavaScript to take what others have read.
    pub turns: Turns,
    /// Connections with direct sends or pongs to be written.
    pub dirty: RefCell<Vec<Rc<Connection>>>,
    /// Connections with nothing but broadcasts to be written.
    pub dirty_broadcast: RefCell<VecDeque<Rc<Connection>>>,
    pub timers: Timers,
    /// Connections that have ended and have something to write, or linger for the peer's end of
    /// stream, by generation; and the news that one of them, or a pump, has finished.
    pub leaving: RefCell<FxHashMap<u32, Rc<Connection>>>,
    pub left: Notify,
}

impl IoThread {
    pub fn new(
        number: usize,
        common: Arc<Common>,
        log: Arc<OpLog>,
        counters: Arc<Counters>,
    ) -> Self {
        let limits = common.settings.limits.clone();
        Self {
            counters,
            log,
            number,
            connections: RefCell::default(),
            population: Population::default(),
            bridges: RefCell::default(),
            #[cfg(unix)]
            pumps: RefCell::default(),
            #[cfg(unix)]
            greeting_bytes: Cell::new(0),
            #[cfg(unix)]
            seen_off: Cell::new(0),
            #[cfg(unix)]
            tls_buffers: OnceCell::new(),
            batch: RefCell::default(),
            batch_filled: Notify::new(),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            resources: RefCell::new(Resources::new(limits, common.memory.clone())),
            unread: UnreadBytes::default(),
            turns: Turns::default(),
            dirty: RefCell::default(),
            dirty_broadcast: RefCell::default(),
            timers: Timers::new(),
            leaving: RefCell::default(),
            left: Notify::new(),
            common,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.common.settings
    }

    pub fn index(&self, id: ConnectionId) -> usize {
        id.index(self.settings().io_threads)
    }

    pub fn get(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        let connection = connections.get(self.index(id))?.as_ref()?;
        (connection.id == id).then(|| connection.clone())
    }

    /// A connection that has ended and is being seen out.
    pub fn leaving(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        self.leaving.borrow().get(&id.generation).cloned()
    }

    pub fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().flatten().cloned().collect()
    }

    /// Takes a connection on the table.
    pub fn remember(&self, connection: &Rc<Connection>) {
        let index = self.index(connection.id);
        let mut connections = self.connections.borrow_mut();
        if connections.len() <= index {
            connections.resize(index + 1, None);
        }
        connections[index] = Some(connection.clone());
        self.population.came();
    }

    /// Takes an ended connection off the table.
    pub fn forget(&self, id: ConnectionId) {
        if self.get(id).is_none() {
            return;
        }
        self.connections.borrow_mut()[self.index(id)] = None;
        if self.population.went(self.timers.now()) {
            self.timers.changed.notify_one();
        }
    }

    /// Whether nothing is on its way out any more.
    pub fn has_all_left(&self) -> bool {
        #[cfg(unix)]
        let pumping = !self.pumps.borrow().is_empty();
        #[cfg(not(unix))]
        let pumping = false;
        self.leaving.borrow().is_empty() && !pumping
    }

    /// Whether bytes of peers are read, as far as that does not depend on the peer.
    pub fn reads(&self) -> bool {
        !self.inbox_is_full() && !self.unread.is_full()
    }

    /// Whether the bytes of this one's peer are: otherwise a pong may be among them.
    pub fn reads_from(&self, connection: &Connection) -> bool {
        self.reads() && !connection.marks.waits_to_read.get()
    }

    /// Whether JavaScript takes no more events of this thread for now.
    pub fn inbox_is_full(&self) -> bool {
        self.common.inbox.is_full(self.number)
    }

    /// After something may have been added to what is kept, or buffers have been given back: has
    /// connections ended if that is too much, as soon as other tasks let it, and buffers freed if
    /// nobody needs them in a while.
    pub fn look_at_memory(&self) {
        let mut resources = self.resources.borrow_mut();
        resources.tell();
        if self.common.memory.excess() > 0 {
            self.common.pressure[self.number].wanted.notify_one();
        }
        if !resources.pool.is_empty() {
            self.timers.schedule_trim();
        }
    }

    /// Counts what waits at a bridge.
    pub fn recount(&self, bridge: &Bridge) {
        self.keep(bridge.recount());
    }

    /// Counts what a transport keeps beside the session.
    pub fn recount_transport(&self, transport: &Transport) {
        self.keep(transport.recount());
    }

    fn keep(&self, (before, now): (usize, usize)) {
        if before != now {
            self.resources.borrow_mut().recount(before, now);
        }
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

    pub fn post(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            *batch = self.common.inbox.post(self.number, std::mem::take(&mut batch));
        }
    }

    /// Tells JavaScript something about a connection.
    pub fn tell_news(&self, connection: &Connection, what: What) {
        self.post_if_full();
        self.batch.borrow_mut().push_news(connection.id.slot, what);
        self.batch_changed();
    }

    /// Tells JavaScript that all has left what a connection had to send, if it wants to know.
    pub fn tell_drained(&self, connection: &Connection, session: &Session) {
        if session.takes_drained() {
            self.tell_news(connection, What::Drained);
        }
    }

    /// Tells the stream behind a bridge what to do.
    pub fn command(&self, key: u32, command: Command) {
        self.post_if_full();
        self.batch.borrow_mut().push_command(key, command);
        self.batch_changed();
    }

    /// Has a connection written to before anything else.
    pub fn mark_dirty(&self, connection: &Rc<Connection>) {
        if self.remember_dirty(connection) {
            self.log.nudge();
        }
    }

    /// The same, once somebody else nudges. Returns `true` if it was not to be written to before.
    pub fn remember_dirty(&self, connection: &Rc<Connection>) -> bool {
        let news = !connection.marks.dirty.replace(true);
        if news {
            self.dirty.borrow_mut().push(connection.clone());
        }
        news
    }

    pub fn mark_dirty_broadcast(&self, connection: &Rc<Connection>) {
        if !connection.marks.dirty_broadcast.replace(true) {
            self.dirty_broadcast.borrow_mut().push_back(connection.clone());
        }
    }
}
