//! Who may write to the socket of a connection.
//!
//! Writing is the I/O thread's work. But a lone answer costs less where the JavaScript thread writes
//! it itself than where it has to wake a thread that sleeps. So the right to write is a token: the I/O
//! thread holds it while something is queued and from the moment on at which the connection begins to
//! end; otherwise it is free, and the JavaScript thread may take it for the length of one write.

#[cfg(not(all(test, model)))]
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(all(test, model))]
use loom::sync::atomic::{AtomicU8, Ordering};

/// The I/O thread writes, or nothing may be written any more.
const IO: u8 = 0;
/// Nothing is queued, and nobody writes.
const FREE: u8 = 1;
/// The JavaScript thread writes.
const JS: u8 = 2;
/// As [`JS`], and the I/O thread has something to write behind it.
const JS_AND_IO_WAITS: u8 = 3;
/// The JavaScript thread has written a part of a frame. Nothing else may be written before the I/O
/// thread has queued the rest, which comes through the log.
const OWED: u8 = 4;

/// The right to write.
#[derive(Debug)]
pub struct WriterToken(AtomicU8);

impl Default for WriterToken {
    /// As the I/O thread has it before the first byte.
    fn default() -> Self {
        Self(AtomicU8::new(IO))
    }
}

impl WriterToken {
    /// I/O thread: has something to write, or wants nothing to be written any more. Returns `true` if
    /// it may write now; otherwise it hears when it may, by [`Taken::give_back`] or by the rest of a
    /// frame.
    pub fn claim(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            let claimed = match state {
                IO => return true,
                FREE => IO,
                JS => JS_AND_IO_WAITS,
                _ => return false,
            };
            match self.0.compare_exchange(state, claimed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return claimed == IO,
                Err(other) => state = other,
            }
        }
    }

    /// I/O thread, which may write: everything is written.
    pub fn release(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), IO);
        // What it has written comes before what whoever takes it now writes.
        self.0.store(FREE, Ordering::Release);
    }

    /// I/O thread: the rest of what JavaScript has begun to write is at the front of the queue.
    pub fn take_over(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), OWED);
        self.0.store(IO, Ordering::Relaxed);
    }

    /// JavaScript thread: takes the token if it is free.
    pub fn take(&self) -> Option<Taken<'_>> {
        let taken = self.0.compare_exchange(FREE, JS, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Taken(self))
    }
}

/// The token in the hands of the JavaScript thread, which never waits while it has it.
#[must_use]
pub struct Taken<'a>(&'a WriterToken);

impl Taken<'_> {
    /// Only whole frames have been written. Returns `true` if the I/O thread has to be told that it
    /// may write.
    pub fn give_back(self) -> bool {
        let state = &self.0.0;
        let io_waits =
            state.compare_exchange(JS, FREE, Ordering::AcqRel, Ordering::Acquire).is_err();
        if io_waits {
            state.store(IO, Ordering::Release);
        }
        io_waits
    }

    /// A frame has been written in part, and the rest goes through the log.
    pub fn owe(self) {
        self.0.0.swap(OWED, Ordering::AcqRel);
    }
}

/// Every interleaving of the two threads, and every value that a load may see: `npm run test:model`.
#[cfg(all(test, model))]
mod model {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;

    /// Frames are two bytes that follow each other.
    const FIRST: [usize; 2] = [11, 12];
    const SECOND: [usize; 2] = [21, 22];
    const PONG: [usize; 2] = [31, 32];
    const CLOSE: [usize; 2] = [41, 42];

    /// A socket. Whoever writes without the token, or without having seen what was written before,
    /// finds the end in the wrong place.
    struct Socket {
        bytes: [AtomicUsize; 8],
        end: AtomicUsize,
    }

    impl Socket {
        fn write(&self, bytes: &[usize]) {
            for byte in bytes {
                let end = self.end.load(Relaxed);
                self.bytes[end].store(*byte, Relaxed);
                self.end.store(end + 1, Relaxed);
            }
        }
    }

    enum Op {
        Frame([usize; 2]),
        Rest(usize),
    }

    struct Shared {
        token: WriterToken,
        socket: Socket,
        log: Mutex<Vec<Op>>,
        carried_out: AtomicUsize,
        nudged: AtomicBool,
    }

    /// The JavaScript thread, as `engine::lone` has it.
    fn javascript(shared: &Shared, takes: [usize; 2]) {
        let mut handed_over = 0;
        for (frame, takes) in [FIRST, SECOND].into_iter().zip(takes) {
            let caught_up = shared.carried_out.load(Acquire) == handed_over;
            let taken = if caught_up { shared.token.take() } else { None };
            let rest = match taken {
                None => Op::Frame(frame),
                Some(taken) => {
                    shared.socket.write(&frame[..takes]);
                    if takes == 1 {
                        taken.owe();
                        Op::Rest(frame[1])
                    } else {
                        if taken.give_back() {
                            shared.nudged.store(true, Release);
                        }
                        if takes == 2 {
                            continue;
                        }
                        Op::Frame(frame)
                    }
                }
            };
            shared.log.lock().unwrap().push(rest);
            handed_over += 1;
        }
    }

    /// The I/O thread, as `io` and `session` have it.
    #[derive(Default)]
    struct Io {
        queue: Vec<usize>,
        closing: bool,
    }

    impl Io {
        fn queue(&mut self, shared: &Shared, frame: [usize; 2]) {
            shared.token.claim();
            self.queue.extend(frame);
        }

        fn close(&mut self, shared: &Shared) {
            self.queue(shared, CLOSE);
            self.closing = true;
        }

        fn carry_out(&mut self, shared: &Shared) {
            let ops = std::mem::take(&mut *shared.log.lock().unwrap());
            for op in ops {
                match op {
                    Op::Frame(_) if self.closing => {}
                    Op::Frame(frame) => self.queue(shared, frame),
                    Op::Rest(byte) => {
                        self.queue.insert(0, byte);
                        shared.token.take_over();
                    }
                }
                let count = shared.carried_out.load(Relaxed) + 1;
                shared.carried_out.store(count, Release);
            }
        }

        fn flush(&mut self, shared: &Shared) {
            if self.queue.is_empty() || !shared.token.claim() {
                return;
            }
            shared.socket.write(&self.queue);
            self.queue.clear();
            if !self.closing {
                shared.token.release();
            }
        }
    }

    /// What arrives where the socket takes so many bytes of the two frames that JavaScript sends, and
    /// the I/O thread does `more` meanwhile.
    fn explore(takes: [usize; 2], more: fn(&mut Io, &Shared)) {
        loom::model(move || {
            let shared = Arc::new(Shared {
                token: WriterToken::default(),
                socket: Socket {
                    bytes: std::array::from_fn(|_| AtomicUsize::new(0)),
                    end: AtomicUsize::new(0),
                },
                log: Mutex::default(),
                carried_out: AtomicUsize::new(0),
                nudged: AtomicBool::new(false),
            });
            shared.token.release();
            let other = {
                let shared = shared.clone();
                thread::spawn(move || javascript(&shared, takes))
            };
            let mut io = Io::default();
            io.carry_out(&shared);
            more(&mut io, &shared);
            io.flush(&shared);
            other.join().unwrap();
            // It wakes again only if it is told to.
            while shared.nudged.swap(false, AcqRel) || !shared.log.lock().unwrap().is_empty() {
                io.carry_out(&shared);
                io.flush(&shared);
            }
            assert!(io.queue.is_empty());
            check(&shared, io.closing);
        });
    }

    fn check(shared: &Shared, closed: bool) {
        let end = shared.socket.end.load(Relaxed);
        let bytes = shared.socket.bytes[..end].iter().map(|byte| byte.load(Relaxed));
        let bytes: Vec<_> = bytes.collect();
        let (frames, half) = bytes.as_chunks::<2>();
        assert!(half.is_empty(), "{bytes:?}");
        let sent: Vec<_> = frames.iter().filter(|frame| ![PONG, CLOSE].contains(frame)).collect();
        if closed {
            assert_eq!(frames.last(), Some(&CLOSE), "{bytes:?}");
            assert!([FIRST, SECOND].iter().collect::<Vec<_>>().starts_with(&sent), "{bytes:?}");
        } else {
            assert_eq!(sent, [&FIRST, &SECOND], "{bytes:?}");
        }
    }

    fn explore_all(more: fn(&mut Io, &Shared)) {
        for first in 0..=2 {
            for second in 0..=2 {
                explore([first, second], more);
            }
        }
    }

    #[test]
    fn frames_leave_whole_and_in_order() {
        explore_all(|_, _| {});
    }

    #[test]
    fn a_pong_comes_between_two_frames() {
        explore_all(|io, shared| io.queue(shared, PONG));
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        explore_all(|io, shared| io.close(shared));
    }
}
