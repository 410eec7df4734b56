//! Streams that a script writes: valid frames for the most part, so that deep states are reached,
//! with breaches of each rule in between. The script knows what RFC 6455 asks for, and when.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use nextrush_websocket_fuzz::feeding::{Connection, arbitrary_sizes};
use nextrush_websocket_fuzz::memory::Counting;
use nextrush_websocket_fuzz::script::Script;
use nextrush_websocket_fuzz::tungstenite_server;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let connection = Connection::arbitrary(&mut input);
    let sizes = arbitrary_sizes(&mut input);
    let script = Script::arbitrary(&mut input, connection);
    let (outcome, timeline) = connection.feed_in_every_way(&script.wire, &sizes);
    script.assert_met_by(&timeline);
    if connection.deflate.is_none() {
        tungstenite_server::assert_agrees(&script.wire, connection.limit, &outcome);
    }
});
