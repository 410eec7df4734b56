//! What all threads of an engine share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Notify;

#[cfg(unix)]
use super::handshakes::{CutShort, Handshakes};
use super::inbox::{Inbox, Wake};
use crate::session::{Limits, Memory};

/// Limits and times of an engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// I/O threads, at least one.
    pub io_threads: u32,
    /// Time for the answer to a close frame.
    pub close_timeout: Duration,
    /// Most bytes that are kept for all connections together.
    pub max_buffered_bytes: usize,
    /// Limits that all connections have in common.
    pub limits: Limits,
}

/// Shared by all threads of an engine.
pub struct Common {
    /// Set once.
    pub settings: Settings,
    /// Events for JavaScript.
    pub inbox: Inbox,
    /// What is kept for connections.
    pub memory: Arc<Memory>,
    /// What came of TLS handshakes.
    #[cfg(unix)]
    pub handshakes: Handshakes,
    /// Pumps whose end of Node's was closed in the middle of something.
    #[cfg(unix)]
    pub cut_short: CutShort,
    /// What I/O threads tell each other when too much is kept, by thread.
    pub pressure: Box<[Pressure]>,
}

/// What an I/O thread tells the others, and is told, when too much is kept.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Tells this thread to look for the worst of its connections.
    pub wanted: Notify,
    /// Bytes that its heaviest connection keeps, while too much is kept; otherwise 0.
    pub heaviest: AtomicUsize,
    /// What they keep together, likewise.
    pub sum: AtomicUsize,
}

impl Common {
    /// For an engine with these settings; `wake` is called whenever events wait.
    pub fn new(settings: Settings, wake: Wake) -> Self {
        let memory = Arc::new(Memory::new(settings.max_buffered_bytes));
        let pressure = (0..settings.io_threads).map(|_| Pressure::default()).collect();
        Self {
            inbox: Inbox::new(settings.io_threads as usize, wake),
            settings,
            memory,
            #[cfg(unix)]
            handshakes: Handshakes::default(),
            #[cfg(unix)]
            cut_short: CutShort::default(),
            pressure,
        }
    }
}
