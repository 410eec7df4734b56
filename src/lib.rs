//! The native half of `nextrush-websocket`: the WebSocket plugin of NextRush v2.
//!
//! Node accepts a connection and parses its upgrade request; JavaScript decides; from then on the
//! connection belongs to this crate.
//!
//! | module | knows | never knows |
//! | --- | --- | --- |
//! | [`handshake`] | request headers, path patterns, origin rules | sockets, napi |
//! | [`protocol`] | frames, messages, UTF-8, close codes | tokio, napi, rooms |
//! | [`transport`] | descriptors taken over from Node, streams that JavaScript pumps | frames |
//! | [`engine`] | the I/O threads, connections, rooms, heartbeat, statistics | napi |
//! | `binding` | options in, events out, the JavaScript classes | how a frame looks |

// Only Node can call it, so it is left out of unit tests, which run without Node.
#[cfg(not(test))]
mod binding;
pub mod engine;
pub mod handshake;
pub mod protocol;
pub mod transport;
