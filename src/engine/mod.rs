//! The JavaScript thread's side of the connections: which there are, the rooms they are in, and what
//! is asked of them.
//!
//! In come connections and operations, which go to the I/O threads in the order in which
//! JavaScript made them. Nothing here knows napi or a JavaScript value.
//!
//! Ordering promises: per connection, messages are delivered in the order of the wire and the
//! close event is the last; what JavaScript sends to a connection, directly or by broadcast,
//! leaves in the order of the calls. A broadcast reaches the members of the moment of the call.
//!
//! A connection stays on one I/O thread, and each of them has a log of its own. Events of all meet
//! in one inbox.

mod control;
mod local_members;
#[cfg(unix)]
mod lone;
pub mod rooms;
mod slots;
mod thread;

pub use control::{Engine, SendOptions, Sent, Welcome};
