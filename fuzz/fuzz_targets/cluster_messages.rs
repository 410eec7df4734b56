//! What anybody may write into the channels of a cluster: members get text only where it is text, and
//! what is remembered of nodes that there may be has a bound.
//!
//! Input: messages, each with the channel that it comes in, and either any bytes or an envelope with any
//! fields.

#![no_main]

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use nextrush_websocket::cluster::envelope::{
    Addressees, Beat, Message, Origin, Position, RoomNames,
};
use nextrush_websocket::cluster::node::{Delivery, Members};
use nextrush_websocket::cluster::{Node, NodeOptions};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Bytes(bool, &'a [u8]),
    Message {
        node: u8,
        epoch: u8,
        stream: u8,
        number: u8,
        is_text: bool,
        rooms: Option<Vec<&'a [u8]>>,
        payload: &'a [u8],
    },
    Beat {
        node: u8,
        epoch: u8,
        number: u8,
        next_stream: u8,
        part: (u8, u8),
        is_last: bool,
        entries: Vec<(bool, u8, u8)>,
    },
    Want(bool),
    Reconnect,
}

struct Checked;

impl Members for Checked {
    fn deliver(&self, rooms: Option<&[&[u16]]>, is_text: bool, payload: &[u8]) -> Delivery {
        assert!(rooms.is_none_or(|names| names == [&ROOM[..]]));
        assert!(!is_text || std::str::from_utf8(payload).is_ok());
        Delivery::Sent
    }
}

const ROOM: [u16; 1] = [0x61];

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let one_channel = input.arbitrary().unwrap_or(false);
    let options =
        NodeOptions { id: [0; 16], one_channel, is_sharded: false, publish_buffer: 1 << 16 };
    let node = Node::new(options, Box::new(|| {}));
    node.set_members(Some(Arc::new(Checked)));
    while let Ok(step) = input.arbitrary::<Step<'_>>() {
        if input.is_empty() {
            break;
        }
        carry_out(&node, step);
    }
    node.tick(true);
    node.take_events();
    assert!(node.stats().nodes <= 1024);
});

fn carry_out(node: &Node, step: Step<'_>) {
    let origin = |node: u8, epoch: u8| Origin { node: [node; 16], epoch: epoch.into() };
    let position =
        |stream: u8, number: u8| Position { stream: stream.into(), number: number.into() };
    match step {
        Step::Bytes(true, bytes) => node.received_by_everyone(bytes),
        Step::Bytes(false, bytes) => node.received_in_room(b"a", bytes),
        Step::Message { node: from, epoch, stream, number, is_text, rooms, payload } => {
            let position = position(stream, number);
            let names = RoomNames::write(rooms.iter().flatten().copied());
            let to = match rooms.as_deref() {
                None => Addressees::Channel,
                Some([name]) => Addressees::Room(name),
                Some(_) => Addressees::Rooms(RoomNames::of(&names)),
            };
            let bytes = Message { is_text, position, to, payload }.encode(origin(from, epoch));
            node.received_by_everyone(&bytes);
            node.received_in_room(b"a", &bytes);
        }
        Step::Beat { node: from, epoch, number, next_stream, part, is_last, entries } => {
            let hashes = [nextrush_websocket::cluster::names::Channel::Everyone.hash(), [7; 16]];
            let entries = entries
                .into_iter()
                .map(|(which, stream, number)| {
                    (hashes[usize::from(which)], position(stream, number))
                })
                .collect();
            let beat = Beat {
                number: number.into(),
                next_stream: next_stream.into(),
                part: (part.0.into(), part.1.into()),
                is_last,
                entries,
            };
            node.received_by_everyone(&beat.encode(origin(from, epoch)));
        }
        Step::Want(true) => node.want(&ROOM),
        Step::Want(false) => node.unwant(&ROOM),
        Step::Reconnect => {
            node.begin_session(|_| true);
            while let Some(request) = node.next_request(|_| true) {
                for channel in request.channels {
                    node.request_done(request.subscribes, channel);
                }
            }
            node.up();
        }
    }
}
