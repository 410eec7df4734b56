//! The receiving half of a session: when it takes bytes, and what becomes of them.

use std::collections::VecDeque;

use super::liveness::Liveness;
use super::rate::{MessageRate, RateLimiter, RatePolicy};
use super::resources::Resources;
use super::sending::Sender;
use crate::protocol::{Assembler, CloseFrame, Opcode, Sink, Violation, close};

/// With so many bytes in the queue, a ping is not answered at once: of those that one read brings
/// from then on, only the last one is (RFC 6455 §5.5.3).
const MAX_QUEUED_FOR_PONG: usize = 64 << 10;

/// Bytes of messages that JavaScript has to hold, for a handler that is not ready for them or as it has
/// paused, above which nothing more is taken from that peer.
pub(super) const MAX_HELD: usize = 64 << 10;

/// The same for all connections of a thread together. Those whose handlers are ready are not affected.
pub(super) const MAX_HELD_BY_ALL: usize = 16 << 20;

/// While messages are held, so many bytes are read at a time, or as many as there is room for: not one
/// by one for a long message that is the last to fit.
const READ_WHILE_HELD: usize = 4 << 10;

/// What a held message costs beside its content, so that empty ones count as well.
const HELD_MESSAGE: usize = 64;

/// Where there is a [`MessageRate`], so many bytes are read at a time: what has been
/// read of a peer that has to wait is kept as long as it waits.
const READ_WHILE_LIMITED: usize = 16 << 10;

const TOO_FAST: Violation = Violation {
    code: close::POLICY_VIOLATION,
    reason: "messageRate exceeded: the peer sends too fast",
};

/// Takes the messages of a session, in the order of the wire.
pub trait Events {
    /// A message that lies in the input: copy what is to be kept. Text is valid UTF-8.
    fn message(&mut self, is_text: bool, payload: &[u8]);
    /// A message that has its own memory.
    fn assembled(&mut self, is_text: bool, payload: Vec<u8>);
    /// The peer has sent more than its [`MessageRate`] allows: a message is not
    /// taken, or the connection ends.
    fn too_fast(&mut self, policy: RatePolicy);
    /// The peer has answered a ping that was sent at this time: see [`Session::pinged`](super::Session).
    fn pong(&mut self, pinged_at: u64);
    /// Whether it takes no more for now. Asked between two messages: a kilobyte of input may be a
    /// megabyte of one.
    fn is_full(&self) -> bool;
}

/// Whether a session wants bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appetite {
    /// Bytes that came before wait to be parsed: [`Session::go_on`](super::Session::go_on).
    Unread,
    /// It takes the next bytes of the peer, but no more than this many.
    Hungry(usize),
    /// It takes none until JavaScript's handler is ready for messages, or has taken some.
    Held,
    /// It takes none for so many milliseconds, as the peer has sent as much as it may.
    Limited(u64),
    /// It takes none any more.
    Done,
}

/// How far JavaScript is with the connection's handler.
#[derive(Debug)]
enum Handler {
    /// It is not ready for messages: so many bytes of them are held for it.
    Awaited(usize),
    /// Messages go to listeners as they come.
    Ready,
    /// JavaScript says which of them it has taken, and has some wait.
    Paced(Box<Paced>),
}

/// Messages that JavaScript has not said to have taken.
#[derive(Debug, Default)]
struct Paced {
    /// What each counts, in bytes, oldest first. The first of all is none: it stands for those before it.
    costs: VecDeque<usize>,
    sum: usize,
}

impl Paced {
    fn push(&mut self, cost: usize) {
        self.costs.push_back(cost);
        self.sum += cost;
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    assembler: Assembler,
    /// What has come and not been parsed, because JavaScript took no more.
    unread: Vec<u8>,
    handler: Handler,
    /// Where there is a [`MessageRate`].
    limiter: Option<Box<RateLimiter>>,
}

/// What came of some bytes.
pub(super) struct Received {
    /// The peer closes, or has to be told that it broke the protocol.
    pub over: Option<Result<CloseFrame, Violation>>,
    /// There is something to be written: pongs.
    pub write: bool,
}

impl Receiver {
    pub fn new(assembler: Assembler, rate: Option<MessageRate>) -> Self {
        let limiter = rate.map(|rate| Box::new(RateLimiter::new(rate)));
        Self { assembler, unread: Vec::new(), handler: Handler::Awaited(0), limiter }
    }

    /// Whether it has to be told the time.
    pub fn is_limited(&self) -> bool {
        self.limiter.is_some()
    }

    /// `open` tells whether messages count.
    pub fn appetite(&self, open: bool, now: u64, resources: &Resources) -> Appetite {
        let room = self.handler.room(resources);
        if room == 0 {
            return Appetite::Held;
        }
        let most = match self.limiter.as_deref().filter(|_| open) {
            None => usize::MAX,
            Some(limiter) => match limiter.pause(now) {
                0 => READ_WHILE_LIMITED,
                pause => return Appetite::Limited(pause),
            },
        };
        if self.unread.is_empty() {
            Appetite::Hungry(room.max(READ_WHILE_HELD).min(most))
        } else {
            Appetite::Unread
        }
    }

    /// Bytes that have come and not been parsed.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Memory of what is unfinished, has not been parsed, or is held for the handler, in bytes.
    pub fn kept(&self) -> usize {
        let held = match &self.handler {
            Handler::Awaited(held) => *held,
            Handler::Ready => 0,
            Handler::Paced(paced) => paced.sum,
        };
        self.assembler.kept() + self.unread.capacity() + held
    }

    /// Whether it takes nothing because of what JavaScript holds.
    pub fn is_held(&self, resources: &Resources) -> bool {
        self.handler.room(resources) == 0
    }

    /// JavaScript says from now on what it takes. Returns `true` if it did not before: it is then to be
    /// told from where on it counts, which is the first that it takes.
    pub fn pace(&mut self, resources: &mut Resources) -> bool {
        let held = match self.handler {
            Handler::Awaited(held) => held,
            Handler::Ready => 0,
            Handler::Paced(_) => return false,
        };
        self.handler_is_ready(resources);
        let mut paced = Box::<Paced>::default();
        paced.push(held);
        self.handler = Handler::Paced(paced);
        true
    }

    /// JavaScript holds so many bytes of what came before it was told from where on it counts.
    pub fn holds(&mut self, bytes: usize) {
        if let Handler::Paced(paced) = &mut self.handler
            && let Some(first) = paced.costs.front_mut()
        {
            paced.sum = paced.sum - *first + bytes;
            *first = bytes;
        }
    }

    /// JavaScript has taken so many.
    pub fn took(&mut self, count: usize) {
        if let Handler::Paced(paced) = &mut self.handler {
            let count = count.min(paced.costs.len());
            paced.sum -= paced.costs.drain(..count).sum::<usize>();
        }
    }

    /// JavaScript holds no more messages.
    pub fn handler_is_ready(&mut self, resources: &mut Resources) {
        if let Handler::Awaited(held) = std::mem::replace(&mut self.handler, Handler::Ready) {
            resources.held -= held;
        }
    }

    /// Nothing is taken any more. What is held is as good as delivered.
    pub fn stop(&mut self, resources: &mut Resources) {
        self.handler_is_ready(resources);
        self.assembler.abandon();
        self.unread = Vec::new();
    }

    /// Takes bytes of the peer, and keeps those that JavaScript has no room for.
    pub fn receive(&mut self, bytes: &mut [u8], intake: Intake<'_, impl Events>) -> Received {
        debug_assert!(self.unread.is_empty());
        let (taken, received) = self.parse(bytes, intake);
        if received.over.is_none() {
            self.unread = bytes[taken..].to_vec();
        }
        received
    }

    /// Goes on with the bytes that were kept.
    pub fn go_on(&mut self, intake: Intake<'_, impl Events>) -> Received {
        let mut unread = std::mem::take(&mut self.unread);
        let (taken, received) = self.parse(&mut unread, intake);
        if received.over.is_none() {
            // A copy, so that what has been parsed takes no memory any more.
            self.unread = if taken == 0 { unread } else { unread[taken..].to_vec() };
        }
        received
    }

    fn parse(&mut self, bytes: &mut [u8], intake: Intake<'_, impl Events>) -> (usize, Received) {
        intake.liveness.heard();
        let limiter = self.limiter.as_deref_mut().filter(|_| intake.open);
        let handler = &mut self.handler;
        let mut parsing =
            Parsing { handler, limiter, intake, write: false, close: None, too_fast: false };
        let result = self.assembler.feed(bytes, &mut parsing);
        let over = match (result, parsing.close.take()) {
            _ if parsing.too_fast => Some(Err(TOO_FAST)),
            (Err(violation), _) => Some(Err(violation)),
            (Ok(_), Some(frame)) => Some(Ok(frame)),
            (Ok(_), None) => None,
        };
        let Parsing { intake, mut write, .. } = parsing;
        // Of the pings that had to wait for each other, the last one; nothing follows a close frame.
        if intake.open {
            write |= intake.sender.answer_ping(intake.liveness, intake.resources);
        }
        (result.unwrap_or(0), Received { over, write })
    }
}

impl Handler {
    /// How many bytes of messages may be held for it.
    fn room(&self, resources: &Resources) -> usize {
        match self {
            Self::Awaited(_) if resources.held >= MAX_HELD_BY_ALL => 0,
            Self::Awaited(held) => MAX_HELD.saturating_sub(*held),
            Self::Ready => usize::MAX,
            Self::Paced(paced) => MAX_HELD.saturating_sub(paced.sum),
        }
    }

    fn took(&mut self, len: usize, resources: &mut Resources) {
        match self {
            Self::Awaited(held) => {
                *held += len + HELD_MESSAGE;
                resources.held += len + HELD_MESSAGE;
            }
            Self::Ready => {}
            Self::Paced(paced) => paced.push(len + HELD_MESSAGE),
        }
    }
}

/// What bytes of the peer have to do with beside the [`Receiver`].
pub(super) struct Intake<'a, E> {
    pub sender: &'a mut Sender,
    pub liveness: &'a mut Liveness,
    pub resources: &'a mut Resources,
    pub events: &'a mut E,
    /// The time in milliseconds, where the peer is limited.
    pub now: u64,
    /// Whether messages count: what arrives after we started to close is dropped, as in browsers.
    pub open: bool,
}

/// Where the assembler puts what it finds.
struct Parsing<'a, E> {
    handler: &'a mut Handler,
    /// Where the peer is limited, and messages count.
    limiter: Option<&'a mut RateLimiter>,
    intake: Intake<'a, E>,
    write: bool,
    close: Option<CloseFrame>,
    /// The peer has sent so fast that the connection ends.
    too_fast: bool,
}

impl<E: Events> Parsing<'_, E> {
    /// Whether a message that has come counts, and is not one too many.
    fn takes_message(&mut self) -> bool {
        self.intake.open && self.takes(RateLimiter::takes_message)
    }

    fn takes(&mut self, takes: impl FnOnce(&mut RateLimiter, u64) -> bool) -> bool {
        let Some(limiter) = &mut self.limiter else { return true };
        let taken = takes(limiter, self.intake.now);
        if !taken && !self.too_fast {
            self.too_fast = limiter.policy() == RatePolicy::Close;
            self.intake.events.too_fast(limiter.policy());
        }
        taken
    }
}

impl<E: Events> Sink for Parsing<'_, E> {
    fn message(&mut self, is_text: bool, payload: &[u8]) {
        if self.takes_message() {
            self.handler.took(payload.len(), self.intake.resources);
            self.intake.events.message(is_text, payload);
        }
    }

    fn assembled(&mut self, is_text: bool, payload: Vec<u8>) {
        if self.takes_message() {
            self.handler.took(payload.len(), self.intake.resources);
            self.intake.events.assembled(is_text, payload);
        }
    }

    fn fragment(&mut self, len: u64) {
        self.takes(|limiter, now| limiter.takes_fragment(len, now));
    }

    fn ping(&mut self, payload: &[u8]) {
        if !self.intake.open || !self.takes(RateLimiter::takes_control) {
            return;
        }
        let queued = self.intake.sender.account.buffered();
        if self.intake.sender.is_blocked() || queued >= MAX_QUEUED_FOR_PONG {
            self.intake.liveness.keep_ping(payload);
        } else {
            self.intake.sender.queue_control(Opcode::Pong, payload, self.intake.resources);
            self.write = true;
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        self.takes(RateLimiter::takes_control);
        self.intake.sender.account.mark_alive();
        if let Some(pinged_at) = self.intake.liveness.answered_at(payload) {
            self.intake.events.pong(pinged_at);
        }
    }

    fn close(&mut self, frame: CloseFrame) {
        self.close = Some(frame);
    }

    fn is_full(&self) -> bool {
        let Self { handler, limiter, intake, too_fast, .. } = self;
        let Intake { resources, now, open, .. } = intake;
        *too_fast
            || *open && handler.room(resources) == 0
            || limiter.as_deref().is_some_and(|limiter| limiter.pause(*now) > 0)
            || intake.events.is_full()
    }
}
