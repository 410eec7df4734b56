//! `FrameHeader::parse` on any bytes, held against a table of the rules and against tungstenite;
//! then what the server encodes, read back by tungstenite.

#![no_main]

use std::io::Cursor;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nextrush_websocket::protocol::Frames;
use nextrush_websocket::protocol::close::{CloseFrame, MAX_REASON, PROTOCOL_ERROR};
use nextrush_websocket::protocol::frame::{
    FrameHeader, MAX_CLIENT_HEADER, MAX_HEADER, Opcode, encode_frame, encode_header,
};
use nextrush_websocket::protocol::mask;
use tungstenite::protocol::frame::FrameHeader as TheirHeader;
use tungstenite::protocol::frame::coding::OpCode;

fuzz_target!(|bytes: &[u8]| {
    for compression in [false, true] {
        the_rules_decide(bytes, compression);
        prefixes_ask_for_more_or_say_the_same(bytes, compression);
    }
    tungstenite_agrees(bytes);
    what_we_encode_can_be_read(bytes);
    masking_in_two_parts_is_masking(bytes);
    a_close_frame_survives_a_round_trip(bytes);
});

/// The rules about a client's header that `bytes` break, each with the number of bytes that it
/// takes to see it, in the words of the violation.
fn broken_rules(bytes: &[u8], compression: bool) -> Vec<(usize, &'static str)> {
    let at = |index: usize| bytes.get(index).copied();
    let mut broken = Vec::new();
    let Some(first) = at(0) else { return broken };
    let opcode = first & 0x0f;
    let control = opcode >= 8;
    let may_be_compressed = compression && matches!(opcode, 1 | 2);
    if first & 0x30 != 0 || (first & 0x40 != 0 && !may_be_compressed) {
        broken.push((1, "reserved bit set without an extension"));
    }
    if matches!(opcode, 3..=7 | 11..=15) {
        broken.push((1, "reserved opcode"));
    }
    if control && first & 0x80 == 0 {
        broken.push((1, "fragmented control frame"));
    }
    let Some(second) = at(1) else { return broken };
    if second & 0x80 == 0 {
        broken.push((2, "client frame is not masked"));
    }
    if control && second & 0x7f > 125 {
        broken.push((2, "control frame longer than 125 bytes"));
    }
    let field = match second & 0x7f {
        126 => bytes.get(2..4),
        127 => bytes.get(2..10),
        _ => None,
    };
    if let Some(field) = field {
        let len = field.iter().fold(0u64, |len, &byte| len << 8 | u64::from(byte));
        if len < if field.len() == 2 { 126 } else { 65_536 } {
            broken.push((2 + field.len(), "payload length not in its shortest form"));
        }
        if field.len() == 8 && field[0] & 0x80 != 0 {
            broken.push((10, "payload length with its top bit set"));
        }
    }
    broken
}

/// The length of the header that begins with `bytes`, once it can be told.
fn header_len(bytes: &[u8]) -> Option<usize> {
    Some(match bytes.get(1)? & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    })
}

fn the_rules_decide(bytes: &[u8], compression: bool) {
    let mut broken = broken_rules(bytes, compression);
    let seen_at = broken.iter().map(|(at, _)| *at).min();
    broken.retain(|(at, _)| Some(*at) == seen_at);
    match FrameHeader::parse(bytes, compression) {
        Err(violation) => {
            assert_eq!(violation.code, PROTOCOL_ERROR);
            assert!(violation.reason.len() <= MAX_REASON);
            let reasons: Vec<_> = broken.iter().map(|(_, rule)| *rule).collect();
            assert!(reasons.contains(&violation.reason), "{violation} is none of {reasons:?}");
        }
        Ok(parsed) => {
            assert_eq!(broken, [], "not refused");
            let complete = header_len(bytes).filter(|len| *len <= bytes.len());
            assert_eq!(parsed.map(|(_, len)| len), complete);
        }
    }
}

fn prefixes_ask_for_more_or_say_the_same(bytes: &[u8], compression: bool) {
    let all = FrameHeader::parse(bytes, compression);
    let mut decided = false;
    for len in 0..=bytes.len().min(MAX_CLIENT_HEADER) {
        let parsed = FrameHeader::parse(&bytes[..len], compression);
        decided |= parsed != Ok(None);
        assert_eq!(parsed, if decided { all } else { Ok(None) });
    }
}

fn tungstenite_agrees(bytes: &[u8]) {
    let ours = FrameHeader::parse(bytes, false);
    let mut cursor = Cursor::new(bytes);
    let theirs = TheirHeader::parse(&mut cursor);
    match (ours, theirs) {
        (Ok(None), theirs) => assert!(matches!(theirs, Ok(None)), "{theirs:?}"),
        (Ok(Some((ours, header_len))), Ok(Some((theirs, len)))) => {
            assert_eq!(header_len as u64, cursor.position());
            assert_eq!((ours.fin, ours.len), (theirs.is_final, len));
            assert_eq!((ours.opcode as u8, Some(ours.mask)), (theirs.opcode.into(), theirs.mask));
            assert!(!ours.compressed && !theirs.rsv1 && !theirs.rsv2 && !theirs.rsv3);
            let mut written = Vec::new();
            theirs.format(len, &mut written).expect("a Vec takes all that is written");
            assert_eq!(written, bytes[..header_len], "not the shortest form");
        }
        (Ok(Some(ours)), theirs) => panic!("{ours:?}, but tungstenite: {theirs:?}"),
        // It does not know all the rules, and waits for whole headers.
        (Err(_), _) => {}
    }
}

/// The first ten bytes say what is encoded, the others are the payload.
fn what_we_encode_can_be_read(bytes: &[u8]) {
    let Some((head, payload)) = bytes.split_first_chunk::<9>() else { return };
    let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let opcode = opcodes[usize::from(head[0]) % opcodes.len()];
    let any_len = u64::from_be_bytes(head[1..].try_into().expect("eight bytes")) >> 1;
    let mut header = [0; MAX_HEADER];
    let header_len = encode_header(&mut header, opcode, any_len as usize);
    let mut cursor = Cursor::new(&header[..header_len]);
    let (theirs, len) = TheirHeader::parse(&mut cursor).expect("valid").expect("complete");
    assert_eq!((cursor.position(), len), (header_len as u64, any_len));
    assert_eq!(
        theirs,
        TheirHeader { opcode: OpCode::from(opcode as u8), ..TheirHeader::default() }
    );

    let mut frames = Vec::new();
    encode_frame(&mut frames, opcode, payload);
    let first_end = frames.len();
    encode_frame(&mut frames, Opcode::Binary, head);
    assert!(frames[..first_end].ends_with(payload));
    let ends = vec![first_end, frames.len()];
    let both = Frames::with_ends(Bytes::from(frames), ends);
    let parts: Vec<_> = both.iter().map(|frame| (frame.opcode(), frame.payload())).collect();
    assert_eq!(parts, [(opcode, payload), (Opcode::Binary, &head[..])]);
}

fn masking_in_two_parts_is_masking(bytes: &[u8]) {
    let Some((&[a, b, c, d, at], payload)) = bytes.split_first_chunk::<5>() else { return };
    let key = [a, b, c, d];
    let expected: Vec<u8> =
        payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let mut masked = payload.to_vec();
    let (head, tail) = masked.split_at_mut(usize::from(at).min(payload.len()));
    let key = mask::apply(head, key);
    mask::apply(tail, key);
    assert_eq!(masked, expected);
}

fn a_close_frame_survives_a_round_trip(bytes: &[u8]) {
    if let Ok(frame) = CloseFrame::parse(bytes) {
        let payload = frame.payload();
        assert!(bytes.starts_with(&payload) && payload.len() <= 2 + MAX_REASON);
        if bytes.len() <= 2 + MAX_REASON {
            assert_eq!(payload, bytes);
        }
        assert!(CloseFrame::parse(&payload).is_ok(), "a reason is cut between characters");
    }
}
