//! TLS (RFC 8446, and RFC 5246 for version 1.2) by rustls: what a server presents and accepts
//! ([`config`]), and one connection as records in and out ([`session`]). Nothing here knows sockets.

pub mod client;
pub mod config;
pub mod session;
#[cfg(test)]
pub mod testing;
