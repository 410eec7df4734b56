//! The phases of a connection, and what brings it from one to the next.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::account::Account;
use super::liveness::{Deadline, Liveness, Question};
use super::outbox::SLICES;
use super::receiving::{Appetite, Events, Intake, Received, Receiver};
use super::resources::{Overflow, Resources};
use super::sending::{Delivered, Outgoing, Sender};
use super::terms::Terms;
use crate::protocol::{Assembler, CloseFrame, EncodedFrame, Opcode, close};

/// A connection that is ended to set memory free hangs up where more than this many bytes are left of
/// what it was sending: its close frame would have to wait behind them.
const MAX_LEFT: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    receiver: Receiver,
    sender: Sender,
    liveness: Liveness,
    /// Bytes of memory that are counted as kept for this connection.
    kept: usize,
}

#[derive(Debug)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// We sent a close frame and wait for the peer's. Once it is answered, ours is what JavaScript
    /// is told: many clients answer without the reason.
    Closing(Box<CloseFrame>),
    /// JavaScript has been told of the end, but may still be busy with messages that came before:
    /// what it sends in answer to them goes out before the close frame.
    Answering {
        /// The close frame that is due then. `None` where the peer has ended its side without one;
        /// it may well go on reading.
        reply: Option<Box<CloseFrame>>,
    },
    /// What is queued goes out, and nothing else.
    Draining {
        /// The close frame at the end of the queue, where the peer was done first: it is owed that one,
        /// and of the rest only what it takes at once.
        last: Option<Box<CloseFrame>>,
    },
    /// Nothing goes out any more.
    Over,
}

/// What somebody else has to do after a call.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// There is something to be written.
    pub write: bool,
    /// The time that this kind of limit has starts now.
    pub start: Option<Deadline>,
    /// A ping whose answer is timed is to be sent: [`Session::pinged`].
    pub pinged: bool,
    /// JavaScript is to say so once it has written and read what there is for this connection:
    /// [`Session::answered`].
    pub ask: bool,
    /// JavaScript is to be told that the connection has ended, with this code and reason. Once only,
    /// and nothing follows it.
    pub ended: Option<CloseFrame>,
    /// No more is to be read.
    pub course: Option<Course>,
}

/// How a connection leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// What is queued is written first, in bounded time.
    Drain,
    /// At once.
    HangUp,
}

impl Effects {
    fn write() -> Self {
        Self { write: true, ..Self::default() }
    }
}

impl Session {
    /// A connection whose 101 response is queued first. With `pumped`, JavaScript moves its bytes,
    /// and takes those from the account that it has written, without the response.
    pub fn new(
        account: Arc<Account>,
        response: &[u8],
        terms: Terms,
        pumped: bool,
        resources: &mut Resources,
    ) -> Self {
        let Terms { max_message_size, message_rate, compression } = terms;
        let assembler = match compression {
            Some(how) => Assembler::with_deflate(max_message_size, how.params),
            None => Assembler::new(max_message_size),
        };
        let mut sender = Sender::new(account, pumped, compression);
        sender.queue_response(response, resources);
        let receiver = Receiver::new(assembler, message_rate);
        let liveness = Liveness::new(pumped);
        let phase = Phase::Open;
        let mut session = Self { phase, receiver, sender, liveness, kept: 0 };
        session.recount(resources);
        session
    }

    /// Whether messages go both ways.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether what is queued goes out, and nothing else.
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether the peer has sent a close frame, so that nothing more comes of it.
    pub fn peer_has_closed(&self) -> bool {
        self.liveness.peer_has_closed
    }

    /// Whether nothing goes out any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether the time means anything to [`Self::appetite`] and whatever takes bytes; otherwise any
    /// will do.
    pub fn asks_for_time(&self) -> bool {
        self.receiver.is_limited()
    }

    /// Whether it wants bytes of the peer at `now`, in milliseconds.
    pub fn appetite(&self, now: u64, resources: &Resources) -> Appetite {
        match self.phase {
            Phase::Open | Phase::Closing(_) => {
                self.receiver.appetite(self.is_open(), now, resources)
            }
            Phase::Answering { .. } | Phase::Draining { .. } | Phase::Over => Appetite::Done,
        }
    }

    /// Bytes that came and have not been parsed.
    pub fn unread(&self) -> usize {
        self.receiver.unread()
    }

    /// What it would set free to end this connection, in bytes: its queue, also where others share
    /// what is in it, and what of it is unfinished.
    pub fn weight(&self) -> usize {
        self.sender.weight() + self.receiver.kept()
    }

    fn recount(&mut self, resources: &mut Resources) {
        let kept = self.sender.kept() + self.receiver.kept();
        if kept != self.kept {
            resources.recount(self.kept, kept);
            self.kept = kept;
        }
    }

    // Bytes of the peer.

    /// Takes bytes of the peer, as [`Self::appetite`] allowed. What JavaScript has no room for, and
    /// what the peer has sent too early, is kept.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        now: u64,
        events: &mut impl Events,
        resources: &mut Resources,
    ) -> Effects {
        if !self.reads() {
            return Effects::default();
        }
        let (receiver, intake) = self.intake(now, events, resources);
        let received = receiver.receive(bytes, intake);
        self.after(received, resources)
    }

    /// Goes on with bytes that were kept.
    pub fn go_on(
        &mut self,
        now: u64,
        events: &mut impl Events,
        resources: &mut Resources,
    ) -> Effects {
        if !self.reads() {
            return Effects::default();
        }
        let (receiver, intake) = self.intake(now, events, resources);
        let received = receiver.go_on(intake);
        self.after(received, resources)
    }

    fn reads(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing(_))
    }

    fn intake<'a, E>(
        &'a mut self,
        now: u64,
        events: &'a mut E,
        resources: &'a mut Resources,
    ) -> (&'a mut Receiver, Intake<'a, E>) {
        let open = self.is_open();
        let Self { receiver, sender, liveness, .. } = self;
        (receiver, Intake { sender, liveness, resources, events, now, open })
    }

    fn after(&mut self, received: Received, resources: &mut Resources) -> Effects {
        let Received { over, write } = received;
        let mut effects = match over {
            None => Effects::default(),
            Some(Ok(frame)) => {
                self.liveness.peer_has_closed = true;
                self.peer_is_done(frame, resources)
            }
            Some(Err(violation)) => {
                let reason = violation.reason.into();
                self.peer_is_done(CloseFrame { code: violation.code, reason }, resources)
            }
        };
        effects.write |= write;
        self.recount(resources);
        effects
    }

    /// The peer closed, or has to be told that it broke the protocol.
    fn peer_is_done(&mut self, frame: CloseFrame, resources: &mut Resources) -> Effects {
        let effects = if let Phase::Closing(ours) = &self.phase {
            let ours = ours.clone();
            let report = CloseFrame::clone(&ours);
            let effects = self.end(report, Course::Drain, resources);
            self.phase = Phase::Draining { last: Some(ours) };
            effects
        } else {
            self.answer_later(frame.clone(), Some(Box::new(frame)), resources)
        };
        if self.sender.is_blocked() {
            self.drop_for_who_is_done(resources);
        }
        effects
    }

    /// A peer that is done, and takes no more for now, is owed a close frame and nothing else: it would
    /// have us keep a queue for as long as it likes to, without a connection.
    fn drop_for_who_is_done(&mut self, resources: &mut Resources) {
        let (Phase::Answering { reply: last @ Some(_) } | Phase::Draining { last: last @ Some(_) }) =
            &self.phase
        else {
            return;
        };
        // A close frame that is queued is the last, so it is dropped if anything is.
        let dropped = self.sender.drop_unsent() > 0;
        if dropped
            && matches!(self.phase, Phase::Draining { .. })
            && let Some(last) = last
        {
            self.sender.queue_close(last, resources);
        }
    }

    /// The peer's side has ended without a close frame.
    pub fn peer_ended(&mut self, resources: &mut Resources) -> Effects {
        let effects = match self.phase {
            Phase::Open => self.answer_later(lost(), None, resources),
            Phase::Closing(_) => self.end(lost(), Course::Drain, resources),
            Phase::Answering { .. } | Phase::Draining { .. } | Phase::Over => Effects::default(),
        };
        self.recount(resources);
        effects
    }

    fn answer_later(
        &mut self,
        report: CloseFrame,
        reply: Option<Box<CloseFrame>>,
        resources: &mut Resources,
    ) -> Effects {
        self.receiver.stop(resources);
        self.enter(Phase::Answering { reply });
        Effects { start: Some(Deadline::Close), ended: Some(report), ..Effects::default() }
    }

    // What JavaScript wants.

    /// Queues a frame that JavaScript has counted; `shared` is the same frame where it has its own
    /// memory. Returns how many bytes that were, or `None` where the connection sends no more.
    pub fn send(
        &mut self,
        frame: EncodedFrame<'_>,
        shared: Option<&Bytes>,
        may_compress: bool,
        resources: &mut Resources,
    ) -> Option<usize> {
        if !self.takes_data() {
            self.sender.refuse(frame.len());
            return None;
        }
        let sent = self.sender.send(frame, shared, may_compress, resources);
        self.recount(resources);
        Some(sent)
    }

    /// Queues frames that go to many, as far as they fit.
    pub fn broadcast(
        &mut self,
        outgoing: &mut Outgoing,
        resources: &mut Resources,
    ) -> (Delivered, Effects) {
        if !self.takes_data() {
            return Default::default();
        }
        let delivered = self.sender.broadcast(outgoing, resources);
        let effects = if delivered.dropped > 0 && resources.limits.overflow == Overflow::Close {
            self.overflow(resources)
        } else {
            Effects::default()
        };
        self.recount(resources);
        (delivered, effects)
    }

    /// Whether data may still be sent. A peer that is done is sent what it takes at once.
    fn takes_data(&self) -> bool {
        match &self.phase {
            Phase::Open => true,
            Phase::Answering { reply } => reply.is_none() || !self.sender.is_blocked(),
            Phase::Closing(_) | Phase::Draining { .. } | Phase::Over => false,
        }
    }

    /// Queues a ping, but no more than one for a peer that does not read.
    pub fn ping(&mut self, resources: &mut Resources) -> Effects {
        let waits =
            self.sender.is_blocked() && std::mem::replace(&mut self.liveness.ping_waits, true);
        if !self.is_open() || waits {
            return Effects::default();
        }
        let number = self.liveness.number_ping();
        let payload = number.as_ref().map_or(&b""[..], |number| number);
        self.sender.queue_control(Opcode::Ping, payload, resources);
        self.recount(resources);
        Effects { pinged: number.is_some(), ..Effects::write() }
    }

    /// The ping of [`Effects::pinged`] is sent at this time. [`Events::pong`] gives it back, so whoever
    /// drives the session may use any clock.
    pub fn pinged(&mut self, at: u64) {
        self.liveness.pinged(at);
    }

    /// JavaScript wants to hear how long the answers to its pings take, or no longer.
    pub fn time_pongs(&mut self, wanted: bool) {
        if self.is_open() {
            self.liveness.time_pongs(wanted);
        }
    }

    /// Starts the close handshake, unless one has begun.
    pub fn close(&mut self, frame: CloseFrame, resources: &mut Resources) -> Effects {
        if !self.is_open() {
            return Effects::default();
        }
        // The peer's answer has to be read, and messages do not count any more.
        self.receiver.handler_is_ready(resources);
        let _ = self.liveness.take_ping();
        self.sender.queue_close(&frame, resources);
        self.phase = Phase::Closing(Box::new(frame));
        self.recount(resources);
        Effects { start: Some(Deadline::Close), ..Effects::write() }
    }

    /// JavaScript counts the peer as alive.
    pub fn mark_alive(&mut self) {
        self.liveness.heard();
    }

    /// JavaScript's handler is ready for messages: as many may come from `now` on as there are.
    pub fn handler_is_ready(&mut self, now: u64, resources: &mut Resources) -> Effects {
        let was_held = self.receiver.is_held(resources);
        self.receiver.handler_is_ready(resources);
        self.after_hold(was_held, now, resources)
    }

    /// JavaScript says from now on which messages it has taken, by [`Self::took`], so that only few wait
    /// there. Returns `true` if it did not before: it is then to be told, behind the messages that have
    /// come until now, from where on it counts. It takes that as if it were a message.
    pub fn pace(&mut self, resources: &mut Resources) -> bool {
        let news = self.is_open() && self.receiver.pace(resources);
        self.recount(resources);
        news
    }

    /// What JavaScript has been told so by [`Self::pace`] stands for so many bytes of messages that had
    /// come before.
    pub fn holds(&mut self, bytes: usize, resources: &mut Resources) {
        self.receiver.holds(bytes);
        self.recount(resources);
    }

    /// JavaScript has taken so many messages more.
    pub fn took(&mut self, count: usize, now: u64, resources: &mut Resources) -> Effects {
        let was_held = self.receiver.is_held(resources);
        self.receiver.took(count);
        self.after_hold(was_held, now, resources)
    }

    /// A peer that was not read has its time for a pong again.
    fn after_hold(&mut self, was_held: bool, now: u64, resources: &mut Resources) -> Effects {
        self.recount(resources);
        let reads_again = was_held && !self.receiver.is_held(resources);
        if !reads_again || !self.is_open() || self.liveness.is_certain() {
            return Effects::default();
        }
        self.liveness.wait_from(now);
        Effects { start: Some(Deadline::Pong), ..Effects::default() }
    }

    /// The queue is over its limit: what has not begun to leave is dropped, and the peer is told
    /// with 1008, should it read again.
    pub fn overflow(&mut self, resources: &mut Resources) -> Effects {
        let reason = "maxBackpressure exceeded: the peer reads too slowly";
        self.cut_off(close::POLICY_VIOLATION, reason, resources)
    }

    /// All connections together keep too much, and this one keeps the most.
    pub fn shed(&mut self, resources: &mut Resources) -> Effects {
        let reason = "maxBufferedBytes exceeded: the server keeps too much for its connections";
        if !self.is_open() {
            return self.lose(resources);
        }
        let effects = self.cut_off(close::TRY_AGAIN_LATER, reason, resources);
        // The rest of a frame that has begun may be as long as everything that was dropped.
        if self.sender.queued() <= MAX_LEFT {
            return effects;
        }
        let hang_up = self.lose(resources);
        Effects { course: hang_up.course, ..effects }
    }

    fn cut_off(&mut self, code: u16, reason: &str, resources: &mut Resources) -> Effects {
        if !self.is_open() {
            return Effects::default();
        }
        let _ = self.sender.drop_unsent();
        self.close_without_answer(CloseFrame { code, reason: reason.into() }, resources)
    }

    /// Sends a close frame whose answer is not waited for.
    fn close_without_answer(&mut self, frame: CloseFrame, resources: &mut Resources) -> Effects {
        self.sender.queue_close(&frame, resources);
        let effects = self.end(frame, Course::Drain, resources);
        self.recount(resources);
        Effects { write: true, ..effects }
    }

    /// JavaScript has heard of the end, and everything that it had to say before: the peer is sent
    /// the close frame that it is owed.
    pub fn release(&mut self, resources: &mut Resources) -> Effects {
        let Phase::Answering { reply } = &mut self.phase else { return Effects::default() };
        let last = reply.take();
        if let Some(last) = &last {
            self.sender.queue_close(last, resources);
        }
        self.enter(Phase::Draining { last });
        self.recount(resources);
        Effects { course: Some(Course::Drain), ..Effects::write() }
    }

    /// The connection is gone, or is to be: reset, out of time, or ended by force.
    pub fn lose(&mut self, resources: &mut Resources) -> Effects {
        let effects = match self.phase {
            Phase::Over => Effects::default(),
            Phase::Open | Phase::Closing(_) => self.end(lost(), Course::HangUp, resources),
            Phase::Answering { .. } | Phase::Draining { .. } => {
                Effects { course: Some(Course::HangUp), ..Effects::default() }
            }
        };
        self.enter(Phase::Over);
        self.sender.clear();
        self.recount(resources);
        effects
    }

    /// Leaves [`Phase::Open`] or [`Phase::Closing`].
    fn end(&mut self, report: CloseFrame, course: Course, resources: &mut Resources) -> Effects {
        debug_assert!(self.reads());
        self.receiver.stop(resources);
        self.enter(Phase::Draining { last: None });
        Effects { ended: Some(report), course: Some(course), ..Effects::default() }
    }

    fn enter(&mut self, phase: Phase) {
        // The JavaScript thread writes nothing by itself any more.
        self.sender.account.writer().claim();
        if matches!(phase, Phase::Draining { .. } | Phase::Over) {
            self.sender.account.set_ended();
        }
        self.phase = phase;
    }

    // Writing.

    /// Whether what is queued may be written now. If not, it is to be tried again once the JavaScript
    /// thread, which is writing, nudges, or with [`Self::queue_rest`].
    pub fn may_write(&self) -> bool {
        // To be done with writing, the rest of a frame has to have come.
        let waits = self.sender.queued() > 0 || self.is_draining();
        !waits || self.sender.account.writer().claim()
    }

    /// Queues the rest of a frame of which the JavaScript thread has written the first `written`
    /// bytes, whatever has happened since.
    pub fn queue_rest(
        &mut self,
        frame: EncodedFrame<'_>,
        written: usize,
        resources: &mut Resources,
    ) -> Effects {
        if self.is_over() {
            self.sender.refuse(frame.len() - written);
            return Effects::default();
        }
        self.sender.queue_rest(frame, written);
        self.recount(resources);
        Effects::write()
    }

    /// The bytes to write next; none where nothing waits.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES]> {
        self.sender.slices()
    }

    /// The transport has taken so many of them.
    pub fn wrote(&mut self, count: usize, resources: &mut Resources) {
        if count > 0 && self.sender.is_blocked() {
            // The peer reads, so it lives, even if its pong waits behind our data.
            self.liveness.heard();
        }
        self.sender.wrote(count, resources);
        self.release_writer();
        self.recount(resources);
    }

    /// The JavaScript thread may write by itself while messages go both ways and nothing is queued.
    fn release_writer(&self) {
        if self.is_open() {
            self.sender.release_writer();
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }

    /// Whether JavaScript is to be told that nothing waits to be written any more. Once.
    pub fn takes_drained(&self) -> bool {
        self.sender.account.take_drained()
    }

    /// Whether the transport takes no more for now.
    pub fn is_blocked(&self) -> bool {
        self.sender.is_blocked()
    }

    /// The transport takes no more for now.
    pub fn block(&mut self, resources: &mut Resources) {
        self.sender.block();
        self.drop_for_who_is_done(resources);
        self.recount(resources);
    }

    /// The transport has taken everything after a [`Self::block`]. Returns `true` if there is more
    /// now: a pong that waited.
    pub fn unblock(&mut self, resources: &mut Resources) -> bool {
        self.sender.unblock();
        self.liveness.ping_waits = false;
        // Nothing follows a close frame.
        let owed = self.takes_data() && self.sender.answer_ping(&mut self.liveness, resources);
        self.release_writer();
        self.recount(resources);
        owed
    }

    // Time.

    /// Whether a limit that started at `started` still matters.
    pub fn counts(&self, deadline: Deadline, started: u64) -> bool {
        match deadline {
            Deadline::Heartbeat => self.is_open(),
            Deadline::Pong => self.is_open() && self.liveness.waits_since(started),
            Deadline::Close => matches!(self.phase, Phase::Closing(_) | Phase::Answering { .. }),
        }
    }

    /// A limit has run out at `now`. `reads` tells whether bytes of peers are read: otherwise a
    /// pong may well be there.
    pub fn tick(
        &mut self,
        deadline: Deadline,
        now: u64,
        reads: bool,
        resources: &mut Resources,
    ) -> Effects {
        match (deadline, &self.phase) {
            (Deadline::Close, Phase::Closing(_)) => self.lose(resources),
            (Deadline::Close, Phase::Answering { .. }) => self.release(resources),
            (Deadline::Heartbeat, Phase::Open) => self.beat(now, resources),
            (Deadline::Pong, Phase::Open) => {
                let overdue = self.liveness.is_overdue(now, resources.limits.pong_timeout);
                if !overdue { Effects::default() } else { self.miss_pong(now, reads, resources) }
            }
            _ => Effects::default(),
        }
    }

    fn beat(&mut self, now: u64, resources: &mut Resources) -> Effects {
        self.sender.beat();
        let mut effects = self.ping(resources);
        if self.liveness.is_certain() && resources.limits.pong_timeout > 0 {
            self.liveness.wait_from(now);
            if self.liveness.ask(Question::PingWritten) {
                effects.ask = true;
            } else {
                effects.start = Some(Deadline::Pong);
            }
        }
        effects
    }

    fn miss_pong(&mut self, now: u64, reads: bool, resources: &mut Resources) -> Effects {
        if let Some(again) = self.give_time_again(now, reads, resources) {
            again
        } else if self.liveness.ask(Question::PongRead) {
            Effects { ask: true, ..Effects::default() }
        } else {
            self.give_up(resources)
        }
    }

    /// Where nobody reads, the pong may well be there: the peer gets its time again.
    fn give_time_again(&mut self, now: u64, reads: bool, resources: &Resources) -> Option<Effects> {
        if reads && matches!(self.appetite(now, resources), Appetite::Hungry(_)) {
            return None;
        }
        self.liveness.wait_from(now);
        Some(Effects { start: Some(Deadline::Pong), ..Effects::default() })
    }

    /// The peer is silent for too long: it is told with 1001, if that can be written.
    fn give_up(&mut self, resources: &mut Resources) -> Effects {
        if self.sender.is_blocked() {
            return self.lose(resources);
        }
        let frame = CloseFrame { code: close::GOING_AWAY, reason: "no pong in time".into() };
        self.close_without_answer(frame, resources)
    }

    /// JavaScript has written and read what there was when it was asked. Returns what that answers,
    /// if it is the last answer to come: [`Self::conclude`].
    pub fn answered(&mut self) -> Option<Question> {
        self.liveness.answered()
    }

    /// What JavaScript has read by the time of its answer has been parsed.
    pub fn conclude(
        &mut self,
        question: Question,
        now: u64,
        reads: bool,
        resources: &mut Resources,
    ) -> Effects {
        if !self.is_open() || self.liveness.is_certain() {
            return Effects::default();
        }
        match question {
            Question::PingWritten => {
                self.liveness.wait_from(now);
                Effects { start: Some(Deadline::Pong), ..Effects::default() }
            }
            Question::PongRead => match self.give_time_again(now, reads, resources) {
                Some(again) => again,
                None => self.give_up(resources),
            },
        }
    }
}

/// What JavaScript is told of an end without a close handshake.
fn lost() -> CloseFrame {
    CloseFrame { code: close::ABNORMAL, reason: "".into() }
}
