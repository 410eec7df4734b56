//! Whether the peer still lives: pings, their answers, and whoever has to be asked first.

use std::collections::VecDeque;

/// Of so many pings that have not been answered, the time is known; of earlier ones it is forgotten.
const MAX_TIMED: usize = 8;

/// A limit of time, whose length is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The next ping is due.
    Heartbeat,
    /// A ping must have been answered.
    Pong,
    /// A close handshake must have come to its end.
    Close,
}

/// What is to be known of a connection whose bytes JavaScript pumps: it may be too busy to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Has the ping been written? From then on the peer has its time.
    PingWritten,
    /// Is the pong overdue, or was it waiting to be read?
    PongRead,
}

/// What is known of the peer's life.
#[derive(Debug)]
pub(super) struct Liveness {
    /// JavaScript pumps the bytes, so it has to be asked.
    pumped: bool,
    /// When the oldest unanswered ping was sent, in the milliseconds of whoever keeps the time.
    pinged_at: Option<u64>,
    /// A ping waits for a peer that does not read.
    pub ping_waits: bool,
    /// The peer has sent its close frame, behind which nothing comes (RFC 6455 §1.4). Here, as by
    /// itself it would take eight bytes of each connection.
    pub peer_has_closed: bool,
    /// What most connections have no use for.
    seldom: Option<Box<Seldom>>,
    /// What JavaScript has been asked last, and how many of its answers are still to come. Only the
    /// last one counts.
    question: Question,
    answers: u32,
}

#[derive(Debug, Default)]
struct Seldom {
    /// The latest ping that came while the peer does not read, or while too much is queued. Only
    /// that one has to be answered (RFC 6455 §5.5.3), so a flood of pings cannot fill the outbox.
    unanswered: Option<Box<[u8]>>,
    /// Our pings, where JavaScript wants to know how long their answers take.
    timed: Option<Timed>,
}

/// Pings that can be told apart by their payload, which is their number.
#[derive(Debug, Default)]
struct Timed {
    next: u32,
    /// The number of each that has not been answered, and when it was sent, oldest first.
    under_way: VecDeque<(u32, u64)>,
}

impl Liveness {
    pub fn new(pumped: bool) -> Self {
        Self {
            pumped,
            pinged_at: None,
            ping_waits: false,
            peer_has_closed: false,
            seldom: None,
            question: Question::PingWritten,
            answers: 0,
        }
    }

    /// A ping of the peer that is to be answered later, instead of earlier ones.
    pub fn keep_ping(&mut self, payload: &[u8]) {
        self.seldom.get_or_insert_default().unanswered = Some(payload.into());
    }

    /// Takes the ping that has been kept.
    pub fn take_ping(&mut self) -> Option<Box<[u8]>> {
        let ping = self.seldom.as_mut()?.unanswered.take();
        self.forget_if_empty();
        ping
    }

    fn forget_if_empty(&mut self) {
        if let Some(Seldom { unanswered: None, timed: None }) = self.seldom.as_deref() {
            self.seldom = None;
        }
    }

    /// JavaScript wants to know how long answers to pings take from now on, or no longer.
    pub fn time_pongs(&mut self, wanted: bool) {
        if wanted {
            self.seldom.get_or_insert_default().timed.get_or_insert_default();
        } else if let Some(seldom) = &mut self.seldom {
            seldom.timed = None;
            self.forget_if_empty();
        }
    }

    /// The payload of the next ping where its answer is timed: [`Self::pinged`] is to follow.
    pub fn number_ping(&mut self) -> Option<[u8; 4]> {
        let Timed { next, under_way } = self.seldom.as_mut()?.timed.as_mut()?;
        let number = *next;
        *next = next.wrapping_add(1);
        if under_way.len() == MAX_TIMED {
            under_way.pop_front();
        }
        under_way.push_back((number, 0));
        Some(number.to_be_bytes())
    }

    /// The latest numbered ping is sent at this time, of whatever clock.
    pub fn pinged(&mut self, at: u64) {
        let timed = self.seldom.as_mut().and_then(|seldom| seldom.timed.as_mut());
        if let Some((_, sent)) = timed.and_then(|timed| timed.under_way.back_mut()) {
            *sent = at;
        }
    }

    /// Takes a pong. Returns when the ping was sent that it answers, if that is timed. A peer need not
    /// answer those before it (RFC 6455 §5.5.3).
    pub fn answered_at(&mut self, payload: &[u8]) -> Option<u64> {
        let number = u32::from_be_bytes(payload.try_into().ok()?);
        let under_way = &mut self.seldom.as_mut()?.timed.as_mut()?.under_way;
        let at = under_way.iter().position(|(each, _)| *each == number)?;
        under_way.drain(..=at).next_back().map(|(_, sent)| sent)
    }

    /// The peer has done something.
    pub fn heard(&mut self) {
        self.pinged_at = None;
    }

    /// Whether no ping waits for its answer.
    pub fn is_certain(&self) -> bool {
        self.pinged_at.is_none()
    }

    /// The peer has its time from `now` on.
    pub fn wait_from(&mut self, now: u64) {
        self.pinged_at = Some(now);
    }

    /// Whether its time, `limit` milliseconds, is up.
    pub fn is_overdue(&self, now: u64, limit: u64) -> bool {
        self.pinged_at.is_some_and(|pinged_at| now.saturating_sub(pinged_at) >= limit)
    }

    /// Whether a limit that started at `started` still matters: that of an older ping, which has
    /// been answered, ends nobody.
    pub fn waits_since(&self, started: u64) -> bool {
        self.pinged_at.is_some_and(|pinged_at| pinged_at <= started)
    }

    /// Returns `true` if JavaScript has to be asked first; it is then to be.
    pub fn ask(&mut self, question: Question) -> bool {
        if self.pumped {
            self.question = question;
            self.answers += 1;
        }
        self.pumped
    }

    /// Takes JavaScript's answer. Returns what it answers, if it is the last one to come.
    pub fn answered(&mut self) -> Option<Question> {
        self.answers = self.answers.saturating_sub(1);
        (self.answers == 0).then_some(self.question)
    }
}
