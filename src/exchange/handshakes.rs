//! Connections whose TLS handshake is over, until the JavaScript thread takes them.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

use crate::tls::session::Facts;

/// What came of a handshake: a client, or why there is none.
pub type Outcome = Result<Client, String>;

/// A client with whom TLS is spoken.
#[derive(Debug)]
pub struct Client {
    /// One end of a pair of sockets: what the client says comes out of it as plaintext, and what is
    /// written to it goes to the client.
    pub plain: OwnedFd,
    /// What is known of the client.
    pub facts: Facts,
}

/// The outcomes of handshakes that nobody has taken, by the keys of their pumps. Bounded by how many
/// handshakes the JavaScript thread has begun and not heard of.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<FxHashMap<u32, Outcome>>);

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
