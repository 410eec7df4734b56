//! Any bytes as a connection: in any chunking the same comes out of it, in little memory, and
//! tungstenite reads the same.
//!
//! Input: a byte for limit and compression, the chunk sizes with their count before them, and then
//! the bytes of the connection.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use nextrush_websocket_fuzz::feeding::{Connection, arbitrary_sizes};
use nextrush_websocket_fuzz::memory::Counting;
use nextrush_websocket_fuzz::tungstenite_server;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let connection = Connection::arbitrary(&mut input);
    let sizes = arbitrary_sizes(&mut input);
    let wire = input.take_rest();
    let (outcome, _) = connection.feed_in_every_way(wire, &sizes);
    if connection.deflate.is_none() {
        tungstenite_server::assert_agrees(wire, connection.limit, &outcome);
    }
});
