//! The native half of `nextrush-websocket`.

pub mod handshake;
pub mod protocol;
