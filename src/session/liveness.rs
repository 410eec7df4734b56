//! Whether the peer still lives: pings, their answers, and whoever has to be asked first.

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
    /// The latest ping that came while the peer does not read, or while too much is queued. Only
    /// that one has to be answered (RFC 6455 §5.5.3), so a flood of pings cannot fill the outbox.
    pub unanswered: Option<Box<[u8]>>,
    /// What JavaScript has been asked last, and how many of its answers are still to come. Only the
    /// last one counts.
    question: Question,
    answers: u32,
}

impl Liveness {
    pub fn new(pumped: bool) -> Self {
        Self {
            pumped,
            pinged_at: None,
            ping_waits: false,
            peer_has_closed: false,
            unanswered: None,
            question: Question::PingWritten,
            answers: 0,
        }
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
