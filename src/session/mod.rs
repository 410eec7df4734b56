//! One connection as a state machine: no socket, no clock, no thread.
//!
//! Bytes of the peer and commands of JavaScript go into a [`Session`]; messages come out through
//! [`Events`], bytes for the peer through [`Session::slices`], and everything else that somebody
//! has to do as [`Effects`]. Who reads, writes and keeps the time is not known here.

mod account;
mod liveness;
mod memory;
mod outbox;
mod rate;
mod receiving;
mod resources;
mod sending;
mod state;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

pub use account::Account;
pub use liveness::{Deadline, Question};
pub use memory::Memory;
pub use rate::{MessageRate, RatePolicy};
pub use receiving::{Appetite, Events};
pub use resources::{Limits, Overflow, Resources};
pub use sending::{Delivered, Outgoing};
pub use state::{Course, Effects, Session};
pub use terms::{Compression, Terms};
pub use writer::{Taken, WriterToken};
