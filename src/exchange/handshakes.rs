//! Connections whose TLS handshake is over, until the JavaScript thread takes them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::tls::session::Facts;

/// What came of a handshake: a client, or why there is none.
pub type Outcome = Result<Client, Failure>;

/// Why there is no client.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// A few words.
    pub reason: String,
    /// The client has done nothing wrong: this process is out of something.
    pub is_ours: bool,
    /// It did not begin with the PROXY header that it had to.
    pub lacks_header: bool,
}

/// A client with whom TLS is spoken.
#[derive(Debug)]
pub struct Client {
    /// One end of a pair of sockets: what the client says comes out of it as plaintext, and what is
    /// written to it goes to the client.
    pub plain: OwnedFd,
    /// What is known of the client.
    pub facts: Facts,
    /// Who it is, where a PROXY header said so.
    pub proxied: Option<SocketAddr>,
}

/// The outcomes of handshakes that nobody has taken, by the keys of their pumps. Bounded by how many
/// handshakes the JavaScript thread has begun and not heard of. The lock is held for one access.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<FxHashMap<u32, Outcome>>);

/// The keys of pumps whose end of Node's has been closed in the middle of something, so that its end
/// of stream is not the end of what was to be sent. Written before that descriptor is closed: whoever
/// sees the end of stream finds the key here. Bounded by the operations under way that say the same.
/// The lock is held for one access.
#[derive(Debug, Default)]
pub struct CutShort(Mutex<FxHashSet<u32>>);

impl CutShort {
    /// JavaScript thread: Node's end is about to be closed.
    pub fn insert(&self, key: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// I/O thread: whether an end of stream is none.
    pub fn contains(&self, key: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    /// I/O thread: the pump is over.
    pub fn remove(&self, key: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

impl Handshakes {
    /// I/O thread: a handshake is over. The event that says so is to follow.
    pub fn put(&self, key: u32, outcome: Outcome) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, outcome);
    }

    /// JavaScript thread: what came of a handshake, once.
    pub fn take(&self, key: u32) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)
    }
}
