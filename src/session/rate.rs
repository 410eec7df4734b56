//! How many messages a peer may send: two token buckets, kept as one point of time each.

/// How many messages one connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// Messages a second, in the long run; at least one.
    pub per_second: u32,
    /// Messages at once, after a silence; at least one.
    pub burst: u32,
    /// What a message meets that comes too early.
    pub policy: RatePolicy,
}

/// What a message meets that comes too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RatePolicy {
    /// The connection is closed with 1008.
    Close,
    /// The message is dropped and counted.
    Drop,
    /// Nothing is read of the peer until there is room for it.
    Pause,
}

/// Frames that are no whole message are bounded as well, as a peer could burn the time of the thread
/// with them: so many come to one message of the option.
const FRAMES_PER_MESSAGE: u64 = 16;

/// So many of them are allowed at once in any case: a long message in small fragments.
const MIN_FRAME_BURST: u64 = 1024;

/// A fragment with so many bytes of payload is worth its header: `maxMessageSize` bounds those.
const WORTHWHILE_FRAGMENT: u64 = 1024;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// A reader that has to wait is not called for one message after the other, but waits so many
/// milliseconds where the burst allows that.
const MIN_WAIT: u64 = 20;

/// What one connection has sent of late. There only where there is a [`MessageRate`].
#[derive(Debug)]
pub(super) struct RateLimiter {
    rate: MessageRate,
    messages: Bucket,
    /// Fragments, pings and pongs.
    frames: Bucket,
}

impl RateLimiter {
    pub fn new(rate: MessageRate) -> Self {
        Self { rate, messages: Bucket::default(), frames: Bucket::default() }
    }

    pub fn policy(&self) -> RatePolicy {
        self.rate.policy
    }

    /// A message has come at `now` (milliseconds). Returns `false` where it is one too many.
    pub fn takes_message(&mut self, now: u64) -> bool {
        self.messages.take(now, Pace::of_messages(self.rate))
    }

    /// A ping or a pong has come. Returns `false` where it is one too many.
    pub fn takes_control(&mut self, now: u64) -> bool {
        self.frames.take(now, Pace::of_frames(self.rate))
    }

    /// The same for a fragment, not the last of its message, with `len` bytes of payload.
    pub fn takes_fragment(&mut self, len: u64, now: u64) -> bool {
        len >= WORTHWHILE_FRAGMENT || self.takes_control(now)
    }

    /// For how many milliseconds nothing is to be read; 0 where the next frame may come.
    pub fn pause(&self, now: u64) -> u64 {
        let of_frames = || self.frames.pause(now, Pace::of_frames(self.rate));
        match self.rate.policy {
            // They are told.
            RatePolicy::Close => 0,
            // Fragments and pings cannot be dropped.
            RatePolicy::Drop => of_frames(),
            RatePolicy::Pause => {
                of_frames().max(self.messages.pause(now, Pace::of_messages(self.rate)))
            }
        }
    }
}

/// What a bucket is emptied and filled by, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The time that one costs.
    interval: u64,
    /// What they may cost together at once.
    burst: u64,
}

impl Pace {
    fn of_messages(MessageRate { per_second, burst, .. }: MessageRate) -> Self {
        Self::new(per_second.into(), burst.into())
    }

    fn of_frames(MessageRate { per_second, burst, .. }: MessageRate) -> Self {
        let burst = (FRAMES_PER_MESSAGE * u64::from(burst)).max(MIN_FRAME_BURST);
        Self::new(FRAMES_PER_MESSAGE * u64::from(per_second), burst)
    }

    fn new(per_second: u64, burst: u64) -> Self {
        let interval = NANOS_PER_SECOND / per_second;
        // The clock has no smaller steps than a millisecond: in it, none may get lost.
        Self { interval, burst: (burst * interval).max(interval + NANOS_PER_MILLI) }
    }
}

/// A token bucket as the generic cell rate algorithm has it: the time at which it will be full again.
#[derive(Debug, Default)]
struct Bucket(u64);

impl Bucket {
    fn after_one_more(&self, now: u64, pace: Pace) -> u64 {
        self.0.max(now * NANOS_PER_MILLI) + pace.interval
    }

    fn take(&mut self, now: u64, pace: Pace) -> bool {
        let full_at = self.after_one_more(now, pace);
        let fits = full_at - now * NANOS_PER_MILLI <= pace.burst;
        if fits {
            self.0 = full_at;
        }
        fits
    }

    /// Milliseconds until one more fits, and some where there is room for several.
    fn pause(&self, now: u64, pace: Pace) -> u64 {
        let early = (self.after_one_more(now, pace) - now * NANOS_PER_MILLI)
            .saturating_sub(pace.burst)
            .div_ceil(NANOS_PER_MILLI);
        let several = MIN_WAIT.min(pace.burst / 2 / NANOS_PER_MILLI);
        if early == 0 { 0 } else { early.max(several) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MessageRate = MessageRate { per_second: 10, burst: 3, policy: RatePolicy::Pause };

    fn taken(limiter: &mut RateLimiter, now: u64, of: u32) -> usize {
        (0..of).filter(|_| limiter.takes_message(now)).count()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_as_many_as_the_rate_allows() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(taken(&mut limiter, 5, 10), 3);
        assert_eq!(taken(&mut limiter, 104, 10), 0);
        assert_eq!(taken(&mut limiter, 105, 10), 1);
        assert_eq!(taken(&mut limiter, 305, 10), 2);
        // However long the silence is, no more than the burst.
        assert_eq!(taken(&mut limiter, 1_000_000, 10), 3);
    }

    #[test]
    fn as_many_pass_in_the_long_run_as_the_option_says() {
        for (per_second, burst) in [(1, 1), (3, 2), (999, 1), (5000, 50), (1_000_000, 1)] {
            let rate = MessageRate { per_second, burst, ..RATE };
            let mut limiter = RateLimiter::new(rate);
            let seconds = 3;
            let passed: usize =
                (0..seconds * 1000).map(|now| taken(&mut limiter, now, per_second.min(3000))).sum();
            let wanted = seconds as usize * per_second as usize;
            let (least, most) = (wanted, wanted + wanted / 100 + burst as usize + 1000);
            assert!((least..=most).contains(&passed), "{passed} of {wanted}");
        }
    }

    #[test]
    fn whoever_waits_as_long_as_it_says_finds_room_and_gets_the_whole_rate() {
        for (per_second, burst) in [(1, 1), (10, 3), (100, 1), (1000, 100)] {
            let rate = MessageRate { per_second, burst, ..RATE };
            let mut limiter = RateLimiter::new(rate);
            let (mut now, mut passed) = (0, 0);
            while now < 10_000 {
                match limiter.pause(now) {
                    0 => assert!(limiter.takes_message(now)),
                    pause => {
                        now += pause;
                        assert_eq!(limiter.pause(now), 0);
                        continue;
                    }
                }
                passed += 1;
            }
            let wanted = 10 * per_second;
            assert!((wanted..=wanted + burst + 1).contains(&passed), "{passed} of {wanted}");
        }
    }

    #[test]
    fn frames_that_are_no_message_have_an_allowance_of_their_own() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(taken(&mut limiter, 0, 10), 3);
        let pings = (0..5000).filter(|_| limiter.takes_control(0)).count();
        assert_eq!(pings as u64, MIN_FRAME_BURST);
        assert!(!limiter.takes_fragment(1, 0) && !limiter.takes_fragment(0, 0));
        assert!(limiter.takes_fragment(WORTHWHILE_FRAGMENT, 0));
        // They have no part in what messages have, nor the other way round.
        assert_eq!(taken(&mut limiter, 1000, 10), 3);
    }

    #[test]
    fn what_can_be_neither_dropped_nor_told_is_waited_for() {
        let policies = [RatePolicy::Close, RatePolicy::Drop, RatePolicy::Pause];
        let limiters = policies.map(|policy| RateLimiter::new(MessageRate { policy, ..RATE }));
        let waits = limiters.map(|mut limiter| {
            taken(&mut limiter, 0, 10);
            let behind_messages = limiter.pause(0);
            while limiter.takes_control(0) {}
            (behind_messages, limiter.pause(0) > 0)
        });
        assert_eq!(waits, [(0, false), (0, true), (100, true)]);
    }
}
