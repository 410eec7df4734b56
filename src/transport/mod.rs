//! How bytes of a connection get in and out.
//!
//! Today that is a descriptor taken over from Node ([`adopted`]). Nothing here knows what a frame
//! is.

pub mod adopted;
