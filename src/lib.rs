//! The native half of `nextrush-websocket`: the WebSocket plugin of NextRush v2.
//!
//! Node accepts a connection and parses its upgrade request; JavaScript decides; from then on the
//! connection belongs to this crate.
//!
//! | module | knows | never knows |
//! | --- | --- | --- |
//! | [`handshake`] | request headers, path patterns, origin rules | sockets, napi |
//! | [`protocol`] | frames, messages, UTF-8, compression, close codes | tokio, napi, rooms |
//! | [`session`] | one connection: its phases, queue and limits | sockets, clocks, threads |
//! | [`tls`] | certificates, records | sockets, frames |
//! | [`transport`] | descriptors taken over from Node, streams that JavaScript pumps | frames |
//! | [`exchange`] | what the threads hand each other: operations, events, numbers | sockets, napi |
//! | [`io`] | the I/O threads: who reads, who writes, what time it is | rooms, napi |
//! | [`engine`] | the JavaScript thread's side: slots, rooms, statistics | sockets, napi |
//! | `binding` | options in, events out, the JavaScript classes | how a frame looks |
//!
//! Each uses those above it, and none below, except that a handshake knows compression.

// Only Node can call it, so it is left out of unit tests, which run without Node.
#[cfg(not(test))]
mod binding;
pub mod cluster;
pub mod engine;
pub mod exchange;
pub mod handshake;
pub mod io;
pub mod protocol;
pub mod session;
#[cfg(unix)]
pub mod tls;
pub mod transport;
