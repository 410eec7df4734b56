//! The WebSocket protocol (RFC 6455) as plain state machines over byte slices.
//!
//! Bytes of a connection come in, messages and control frames come out; what goes to the peer is
//! encoded here too. Nothing in this folder knows sockets, tokio, Node or rooms, so all of it can
//! be tested with byte literals and fuzzed.

pub mod close;
mod codes;
pub mod deflate;
mod deflate_short;
pub mod frame;
pub mod frames;
pub mod mask;
pub mod message;

pub use close::{CloseFrame, Violation};
pub use deflate::{DeflateParams, Deflater};
pub use frame::{MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode, encode_frame, encode_header, payload_of};
pub use frames::{EncodedFrame, Frames};
pub use message::{Assembler, Sink};
