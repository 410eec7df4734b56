//! Whole dialogues: what the peer, JavaScript and the clock do, and what comes of each step.
//!
//! The peer's frames are masked with zeros, so that they can be read.

use std::sync::Arc;

use bytes::Bytes;

use super::receiving::{MAX_HELD, MAX_HELD_BY_ALL};
use super::*;
use crate::protocol::{CloseFrame, DeflateParams, EncodedFrame, Frames, Opcode, encode_frame};

use Step::*;

/// What happens to a session.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// Bytes of the peer. They come only where the session takes them.
    Peer(&'a [u8]),
    /// The end of the peer's side.
    PeerEnds,
    /// JavaScript takes no more events, or does so again.
    InboxFull(bool),
    /// Bytes that were kept are parsed.
    GoOn,
    /// So many milliseconds pass.
    Passes(u64),
    HandlerReady,
    /// The same at a time.
    HandlerReadyAt(u64),
    /// JavaScript says from now on what it has taken, ...
    Pace,
    /// ... holds so many bytes of what came before, ...
    Holds(usize),
    /// ... and has taken so many messages at a time.
    Took(usize, u64),
    Send(&'a str),
    /// A message that is not to be compressed.
    SendUncompressed(&'a str),
    /// Messages to a room, made one behind the other.
    Broadcast(&'a [&'a str]),
    Close(u16, &'a str),
    Ping,
    /// JavaScript wants to hear how long pongs take, or no longer.
    TimePongs(bool),
    /// A ping that is sent at a time.
    PingAt(u64),
    MarkAlive,
    Release,
    /// The transport takes so many bytes, and then no more.
    Takes(usize),
    /// The transport takes everything.
    TakesAll,
    Runs(Deadline, u64),
    /// A limit, while bytes of peers are not read.
    RunsUnread(Deadline, u64),
    /// JavaScript's answer to a question, and its conclusion at a time.
    Answers(u64),
    Lost,
    Shed,
}

/// What a session has done, in words.
#[derive(Default)]
struct Heard {
    words: Vec<String>,
    full: bool,
}

impl Events for Heard {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        let kind = if is_text { "text" } else { "binary" };
        self.words.push(format!("{kind} {}", payload.escape_ascii()));
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        self.message(is_text, &payload);
    }

    fn too_fast(&mut self, policy: RatePolicy) {
        self.words.push(format!("too fast: {policy:?}"));
    }

    fn pong(&mut self, pinged_at: u64) {
        self.words.push(format!("pong of {pinged_at}"));
    }

    fn is_full(&self) -> bool {
        self.full
    }
}

struct Rig {
    session: Session,
    resources: Resources,
    account: Arc<Account>,
    heard: Heard,
    now: u64,
    /// The transport takes no more.
    stuck: bool,
}

const LIMITS: Limits = Limits { max_backpressure: 100, overflow: Overflow::Drop, pong_timeout: 50 };

const DEFLATE: DeflateParams = DeflateParams {
    server_no_context_takeover: true,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

/// With these parameters of permessage-deflate.
fn terms(deflate: Option<DeflateParams>) -> Terms {
    let compression = deflate.map(|params| Compression { params, threshold: 0, level: 6 });
    Terms { max_message_size: 1 << 20, message_rate: None, compression }
}

impl Rig {
    fn new(limits: Limits) -> Self {
        Self::of(limits, None, false)
    }

    fn of(limits: Limits, deflate: Option<DeflateParams>, pumped: bool) -> Self {
        Self::of_terms(terms(deflate), limits, pumped)
    }

    fn of_terms(terms: Terms, limits: Limits, pumped: bool) -> Self {
        let memory = Arc::new(Memory::new(1 << 20));
        let mut resources = Resources::new(limits, memory);
        let account = Arc::new(Account::default());
        let session = Session::new(account.clone(), b"", terms, pumped, &mut resources);
        Self { session, resources, account, heard: Heard::default(), now: 0, stuck: false }
    }

    /// Takes a step, and tells what came of it.
    fn step(&mut self, step: Step<'_>) -> String {
        self.heard.words.clear();
        let effects = self.act(step);
        let mut words = std::mem::take(&mut self.heard.words);
        let written = if self.stuck { Vec::new() } else { self.write(usize::MAX) };
        if !written.is_empty() {
            words.push(format!("write {}", written.escape_ascii()));
        }
        words.extend(effects.start.map(|deadline| format!("start {deadline:?}")));
        words.extend(effects.ask.then(|| "ask".into()));
        words.extend(effects.ended.map(|frame| match &*frame.reason {
            "" => format!("ended {}", frame.code),
            reason => format!("ended {} {reason}", frame.code),
        }));
        words.extend(effects.course.map(|course| format!("{course:?}")));
        words.join("; ")
    }

    fn act(&mut self, step: Step<'_>) -> Effects {
        let Self { session, resources, account, heard, now, .. } = self;
        match step {
            Peer(bytes) => {
                return session.receive(&mut bytes.to_vec(), *now, heard, resources);
            }
            PeerEnds => return session.peer_ended(resources),
            InboxFull(full) => heard.full = full,
            GoOn => return session.go_on(*now, heard, resources),
            Passes(millis) => *now += millis,
            HandlerReady => return session.handler_is_ready(0, resources),
            HandlerReadyAt(now) => return session.handler_is_ready(now, resources),
            Pace => {
                if session.pace(resources) {
                    heard.words.push("paced".into());
                }
            }
            Holds(bytes) => session.holds(bytes, resources),
            Took(count, now) => return session.took(count, now, resources),
            Send(text) | SendUncompressed(text) => {
                let frame = encoded(text);
                if account.is_alive() && account.admits(frame.len(), LIMITS.max_backpressure) {
                    account.add(frame.len());
                    let compress = matches!(step, Send(_));
                    let _ = session.send(EncodedFrame::new(&frame), None, compress, resources);
                } else {
                    heard.words.push("refused".into());
                }
            }
            Broadcast(texts) => {
                let mut outgoing = Outgoing::from(joined(texts));
                let (delivered, effects) = session.broadcast(&mut outgoing, resources);
                if delivered.dropped > 0 {
                    heard.words.push(format!("{} dropped", delivered.dropped));
                }
                let mut told = 0;
                outgoing.delivered(|_, messages| told += messages);
                assert_eq!(told, delivered.messages, "all that was delivered is told of");
                return effects;
            }
            Close(code, reason) => {
                return session.close(CloseFrame { code, reason: reason.into() }, resources);
            }
            Ping => return session.ping(resources),
            TimePongs(wanted) => session.time_pongs(wanted),
            PingAt(now) => {
                let effects = session.ping(resources);
                if effects.pinged {
                    session.pinged(now);
                }
                return effects;
            }
            MarkAlive => session.mark_alive(),
            Release => return session.release(resources),
            Takes(count) => {
                self.stuck = false;
                let written = self.write(count);
                self.stuck = true;
                self.session.block(&mut self.resources);
                if !written.is_empty() {
                    self.heard.words.push(format!("write {}", written.escape_ascii()));
                }
            }
            TakesAll => {
                self.stuck = false;
                let mut written = self.write(usize::MAX);
                if self.session.unblock(&mut self.resources) {
                    written.append(&mut self.write(usize::MAX));
                }
                self.heard.words.push(format!("write {}", written.escape_ascii()));
            }
            Runs(deadline, now) => return session.tick(deadline, now, true, resources),
            RunsUnread(deadline, now) => return session.tick(deadline, now, false, resources),
            Answers(now) => {
                if let Some(question) = session.answered() {
                    return session.conclude(question, now, true, resources);
                }
            }
            Lost => return session.lose(resources),
            Shed => return session.shed(resources),
        }
        Effects::default()
    }

    fn appetite(&self) -> Appetite {
        self.session.appetite(self.now, &self.resources)
    }

    /// What the transport takes of what is queued.
    fn write(&mut self, most: usize) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            let bytes: Vec<u8> =
                self.session.slices().iter().flat_map(|slice| slice.to_vec()).collect();
            let count = bytes.len().min(most - written.len());
            if count == 0 {
                return written;
            }
            written.extend_from_slice(&bytes[..count]);
            self.session.wrote(count, &mut self.resources);
        }
    }

    /// Takes all steps of a dialogue and compares what comes of them.
    #[track_caller]
    fn dialogue(&mut self, steps: &[(Step<'_>, &str)]) {
        for (number, (step, expected)) in steps.iter().enumerate() {
            let came = self.step(*step);
            assert_eq!(came, *expected, "step {number}, {step:?}");
        }
    }
}

/// The frames of several messages, one behind the other.
fn joined(texts: &[&str]) -> Frames {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for text in texts {
        encode_frame(&mut bytes, Opcode::Text, text.as_bytes());
        ends.push(bytes.len());
    }
    Frames::with_ends(Bytes::from(bytes), ends)
}

fn encoded(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, Opcode::Text, text.as_bytes());
    frame
}

/// A frame of a client, masked with zeros. `first` is its first byte.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, Opcode::Binary, payload);
    frame[0] = first;
    frame[1] |= 0x80;
    let header = frame.len() - payload.len();
    frame.splice(header..header, [0; 4]);
    frame
}

const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const PING: &[u8] = b"\x89\x81\0\0\0\0p";
const BYE: &[u8] = b"\x88\x85\0\0\0\0\x03\xe8bye";

#[test]
fn messages_go_both_ways_and_the_peer_closes() {
    Rig::new(LIMITS).dialogue(&[
        (HandlerReady, ""),
        (Peer(HELLO), "text hello"),
        (Peer(b"\x82\x80\0\0\0\0"), "binary "),
        (Send("hi"), r"write \x81\x02hi"),
        (Peer(PING), r"write \x8a\x01p"),
        (Peer(BYE), "start Close; ended 1000 bye"),
        // JavaScript is still busy with a message that came before.
        (Send("late"), r"write \x81\x04late"),
        (Release, r"write \x88\x05\x03\xe8bye; Drain"),
        (Send("too late"), "refused"),
        (Peer(HELLO), ""),
        (PeerEnds, ""),
    ]);
}

#[test]
fn only_a_close_frame_says_that_nothing_more_comes_of_the_peer() {
    for (bytes, closes) in [(BYE, true), (b"\x81\x01b", false), (HELLO, false)] {
        let mut rig = Rig::new(LIMITS);
        rig.step(Peer(bytes));
        assert_eq!(rig.session.peer_has_closed(), closes, "{bytes:?}");
    }
}

#[test]
fn a_compressor_that_rests_from_one_heartbeat_to_the_next_is_made_anew() {
    let shared = DeflateParams { server_no_context_takeover: false, ..DEFLATE };
    let mut rig = Rig::of(LIMITS, Some(shared), false);
    let text = "a message that comes again and again, word for word";
    let first = rig.step(Send(text));
    assert_ne!(rig.step(Send(text)), first, "it refers to the first");
    rig.step(Runs(Deadline::Heartbeat, 1));
    assert_ne!(rig.step(Send(text)), first, "it had been used");
    rig.step(Runs(Deadline::Heartbeat, 2));
    rig.step(Runs(Deadline::Heartbeat, 3));
    assert_eq!(rig.step(Send(text)), first);
}

#[test]
fn we_close_and_what_comes_until_the_answer_is_dropped() {
    Rig::new(LIMITS).dialogue(&[
        (Close(4000, "enough"), r"write \x88\x08\x0f\xa0enough; start Close"),
        (Close(1000, ""), ""),
        (Send("late"), ""),
        (Peer(HELLO), ""),
        (Peer(PING), ""),
        // It is answered without the reason, as many clients do.
        (Peer(b"\x88\x82\0\0\0\0\x03\xe8"), "ended 4000 enough; Drain"),
        (Release, ""),
        (Lost, "HangUp"),
        (Lost, ""),
    ]);
}

#[test]
fn nothing_follows_our_close_frame_not_even_the_pong_that_waited() {
    Rig::new(LIMITS).dialogue(&[
        (Takes(0), ""),
        (Send("x"), ""),
        (Peer(PING), ""),
        (Close(1000, ""), "start Close"),
        (TakesAll, r"write \x81\x01x\x88\x02\x03\xe8"),
        (Peer(HELLO), ""),
        (Peer(PING), ""),
        (Peer(BYE), "ended 1000; Drain"),
    ]);
}

#[test]
fn a_close_handshake_has_its_time() {
    Rig::new(LIMITS).dialogue(&[
        (Close(1000, ""), r"write \x88\x02\x03\xe8; start Close"),
        (Runs(Deadline::Close, 9), "ended 1006; HangUp"),
        (Runs(Deadline::Close, 9), ""),
    ]);
    // JavaScript does not come so far: the answer goes without it.
    Rig::new(LIMITS).dialogue(&[
        (Peer(BYE), "start Close; ended 1000 bye"),
        (Runs(Deadline::Close, 9), r"write \x88\x05\x03\xe8bye; Drain"),
        (Release, ""),
    ]);
}

#[test]
fn a_breach_of_the_protocol_is_answered_as_a_close_is() {
    Rig::new(LIMITS).dialogue(&[
        (HandlerReady, ""),
        (
            Peer(b"\x81\x81\0\0\0\0a\x81\x01b"),
            "text a; start Close; ended 1002 client frame is not masked",
        ),
        (Release, r"write \x88\x1c\x03\xeaclient frame is not masked; Drain"),
    ]);
}

#[test]
fn whoever_ends_its_side_is_sent_all_that_is_queued_and_what_answers_its_last_message() {
    Rig::new(LIMITS).dialogue(&[
        (HandlerReady, ""),
        (Send("queued"), r"write \x81\x06queued"),
        (Takes(0), ""),
        (Send("waits"), ""),
        (Peer(HELLO), "text hello"),
        (PeerEnds, "start Close; ended 1006"),
        (Send("reply"), ""),
        (Release, "Drain"),
        (TakesAll, r"write \x81\x05waits\x81\x05reply"),
    ]);
}

#[test]
fn whoever_closes_first_and_does_not_read_is_owed_a_close_frame_and_nothing_else() {
    for (over, told, close) in [
        (BYE, "start Close; ended 1000 bye", r"\x88\x05\x03\xe8bye"),
        (
            b"\x83\x80\0\0\0\0",
            "start Close; ended 1002 reserved opcode",
            r"\x88\x11\x03\xeareserved opcode",
        ),
    ] {
        let mut rig = Rig::new(LIMITS);
        rig.dialogue(&[(Takes(0), ""), (Send("begun"), ""), (Takes(3), r"write \x81\x05b")]);
        rig.dialogue(&[(Send("queued"), ""), (Broadcast(&["queued too"]), "")]);
        rig.dialogue(&[(Peer(over), told), (Send("reply"), ""), (Broadcast(&["more"]), "")]);
        // What has begun stays whole, with what was copied behind it.
        rig.dialogue(&[(Release, "Drain")]);
        let written = rig.step(TakesAll);
        assert!(written.starts_with("write egun"), "{written}");
        assert!(written.ends_with(close), "{written}");
        assert!(!written.contains("reply") && !written.contains("more"), "{written}");
        assert_eq!(rig.account.buffered(), 0);
    }
}

/// Queues `count` long messages, shared with nobody and shared in turn.
fn queue_long(rig: &mut Rig, count: usize) {
    for number in 0..count {
        let frame = encoded(&"x".repeat(5000));
        rig.account.add(frame.len());
        let shared = Bytes::from(frame.clone());
        let shared = (number % 2 == 0).then_some(&shared);
        let sent = rig.session.send(EncodedFrame::new(&frame), shared, true, &mut rig.resources);
        assert!(sent.is_some());
    }
}

#[test]
fn the_queue_of_a_peer_that_is_done_is_dropped_however_it_came_about() {
    let told = "start Close; ended 1000 bye";
    let bye = r"write \x88\x05\x03\xe8bye";
    // It did not read before it closed.
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Takes(0), "")]);
    queue_long(&mut rig, 100);
    rig.dialogue(&[(Peer(BYE), told)]);
    assert_eq!((rig.account.buffered(), rig.session.weight()), (0, 0));
    rig.dialogue(&[(Release, "Drain"), (TakesAll, bye)]);

    // JavaScript answers its last message with more than it takes, before anything is written.
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Peer(BYE), told)]);
    rig.stuck = true;
    queue_long(&mut rig, 100);
    rig.dialogue(&[(Release, "Drain"), (Takes(0), "")]);
    assert!(rig.session.weight() < 100, "{}", rig.session.weight());
    rig.dialogue(&[(TakesAll, bye)]);

    // We closed as well, and our close frame still waits.
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Takes(0), "")]);
    queue_long(&mut rig, 100);
    rig.dialogue(&[(Close(4000, "we"), "start Close"), (Peer(BYE), "ended 4000 we; Drain")]);
    assert!(rig.session.weight() < 100, "{}", rig.session.weight());
    rig.dialogue(&[(TakesAll, r"write \x88\x04\x0f\xa0we")]);

    // Who has only ended its side is sent all of it.
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Takes(0), "")]);
    queue_long(&mut rig, 100);
    rig.dialogue(&[(PeerEnds, "start Close; ended 1006"), (Release, "Drain")]);
    assert_eq!(rig.account.buffered(), 100 * 5004);
}

#[test]
fn who_is_ended_to_set_memory_free_keeps_next_to_none() {
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Takes(0), "")]);
    queue_long(&mut rig, 100);
    assert!(rig.step(Shed).starts_with("ended 1013 maxBufferedBytes"));
    assert!(rig.session.weight() < 200, "{}", rig.session.weight());
    // A frame that has begun to leave, and is too long to be waited for.
    let mut rig = Rig::new(LIMITS);
    let long = Bytes::from(encoded(&"x".repeat(1 << 20)));
    rig.account.add(long.len());
    rig.session.send(EncodedFrame::new(&long), Some(&long), true, &mut rig.resources).unwrap();
    rig.step(Takes(5));
    assert!(rig.step(Shed).ends_with("HangUp"));
    assert_eq!((rig.session.weight(), rig.account.buffered()), (0, 0));
    // One that is being seen out, of which JavaScript has been told.
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(Takes(0), "")]);
    queue_long(&mut rig, 10);
    rig.dialogue(&[(PeerEnds, "start Close; ended 1006"), (Release, "Drain"), (Shed, "HangUp")]);
    assert_eq!((rig.session.weight(), rig.account.buffered()), (0, 0));
}

#[test]
fn messages_held_for_handlers_are_bounded_together() {
    let memory = Arc::new(Memory::new(1 << 30));
    let mut resources = Resources::new(LIMITS, memory);
    let long = client_frame(0x82, &vec![b'x'; 1 << 20]);
    let mut heard = Heard::default();
    let mut sessions: Vec<Session> = (0..20)
        .map(|_| Session::new(Arc::default(), b"", terms(None), false, &mut resources))
        .collect();
    for session in &mut sessions {
        let _ = session.receive(&mut long.clone(), 0, &mut heard, &mut resources);
    }
    assert_eq!(heard.words.len(), MAX_HELD_BY_ALL >> 20);
    resources.tell();
    assert!(resources.memory.used() >= 20 << 20, "what is held, and what has not been parsed");
    // One of those that wait has a handler that is ready.
    let last = &mut sessions[19];
    assert_eq!(last.appetite(0, &resources), Appetite::Held);
    let _ = last.handler_is_ready(0, &mut resources);
    assert_eq!(last.appetite(0, &resources), Appetite::Unread);
    let _ = last.go_on(0, &mut heard, &mut resources);
    assert_eq!(heard.words.len(), (MAX_HELD_BY_ALL >> 20) + 1);
    for session in &mut sessions {
        let _ = session.lose(&mut resources);
    }
    resources.tell();
    assert_eq!((resources.memory.used(), resources.held), (0, 0));
}

#[test]
fn sends_and_broadcasts_obey_one_rule_whether_they_are_joined_or_not() {
    let texts = ["a".repeat(48), "b".repeat(48), "c".repeat(48)];
    let [a, b, c] = texts.each_ref().map(String::as_str);
    let mut one_by_one = Rig::new(LIMITS);
    one_by_one.dialogue(&[(Takes(0), ""), (Send(a), ""), (Send(b), ""), (Send(c), "refused")]);
    let mut broadcasts = Rig::new(LIMITS);
    broadcasts.dialogue(&[
        (Takes(0), ""),
        (Broadcast(&[a]), ""),
        (Broadcast(&[b]), ""),
        (Broadcast(&[c]), "1 dropped"),
    ]);
    let mut joined = Rig::new(LIMITS);
    joined.dialogue(&[(Takes(0), ""), (Broadcast(&[a, b, c]), "1 dropped")]);
    let written = one_by_one.step(TakesAll);
    assert_eq!(written, broadcasts.step(TakesAll));
    assert_eq!(written, joined.step(TakesAll));
    // A shorter one behind one that does not fit is sent.
    joined.dialogue(&[(Takes(0), ""), (Broadcast(&[a, &"d".repeat(99), b]), "1 dropped")]);
    // One that is alone always fits.
    let long = "e".repeat(120);
    let mut alone = Rig::new(LIMITS);
    alone.dialogue(&[(Takes(0), ""), (Broadcast(&[&long, b]), "1 dropped")]);
}

#[test]
fn a_queue_that_runs_over_under_the_policy_close_ends_the_connection() {
    let limits = Limits { overflow: Overflow::Close, ..LIMITS };
    let long = "x".repeat(60);
    let reason = "maxBackpressure exceeded: the peer reads too slowly";
    let ended = format!("ended 1008 {reason}; Drain");
    let dropped = format!("2 dropped; {ended}");
    let mut rig = Rig::new(limits.clone());
    rig.dialogue(&[(Takes(0), ""), (Broadcast(&[&long, &long, "y"]), &dropped)]);
    rig.dialogue(&[(TakesAll, &format!(r"write \x885\x03\xf0{reason}"))]);
    assert_eq!(rig.account.buffered(), 0);
}

#[test]
fn a_response_is_written_first_and_never_dropped() {
    let mut resources = Resources::new(LIMITS, Arc::new(Memory::new(1 << 20)));
    let account = Arc::new(Account::default());
    let session = Session::new(account.clone(), b"101", terms(None), false, &mut resources);
    let mut rig =
        Rig { session, resources, account, heard: Heard::default(), now: 0, stuck: false };
    rig.dialogue(&[
        (Takes(1), "write 1"),
        (Send("x"), ""),
        (Peer(BYE), "start Close; ended 1000 bye"),
        (Release, "Drain"),
        (TakesAll, r"write 01\x88\x05\x03\xe8bye"),
    ]);
}

#[test]
fn pings_and_pongs_do_not_pile_up_for_a_peer_that_does_not_read() {
    Rig::new(LIMITS).dialogue(&[
        (Takes(0), ""),
        (Ping, ""),
        (Ping, ""),
        (Peer(b"\x89\x81\0\0\0\0a\x89\x81\0\0\0\0b"), ""),
        (Peer(b"\x89\x81\0\0\0\0c"), ""),
        // The latest one is answered.
        (TakesAll, r"write \x89\x00\x8a\x01c"),
        (Ping, r"write \x89\x00"),
    ]);
}

#[test]
fn a_peer_that_is_silent_is_told_so_and_lost_if_it_takes_nothing() {
    let silent = "no pong in time";
    Rig::new(LIMITS).dialogue(&[
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
        (Runs(Deadline::Pong, 49), ""),
        (Peer(b"\x8a\x80\0\0\0\0"), ""),
        (Runs(Deadline::Pong, 50), ""),
        (Runs(Deadline::Heartbeat, 60), r"write \x89\x00; start Pong"),
        // Nobody reads: the pong may be there.
        (RunsUnread(Deadline::Pong, 110), "start Pong"),
        (Runs(Deadline::Pong, 120), ""),
        (
            Runs(Deadline::Pong, 160),
            &format!(r"write \x88\x11\x03\xe9{silent}; ended 1001 {silent}; Drain"),
        ),
    ]);
    Rig::new(LIMITS).dialogue(&[
        (Takes(0), ""),
        (Send("x"), ""),
        (Runs(Deadline::Heartbeat, 0), "start Pong"),
        // It reads, so it lives.
        (Takes(1), r"write \x81"),
        (Runs(Deadline::Pong, 50), ""),
        (Runs(Deadline::Heartbeat, 60), "start Pong"),
        (Runs(Deadline::Pong, 110), "ended 1006; HangUp"),
    ]);
    // What it sent has not been looked at, as JavaScript has no room for it.
    Rig::new(LIMITS).dialogue(&[
        (InboxFull(true), ""),
        (Peer(HELLO), ""),
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
        (Runs(Deadline::Pong, 50), "start Pong"),
    ]);
    Rig::new(LIMITS).dialogue(&[
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
        (MarkAlive, ""),
        (Runs(Deadline::Pong, 50), ""),
    ]);
}

#[test]
fn where_javascript_pumps_the_bytes_it_is_asked_first() {
    let mut rig = Rig::of(LIMITS, None, true);
    rig.dialogue(&[
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; ask"),
        // It was busy: only now has the ping been written.
        (Answers(40), "start Pong"),
        (Runs(Deadline::Pong, 50), ""),
        (Runs(Deadline::Pong, 90), "ask"),
        (Peer(b"\x8a\x80\0\0\0\0"), ""),
        (Answers(200), ""),
    ]);
    // What was written counts until JavaScript says that its stream has taken it.
    assert_eq!(rig.account.buffered(), 2);
}

#[test]
fn messages_are_held_for_a_handler_up_to_a_limit() {
    let long = client_frame(0x82, &[b'x'; MAX_HELD / 2]);
    let wire = [&long[..], &long, &long, HELLO, BYE].concat();
    let mut rig = Rig::new(LIMITS);
    assert_eq!(rig.appetite(), Appetite::Hungry(MAX_HELD));
    assert_eq!(rig.step(Peer(&wire)).matches("binary").count(), 2);
    assert_eq!(rig.appetite(), Appetite::Held);
    rig.dialogue(&[(HandlerReady, "")]);
    assert_eq!(rig.appetite(), Appetite::Unread);
    let rest = rig.step(GoOn);
    assert!(rest.ends_with("text hello; start Close; ended 1000 bye"), "{rest}");
    assert_eq!(rig.appetite(), Appetite::Done);
    assert_eq!(rig.session.weight(), 0);
    // Where we close meanwhile, the peer's answer is found behind what is held.
    let mut rig = Rig::new(LIMITS);
    rig.step(Peer(&wire));
    rig.step(Close(1000, "done"));
    rig.dialogue(&[(GoOn, "ended 1000 done; Drain")]);
}

#[test]
fn who_says_what_it_has_taken_is_told_no_more_than_fits() {
    let long = client_frame(0x82, &[b'x'; MAX_HELD / 2]);
    let mut rig = Rig::new(LIMITS);
    // What came before it was asked to count is held for the handler, and counts as one.
    rig.dialogue(&[(Peer(HELLO), "text hello"), (Pace, "paced"), (Pace, "")]);
    assert_eq!(rig.step(Peer(&long)).matches("binary").count(), 1);
    assert!(matches!(rig.appetite(), Appetite::Hungry(_)));
    let wire = [&long[..], HELLO, BYE].concat();
    assert_eq!(rig.step(Peer(&wire)).matches("binary").count(), 1);
    assert_eq!(rig.appetite(), Appetite::Held);
    rig.resources.tell();
    assert!(rig.resources.memory.used() > MAX_HELD);
    // The handler that is ready makes no difference where somebody counts; the first to be taken is
    // what stands for all before.
    rig.dialogue(&[(Took(1, 0), "")]);
    assert_eq!(rig.appetite(), Appetite::Held);
    rig.dialogue(&[(Took(1, 0), "")]);
    assert_eq!(rig.appetite(), Appetite::Unread);
    rig.dialogue(&[(GoOn, "text hello; start Close; ended 1000 bye"), (Took(9, 0), "")]);
    rig.resources.tell();
    assert_eq!((rig.session.weight(), rig.resources.memory.used()), (0, 0));
}

#[test]
fn who_counts_tells_how_much_it_holds_of_before_and_may_stop_to_count() {
    let mut rig = Rig::new(LIMITS);
    rig.dialogue(&[(HandlerReady, ""), (Pace, "paced"), (Holds(MAX_HELD), "")]);
    assert_eq!((rig.appetite(), rig.session.weight()), (Appetite::Held, MAX_HELD));
    rig.dialogue(&[(Took(1, 0), ""), (Peer(HELLO), "text hello"), (Took(1, 0), "")]);
    assert_eq!(rig.session.weight(), 0);
    rig.dialogue(&[(HandlerReady, ""), (Took(5, 0), ""), (Pace, "paced"), (Holds(5), "")]);
    assert_eq!(rig.session.weight(), 5);
    // We close: the answer is found behind messages that nobody counts.
    rig.dialogue(&[
        (Holds(MAX_HELD), ""),
        (Close(1000, ""), r"write \x88\x02\x03\xe8; start Close"),
    ]);
    assert_eq!(rig.session.weight(), 0);
    rig.dialogue(&[(Pace, ""), (Peer(HELLO), ""), (Peer(BYE), "ended 1000; Drain"), (Pace, "")]);
}

#[test]
fn a_peer_that_is_not_read_is_not_overdue_nor_at_once_when_it_is_read_again() {
    for (hold, read) in [(Holds(MAX_HELD), Took(1, 95)), (Holds(MAX_HELD), HandlerReadyAt(95))] {
        Rig::new(LIMITS).dialogue(&[
            (HandlerReady, ""),
            (Pace, "paced"),
            (hold, ""),
            (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
            (Runs(Deadline::Pong, 50), "start Pong"),
            (read, "start Pong"),
            (Runs(Deadline::Pong, 100), ""),
            (Peer(b"\x8a\x80\0\0\0\0"), ""),
            (Runs(Deadline::Pong, 145), ""),
        ]);
    }
    // While it has room, it is read, and its pong is found.
    Rig::new(LIMITS).dialogue(&[
        (Pace, "paced"),
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
        (Took(1, 10), ""),
        (
            Runs(Deadline::Pong, 50),
            r"write \x88\x11\x03\xe9no pong in time; ended 1001 no pong in time; Drain",
        ),
    ]);
}

#[test]
fn a_pong_is_told_where_somebody_listens_and_it_answers_a_ping() {
    let pong = |number: u8| client_frame(0x8a, &[0, 0, 0, number]);
    Rig::new(LIMITS).dialogue(&[
        (PingAt(1), r"write \x89\x00"),
        (TimePongs(true), ""),
        (TimePongs(true), ""),
        (Peer(b"\x8a\x80\0\0\0\0"), ""),
        (PingAt(10), r"write \x89\x04\x00\x00\x00\x00"),
        (PingAt(20), r"write \x89\x04\x00\x00\x00\x01"),
        (PingAt(30), r"write \x89\x04\x00\x00\x00\x02"),
        (Peer(&pong(3)), ""),
        // A peer need not answer each.
        (Peer(&pong(1)), "pong of 20"),
        (Peer(&pong(0)), ""),
        (Peer(&pong(2)), "pong of 30"),
        (Peer(&pong(2)), ""),
        (PingAt(40), r"write \x89\x04\x00\x00\x00\x03"),
        (TimePongs(false), ""),
        (Peer(&pong(3)), ""),
        (Runs(Deadline::Heartbeat, 50), r"write \x89\x00; start Pong"),
    ]);
    // Of a peer that never answers, the last few are known.
    let mut rig = Rig::new(LIMITS);
    rig.step(TimePongs(true));
    for at in 0..10 {
        rig.step(PingAt(at));
    }
    rig.dialogue(&[(Peer(&pong(1)), ""), (Peer(&pong(2)), "pong of 2")]);
}

#[test]
fn that_the_queue_is_empty_is_told_when_the_last_byte_has_left() {
    for pumped in [false, true] {
        let mut rig = Rig::of(LIMITS, None, pumped);
        rig.dialogue(&[(Takes(0), ""), (Send("hi"), ""), (Send("ho"), "")]);
        assert!(rig.account.waits(usize::MAX));
        rig.account.told(true);
        assert!(!rig.account.watch_drain());
        rig.dialogue(&[(Takes(7), r"write \x81\x02hi\x81\x02h")]);
        assert!(!rig.session.takes_drained());
        rig.dialogue(&[(TakesAll, "write o")]);
        // Where JavaScript pumps the bytes, it says when they have left.
        assert_eq!(rig.session.takes_drained(), !pumped);
        if pumped {
            rig.account.remove(8);
            assert!(rig.account.take_drained());
        }
        assert!(!rig.session.takes_drained() && !rig.account.waits(usize::MAX));
    }
}

#[test]
fn a_message_may_stay_uncompressed_and_is_in_no_context() {
    let shared = DeflateParams { server_no_context_takeover: false, ..DEFLATE };
    let text = "a message that comes again and again, word for word";
    let plain = format!(r"write \x813{text}");
    let compressed = Rig::of(LIMITS, Some(shared), false).step(Send(text));
    for params in [shared, DEFLATE] {
        let mut rig = Rig::of(LIMITS, Some(params), false);
        rig.dialogue(&[(SendUncompressed(text), &plain), (Send(text), &compressed)]);
        rig.dialogue(&[(SendUncompressed(text), &plain)]);
        assert_eq!(rig.account.buffered(), 0);
    }
}

#[test]
fn parsing_stops_between_two_messages_while_javascript_takes_no_more() {
    let wire = [HELLO, PING, HELLO].concat();
    Rig::new(LIMITS).dialogue(&[
        (HandlerReady, ""),
        (InboxFull(true), ""),
        (Peer(&wire), ""),
        (GoOn, ""),
        (InboxFull(false), ""),
        (GoOn, r"text hello; text hello; write \x8a\x01p"),
        (GoOn, ""),
    ]);
}

#[test]
fn a_message_of_a_kilobyte_that_inflates_is_counted_as_it_comes_out() {
    // Nothing but zeros: 1 MiB out of about 1 kB, of which the last byte is missing.
    let mut deflater = crate::protocol::Deflater::new(9, 15, true);
    let frame = deflater.frame(Opcode::Binary, &vec![0; 1 << 20]);
    let payload = &frame[4..];
    let unfinished = client_frame(0x42, payload);
    let mut rig = Rig::of(LIMITS, Some(DEFLATE), false);
    rig.dialogue(&[(HandlerReady, ""), (Peer(&unfinished[..unfinished.len() - 1]), "")]);
    assert!(rig.session.weight() >= 1 << 20, "{}", rig.session.weight());
    rig.resources.tell();
    assert!(rig.resources.memory.used() >= 1 << 20);
    let reason = "maxBufferedBytes exceeded: the server keeps too much for its connections";
    let told = format!(r"write \x88J\x03\xf5{reason}; ended 1013 {reason}; Drain");
    rig.dialogue(&[(Shed, &told), (Shed, "HangUp")]);
    rig.resources.tell();
    assert_eq!((rig.session.weight(), rig.resources.memory.used()), (0, 0));
}

#[test]
fn messages_that_are_complete_are_told_without_waiting_for_more_bytes() {
    Rig::of(LIMITS, Some(DEFLATE), false).dialogue(&[
        (HandlerReady, ""),
        // No bytes at all, which stands for an empty message.
        (Peer(b"\xc1\x80\0\0\0\0"), "text "),
        // Ends with a final block.
        (Peer(b"\xc1\x87\0\0\0\0\xf3\x48\xcd\xc9\xc9\x07\x00"), "text Hello"),
        (Peer(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00"), "text Hello"),
        (Peer(b"\x01\x81\0\0\0\0a\x80\x80\0\0\0\0"), "text a"),
    ]);
}

#[test]
fn what_is_shared_is_compressed_once_for_a_window_and_counted_once() {
    let mut resources = Resources::new(
        Limits { max_backpressure: 1 << 20, ..LIMITS },
        Arc::new(Memory::new(1 << 20)),
    );
    let mut sessions: Vec<Session> = (0..10)
        .map(|_| Session::new(Arc::default(), b"", terms(Some(DEFLATE)), false, &mut resources))
        .collect();
    let mut state = 1u64;
    let random: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(33 + ((state >> 33) % 90) as u8)
    })
    .take(20_000)
    .collect();
    let mut outgoing = Outgoing::from(Frames::from(Bytes::from(encoded(&random))));
    let mut bytes = 0;
    for session in &mut sessions {
        let (delivered, _) = session.broadcast(&mut outgoing, &mut resources);
        assert_eq!(delivered.messages, 1);
        bytes = delivered.bytes as usize;
        session.block(&mut resources);
    }
    drop(outgoing);
    resources.tell();
    let used = resources.memory.used();
    assert!(used >= bytes && used < 2 * bytes, "{used} for {bytes}");
    for session in &mut sessions {
        assert_eq!(session.weight(), bytes);
        let _ = session.lose(&mut resources);
    }
    resources.tell();
    assert_eq!(resources.memory.used(), 0);
}

/// A session that has written something, so that nothing is queued.
fn quiet(deflate: Option<DeflateParams>, pumped: bool) -> Rig {
    let mut rig = Rig::of(LIMITS, deflate, pumped);
    assert!(rig.account.writer().take().is_none());
    assert!(rig.step(Broadcast(&["a"])).starts_with("write"));
    rig
}

/// Whether the JavaScript thread may write.
fn is_free(rig: &Rig) -> bool {
    rig.account.writer().take().map(|taken| assert!(!taken.give_back())).is_some()
}

#[test]
fn the_javascript_thread_may_write_while_nothing_waits_and_the_connection_is_open() {
    let mut rig = quiet(None, false);
    assert!(is_free(&rig));
    rig.dialogue(&[(Takes(0), ""), (Send("b"), "")]);
    assert!(!is_free(&rig));
    rig.dialogue(&[(Takes(1), r"write \x81")]);
    assert!(!is_free(&rig));
    rig.dialogue(&[(TakesAll, r"write \x01b")]);
    assert!(is_free(&rig));
    for end in [Close(1000, ""), Peer(BYE), PeerEnds, Shed, Lost] {
        let mut rig = quiet(None, false);
        rig.step(end);
        assert!(!is_free(&rig), "{end:?}");
    }
    // A compressor has to see everything; a stream is written to by JavaScript anyway.
    assert!(!is_free(&quiet(Some(DEFLATE), false)) && !is_free(&quiet(None, true)));
}

#[test]
fn the_rest_of_what_the_javascript_thread_began_comes_first_whatever_happens_meanwhile() {
    let reason = "maxBufferedBytes exceeded: the server keeps too much for its connections";
    let shed = format!(r"rest\x88J\x03\xf5{reason}");
    let meanwhile: [(&[Step<'_>], &str); 7] = [
        (&[], "rest"),
        (&[Peer(PING), Send("b")], r"rest\x8a\x01p\x81\x01b"),
        (&[Close(1000, "")], r"rest\x88\x02\x03\xe8"),
        (&[Peer(BYE), Release], r"rest\x88\x05\x03\xe8bye"),
        (&[PeerEnds, Release], "rest"),
        (&[Send("b"), Shed], &shed),
        (&[Lost], ""),
    ];
    for (steps, expected) in meanwhile {
        let mut rig = quiet(None, false);
        let frame = encoded("the rest");
        rig.account.add(frame.len());
        rig.account.writer().take().unwrap().owe();
        rig.account.remove(6);
        for step in steps {
            let _ = rig.act(*step);
            let idle = rig.session.slices().is_empty() && !rig.session.is_draining();
            assert!(idle || !rig.session.may_write(), "{step:?}");
        }
        let frame = EncodedFrame::new(&frame);
        let _ = rig.session.queue_rest(frame, 6, &mut rig.resources);
        assert_eq!(rig.write(usize::MAX).escape_ascii().to_string(), expected, "{steps:?}");
        assert_eq!(rig.account.buffered(), 0, "{steps:?}");
        rig.resources.tell();
        assert_eq!(rig.resources.memory.used(), 0, "{steps:?}");
    }
}

/// Two messages at once, and ten a second.
fn limited(policy: RatePolicy) -> Rig {
    let rate = MessageRate { per_second: 10, burst: 2, policy };
    let mut rig = Rig::of_terms(Terms { message_rate: Some(rate), ..terms(None) }, LIMITS, false);
    rig.step(HandlerReady);
    rig
}

#[test]
fn a_peer_that_sends_too_fast_is_closed_behind_what_it_was_allowed() {
    let reason = "messageRate exceeded: the peer sends too fast";
    let wire = HELLO.repeat(4);
    let told = format!("text hello; text hello; too fast: Close; start Close; ended 1008 {reason}");
    let mut rig = limited(RatePolicy::Close);
    rig.dialogue(&[
        (Peer(&wire), &told),
        (Release, &format!(r"write \x88/\x03\xf0{reason}; Drain")),
    ]);
    // One that waits between its messages is not.
    let mut rig = limited(RatePolicy::Close);
    for _ in 0..10 {
        rig.dialogue(&[(Peer(HELLO), "text hello"), (Passes(100), "")]);
    }
    // Messages that do not count any more are none too many.
    let mut rig = limited(RatePolicy::Close);
    rig.step(Close(1000, "done"));
    rig.dialogue(&[(Peer(&wire), ""), (Peer(BYE), "ended 1000 done; Drain")]);
}

#[test]
fn a_message_that_is_one_too_many_is_dropped_where_the_policy_says_so() {
    let wire = [&HELLO.repeat(4)[..], PING].concat();
    let mut rig = limited(RatePolicy::Drop);
    rig.dialogue(&[
        (Peer(&wire), r"text hello; text hello; too fast: Drop; too fast: Drop; write \x8a\x01p"),
        (Passes(100), ""),
        // In fragments, or compressed, it is one as well.
        (Peer(b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"), "text ab"),
        (Peer(b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"), "too fast: Drop"),
        (Peer(BYE), "start Close; ended 1000 bye"),
    ]);
}

#[test]
fn a_peer_that_is_to_wait_is_not_read_and_nothing_of_it_is_lost() {
    let wire = [&HELLO.repeat(4)[..], BYE].concat();
    let mut rig = limited(RatePolicy::Pause);
    rig.dialogue(&[(Peer(&wire), "text hello; text hello")]);
    assert_eq!(rig.appetite(), Appetite::Limited(100));
    // Its pong is among what is not read.
    rig.dialogue(&[
        (Runs(Deadline::Heartbeat, 0), r"write \x89\x00; start Pong"),
        (Runs(Deadline::Pong, 50), "start Pong"),
        (GoOn, ""),
        (Passes(100), ""),
    ]);
    assert_eq!(rig.appetite(), Appetite::Unread);
    rig.dialogue(&[(GoOn, "text hello"), (Passes(500), "")]);
    rig.dialogue(&[(GoOn, "text hello; start Close; ended 1000 bye")]);
    assert_eq!(rig.appetite(), Appetite::Done);
    // Where we close meanwhile, the peer's answer is found behind what waits.
    let mut rig = limited(RatePolicy::Pause);
    rig.step(Peer(&wire));
    rig.step(Close(1000, "done"));
    assert_eq!(rig.appetite(), Appetite::Unread);
    rig.dialogue(&[(GoOn, "ended 1000 done; Drain")]);
}

#[test]
fn a_flood_of_frames_that_are_no_message_is_bounded_too() {
    let floods: [&[u8]; 3] = [PING, b"\x8a\x80\0\0\0\0", b"\0\x80\0\0\0\0"];
    for flood in floods {
        let first: &[u8] = if flood[0] == 0 { b"\x01\x80\0\0\0\0" } else { b"" };
        let wire = [first, &flood.repeat(1100)].concat();
        let told = limited(RatePolicy::Close).step(Peer(&wire));
        assert!(told.contains("too fast: Close") && told.contains("ended 1008"), "{told}");
        for policy in [RatePolicy::Drop, RatePolicy::Pause] {
            let mut rig = limited(policy);
            let told = rig.step(Peer(&wire));
            assert!(!told.contains("too fast") && !told.contains("ended"), "{told}");
            assert!(matches!(rig.appetite(), Appetite::Limited(_)));
            let left = rig.session.unread();
            assert_eq!(left, wire.len() - 1024 * flood.len(), "{policy:?}");
            // Sixteen of them for each message a second.
            rig.step(Passes(100));
            rig.step(GoOn);
            assert_eq!(rig.session.unread(), left - 16 * flood.len());
        }
    }
    // A long message in fragments of a reasonable length is none.
    let mut rig = limited(RatePolicy::Close);
    let fragments = client_frame(0, &[b'x'; 1024]).repeat(1000);
    let wire = [&client_frame(2, b"")[..], &fragments, &client_frame(0x80, b"")].concat();
    assert!(rig.step(Peer(&wire)).starts_with("binary "));
}
