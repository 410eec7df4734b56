//! All connections of a scenario and the poll they are registered with.

use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token};

use crate::Failure;
use crate::connection::{Batch, Connection, Ended, Shared, Stage};
use crate::target::Target;

/// Connections that may be between `connect` and 101 at a time: below the backlog of 511 that
/// Node listens with, so that no SYN is dropped and retried after a second.
const OPENING: usize = 256;

/// How long opening may stand still.
const STALL: Duration = Duration::from_secs(20);

/// The token of a [`mio::Waker`] on the fleet's poll.
pub const WAKER: Token = Token(usize::MAX);

/// Connections to one server, addressed by index.
pub struct Fleet {
    poll: Poll,
    events: Events,
    shared: Shared,
    connections: Vec<Connection>,
    /// How many of them are open.
    open: usize,
    /// Why connections ended, as far as nobody expected it.
    ended: Vec<Ended>,
    /// Whether the waker woke the last turn.
    woken: bool,
    /// Bytes of frames that arrived, headers included.
    received: u64,
}

impl Fleet {
    /// No connection yet.
    pub fn new(shared: Shared) -> Result<Self, Failure> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            shared,
            connections: Vec::new(),
            open: 0,
            ended: Vec::new(),
            woken: false,
            received: 0,
        })
    }

    /// Opens `count` more connections to the target and returns when all of them are open.
    pub fn open(&mut self, target: &Target, count: usize) -> Result<(), Failure> {
        let goal = self.connections.len() + count;
        let mut last_progress = Instant::now();
        while self.open < goal {
            while self.connections.len() < goal && self.connections.len() - self.open < OPENING {
                self.start_one(target)?;
            }
            let before = self.open;
            self.turn(Duration::from_millis(100), |_, _, _| Ok(()))?;
            if let Some(reason) = self.ended.first() {
                return Err(
                    format!("{} of {goal} connections open, then: {reason}", self.open).into()
                );
            }
            if self.open > before {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL {
                return Err(
                    format!("{} of {goal} connections open, then nothing", self.open).into()
                );
            }
        }
        Ok(())
    }

    fn start_one(&mut self, target: &Target) -> Result<(), Failure> {
        let index = self.connections.len();
        let mut connection = Connection::start(target, target.source(index))
            .map_err(|error| format!("connection {index}: {error}"))?;
        register(self.poll.registry(), &mut connection, index)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Waits for readiness once and handles it. `on_batch` gets the index of each connection that
    /// received whole messages, the connection, and how many.
    pub fn turn<F>(&mut self, timeout: Duration, mut on_batch: F) -> Result<(), Failure>
    where
        F: FnMut(usize, &mut Connection, Batch) -> std::io::Result<()>,
    {
        self.woken = false;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Token(index) = event.token();
            if event.token() == WAKER {
                self.woken = true;
                continue;
            }
            let connection = &mut self.connections[index];
            let before = connection.stage();
            let mut batch = Batch::default();
            let mut outcome = connection.on_ready(event, &mut self.shared, &mut batch);
            self.received += batch.bytes as u64;
            if batch.messages > 0 {
                outcome = outcome.and(on_batch(index, connection, batch).map_err(Ended::from));
            }
            let was_open = before == Stage::Open;
            match outcome {
                Ok(()) => self.open += usize::from(!was_open && connection.stage() == Stage::Open),
                Err(reason) => {
                    self.open -= usize::from(was_open);
                    self.ended.push(reason);
                }
            }
        }
        Ok(())
    }

    /// One connection.
    pub fn connection(&mut self, index: usize) -> &mut Connection {
        &mut self.connections[index]
    }

    /// All connections.
    pub fn connections(&mut self) -> &mut [Connection] {
        &mut self.connections
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// How many ended.
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Why the first connection that ended did so.
    pub fn first_end(&self) -> Option<String> {
        self.ended.first().map(ToString::to_string)
    }

    /// Bytes of frames that arrived since the start, headers included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Where a waker for [`WAKER`] registers.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Whether the waker woke the last turn.
    pub fn was_woken(&self) -> bool {
        self.woken
    }
}

/// Registers a connection for both directions; the poll is edge-triggered.
pub fn register(
    registry: &Registry,
    connection: &mut Connection,
    index: usize,
) -> std::io::Result<()> {
    registry.register(connection.stream(), Token(index), Interest::READABLE | Interest::WRITABLE)
}
