//! A thread on which connections live: one tokio runtime, and no locks on its own state.
//!
//! It moves bytes between [`transport`](crate::transport)s and
//! [`Session`](crate::session::Session)s, carries out the operation log, keeps the time, and posts
//! what has happened. What a connection does is not decided here.

mod connection;
mod deadlines;
mod delivery;
mod driving;
mod operations;
mod population;
mod relief;
#[cfg(unix)]
mod securing;
mod state;
mod thread;
mod timing;
mod turns;
mod unread;

pub use driving::LINGER;
pub use thread::run;
