//! A connection whose bytes JavaScript pumps: TLS, Windows, and every stream whose descriptor
//! cannot be taken.
//!
//! Both directions have a window, so that neither side piles up what the other does not take.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;

use tokio::sync::Notify;

/// Bytes that may be under way in each direction. The same as what Linux lets a TCP socket send
/// before it has learned how fast the peer is, and well above what Node writes or reads at once.
pub const WINDOW: usize = 256 << 10;

/// What a write counts against the window beside its bytes: a Buffer, a closure and an entry in the
/// stream's queue. Without it, a peer that does not read could have as many of them as there are
/// bytes in the window.
pub const WRITE_COST: usize = 1 << 10;

/// What the stream on the JavaScript side has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Write these bytes, and say so ([`Bridge::written`]).
    Write(Vec<u8>),
    /// So many more bytes may be pumped in.
    Credit(usize),
    /// End the writing side once everything has been written.
    End,
    /// Say so once everything that has arrived until now has been handed over.
    Probe,
    /// Close at once, or behind an [`End`](Self::End) as soon as everything has been written. The
    /// last command, unless it is not to wait any more.
    Destroy,
    /// Close at once, whatever has not been written.
    Abort,
}

/// The I/O thread's half of a bridge. Owned by that thread.
pub struct Bridge {
    /// What JavaScript calls it.
    key: u32,
    send: Box<dyn Fn(Command)>,
    /// Pumped in and not read yet; at most [`WINDOW`] and what one chunk goes beyond it.
    incoming: RefCell<VecDeque<u8>>,
    /// Nothing more is read behind `incoming`.
    ended: Cell<bool>,
    arrived: Notify,
    /// Bytes that have been read and not given back as credit.
    read: Cell<usize>,
    /// Bytes that JavaScript has been asked to write and has not written, and the cost of the writes.
    under_way: Cell<usize>,
    taken: Notify,
    /// The stream has been ended for writing, or is gone.
    shut: Cell<bool>,
    destroyed: Cell<bool>,
    /// The stream is gone in both directions.
    closed: Cell<bool>,
    /// How much of `incoming` has been counted as kept.
    counted: Cell<usize>,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Bridge")
            .field("incoming", &self.incoming.borrow().len())
            .field("under_way", &self.under_way.get())
            .field("ended", &self.ended.get())
            .field("shut", &self.shut.get())
            .finish_non_exhaustive()
    }
}

impl Bridge {
    /// A bridge whose JavaScript side is told what to do through `send`.
    pub fn new(key: u32, send: Box<dyn Fn(Command)>) -> Self {
        Self {
            key,
            send,
            incoming: RefCell::default(),
            ended: Cell::new(false),
            arrived: Notify::new(),
            read: Cell::new(0),
            under_way: Cell::new(0),
            taken: Notify::new(),
            shut: Cell::new(false),
            destroyed: Cell::new(false),
            closed: Cell::new(false),
            counted: Cell::new(0),
        }
    }

    /// What JavaScript calls it.
    pub fn key(&self) -> u32 {
        self.key
    }

    /// JavaScript has read these bytes from its stream.
    pub fn receive(&self, bytes: &[u8]) {
        if !self.ended.get() {
            self.incoming.borrow_mut().extend(bytes);
            self.arrived.notify_waiters();
        }
    }

    /// Asks JavaScript to hand over what has arrived.
    pub fn probe(&self) {
        self.tell(Command::Probe);
    }

    /// The stream ended: nothing more comes in.
    pub fn end(&self) {
        self.ended.set(true);
        self.arrived.notify_waiters();
    }

    /// The stream is gone in both directions.
    pub fn close(&self) {
        self.end();
        self.shut.set(true);
        self.closed.set(true);
        self.under_way.set(0);
        self.taken.notify_waiters();
    }

    /// JavaScript has written so many bytes, the cost of the writes included.
    pub fn written(&self, count: usize) {
        self.under_way.set(self.under_way.get().saturating_sub(count));
        self.taken.notify_waiters();
    }

    /// Bytes that have come and wait to be read.
    pub fn waiting(&self) -> usize {
        self.incoming.borrow().len()
    }

    /// How many waited when this was asked last, and how many do now.
    pub fn recount(&self) -> (usize, usize) {
        let now = self.waiting();
        (self.counted.replace(now), now)
    }

    /// Whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Has the stream closed at once, whatever has not been written.
    pub fn abort(&self) {
        self.destroyed.set(true);
        (self.send)(Command::Abort);
    }

    /// Waits until everything has been written, or the stream is gone.
    pub async fn all_written(&self) {
        while self.under_way.get() > 0 {
            self.taken.notified().await;
        }
    }

    /// Waits until the stream is gone in both directions.
    pub async fn closed(&self) {
        while !self.closed.get() {
            self.taken.notified().await;
        }
    }

    pub(super) async fn readable(&self) {
        while self.incoming.borrow().is_empty() && !self.ended.get() {
            self.arrived.notified().await;
        }
    }

    /// Waits for half a window, so that a slow peer is not written to in crumbs.
    pub(super) async fn writable(&self) {
        while self.under_way.get() > WINDOW / 2 && !self.shut.get() {
            self.taken.notified().await;
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = {
            let mut incoming = self.incoming.borrow_mut();
            io::Read::read(&mut *incoming, buffer)?
        };
        if count == 0 && !self.ended.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.incoming.borrow().is_empty() {
            // An idle connection holds no buffer.
            self.incoming.take();
        }
        self.read.set(self.read.get() + count);
        if self.read.get() >= WINDOW / 4 {
            self.tell(Command::Credit(self.read.take()));
        }
        Ok(count)
    }

    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.shut.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.under_way.get() >= WINDOW {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut room = WINDOW - self.under_way.get();
        let mut bytes = Vec::new();
        for slice in slices {
            let part = &slice[..slice.len().min(room)];
            bytes.extend_from_slice(part);
            room -= part.len();
        }
        let count = bytes.len();
        self.under_way.set(self.under_way.get() + count + WRITE_COST);
        self.tell(Command::Write(bytes));
        Ok(count)
    }

    pub(super) fn shut_down(&self, how: Shutdown) {
        if how != Shutdown::Write {
            self.incoming.take();
            self.end();
        }
        if how != Shutdown::Read {
            let was_open = !self.shut.replace(true);
            self.taken.notify_waiters();
            // An end would have what is still under way written, and both at once are meant to
            // drop it.
            if how == Shutdown::Write && was_open {
                self.tell(Command::End);
            }
        }
        if how == Shutdown::Both {
            self.destroy();
        }
    }

    fn destroy(&self) {
        if !self.destroyed.get() {
            self.tell(Command::Destroy);
            self.destroyed.set(true);
        }
    }

    fn tell(&self, command: Command) {
        if !self.destroyed.get() {
            (self.send)(command);
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.destroy();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn bridge() -> (Bridge, Rc<RefCell<Vec<Command>>>) {
        let told = Rc::<RefCell<Vec<Command>>>::default();
        let seen = told.clone();
        (Bridge::new(7, Box::new(move |command| seen.borrow_mut().push(command))), told)
    }

    #[test]
    fn bytes_come_out_as_they_went_in_and_the_end_comes_last() {
        let (bridge, _) = bridge();
        let mut buffer = [0; 3];
        assert_eq!(bridge.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        bridge.receive(b"abcd");
        bridge.end();
        assert_eq!(bridge.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"abc");
        assert_eq!(bridge.read(&mut buffer).unwrap(), 1);
        assert_eq!(bridge.read(&mut buffer).unwrap(), 0);
        bridge.receive(b"late");
        assert_eq!(bridge.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn all_that_is_read_is_given_back_as_credit_before_the_window_is_used_up() {
        let (bridge, told) = bridge();
        let mut buffer = vec![0; 50_000];
        for _ in 0..100 {
            bridge.receive(&[7; 50_000]);
            assert_eq!(bridge.read(&mut buffer).unwrap(), 50_000);
        }
        let credit: usize = told
            .borrow()
            .iter()
            .map(|command| if let Command::Credit(count) = command { *count } else { 0 })
            .sum();
        assert!(credit + WINDOW / 4 > 100 * 50_000, "{credit}");
    }

    #[test]
    fn writing_stops_at_the_window_and_goes_on_when_javascript_has_written() {
        let (bridge, told) = bridge();
        let large = vec![1; WINDOW - 10 - WRITE_COST];
        assert_eq!(bridge.write(&[IoSlice::new(&large)]).unwrap(), large.len());
        let both = [IoSlice::new(b"12345678"), IoSlice::new(b"abcdefgh")];
        assert_eq!(bridge.write(&both).unwrap(), 10);
        assert_eq!(bridge.write(&both).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        bridge.written(10 + WRITE_COST);
        assert_eq!(bridge.write(&both[1..]).unwrap(), 8);
        assert_eq!(told.borrow()[1], Command::Write(b"12345678ab".to_vec()));
        bridge.close();
        assert_eq!(bridge.write(&both).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn tiny_writes_are_bounded_as_well() {
        let (bridge, told) = bridge();
        while bridge.write(&[IoSlice::new(b"x")]).is_ok() {}
        assert!(told.borrow().len() <= WINDOW / WRITE_COST);
    }

    #[test]
    fn the_stream_is_ended_and_destroyed_once_and_told_nothing_afterwards() {
        let (bridge, told) = bridge();
        bridge.shut_down(Shutdown::Write);
        bridge.shut_down(Shutdown::Both);
        bridge.receive(b"x");
        drop(bridge);
        assert_eq!(*told.borrow(), [Command::End, Command::Destroy]);
    }

    #[test]
    fn both_directions_at_once_are_shut_down_without_an_end() {
        let (bridge, told) = bridge();
        bridge.shut_down(Shutdown::Both);
        assert_eq!(
            bridge.write(&[IoSlice::new(b"x")]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        assert_eq!(*told.borrow(), [Command::Destroy]);
    }

    #[tokio::test]
    async fn all_is_written_once_javascript_has_said_so_or_the_stream_is_gone() {
        let (bridge, _) = bridge();
        bridge.all_written().await;
        bridge.write(&[IoSlice::new(b"x")]).unwrap();
        tokio::join!(bridge.all_written(), async { bridge.written(1 + WRITE_COST) });
        bridge.write(&[IoSlice::new(b"x")]).unwrap();
        tokio::join!(bridge.all_written(), bridge.closed(), async { bridge.close() });
    }

    #[tokio::test]
    async fn waiting_ends_when_something_arrives_or_is_taken() {
        let (bridge, _) = bridge();
        let bridge = Rc::new(bridge);
        bridge.write(&[IoSlice::new(&vec![0; WINDOW])]).unwrap();
        tokio::join!(
            async {
                bridge.readable().await;
                bridge.writable().await;
            },
            async {
                tokio::task::yield_now().await;
                bridge.receive(b"x");
                tokio::task::yield_now().await;
                bridge.written(WINDOW / 2 + WRITE_COST);
            }
        );
    }
}
