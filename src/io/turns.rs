//! Whose turn it is to read, while JavaScript takes less than peers send.
//!
//! Readers whose bytes have come queue here when the inbox is full, and are called in the order in
//! which they came. Without that, those that the runtime finds ready after there is room again would
//! overtake those that have waited for it, fill the inbox anew, and some peers would wait many times
//! as long as others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::sync::Notify;

use super::connection::Connection;
use super::state::IoThread;

/// So many readers are called before the inbox is looked at again, and other tasks have their turn.
/// Whoever is called and finds it full waits on, in the same place.
const CALLED_AT_ONCE: usize = 16;

/// The queue of readers of an I/O thread.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By number; the one with the lowest is next. A connection that ends leaves at once, so there
    /// are never more than connections.
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    /// The number of the next who comes.
    next: Cell<u64>,
    /// Tells the task that calls that somebody waits.
    came: Notify,
}

#[derive(Debug)]
struct Waiting {
    reader: Waker,
    /// It may go as soon as it runs, if the inbox still has room then.
    called: bool,
}

impl Turns {
    fn draw(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Returns once `number` has been called and finds room.
    async fn called(&self, number: u64, has_room: impl Fn() -> bool) {
        poll_fn(|context| {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.get(&number).is_some_and(|entry| entry.called) && has_room() {
                waiting.remove(&number);
                return Poll::Ready(());
            }
            let entry = Waiting { reader: context.waker().clone(), called: false };
            if waiting.insert(number, entry).is_none() {
                self.came.notify_one();
            }
            Poll::Pending
        })
        .await;
    }

    /// Calls up to `count` of those that have waited for longest. They stay in the queue until they
    /// run, so that nobody who comes meanwhile goes before them.
    fn call(&self, count: usize) {
        for entry in self.waiting.borrow_mut().values_mut().take(count) {
            entry.called = true;
            entry.reader.wake_by_ref();
        }
    }
}

/// Calls readers as long as the inbox has room.
pub(super) async fn call_readers(io: Rc<IoThread>) {
    loop {
        io.turns.came.notified().await;
        while !io.turns.is_empty() {
            io.common.inbox.wait_for_room(io.number).await;
            io.turns.call(CALLED_AT_ONCE);
            tokio::task::yield_now().await;
        }
    }
}

/// The place of one reader in the queue of its thread. It knows neither, to take up little room in each
/// connection that rests: who has one is to call [`Self::leave`] in the end.
#[derive(Debug)]
pub(super) struct Turn {
    number: Cell<u64>,
    /// What it had to leave of its last read keeps the place that it was read in.
    keeps_place: Cell<bool>,
}

impl Turn {
    pub fn new(io: &IoThread) -> Self {
        Self { number: Cell::new(io.turns.draw()), keeps_place: Cell::new(false) }
    }

    /// What to wait for before the bytes that have come may be read; `None` where that may be now.
    pub fn to_read<'a>(
        &self,
        io: &'a IoThread,
        connection: &'a Connection,
    ) -> Option<impl Future<Output = ()> + Unpin + use<'a>> {
        self.number.set(io.turns.draw());
        self.keeps_place.set(true);
        self.to_come(io, connection)
    }

    /// The same before what the inbox had no room for may be parsed. The first time that is before
    /// everybody who came later. Then it goes to the end of the queue: one read may have as many
    /// messages as a thousand others.
    pub fn to_go_on<'a>(
        &self,
        io: &'a IoThread,
        connection: &'a Connection,
    ) -> Option<impl Future<Output = ()> + Unpin + use<'a>> {
        if !self.keeps_place.replace(false) {
            self.number.set(io.turns.draw());
        }
        self.to_come(io, connection)
    }

    fn to_come<'a>(
        &self,
        io: &'a IoThread,
        connection: &'a Connection,
    ) -> Option<impl Future<Output = ()> + Unpin + use<'a>> {
        if !io.inbox_is_full() && io.turns.is_empty() {
            return None;
        }
        let number = self.number.get();
        // Boxed, as room for it would be kept for each connection that rests.
        Some(Box::pin(async move {
            connection.marks.waits_to_read.set(true);
            io.turns.called(number, || !io.inbox_is_full()).await;
            connection.marks.waits_to_read.set(false);
        }))
    }

    /// The connection reads nothing more.
    pub fn leave(&self, io: &IoThread, connection: &Connection) {
        // Where it still waited, it has just been told that there is nothing to read any more.
        io.turns.waiting.borrow_mut().remove(&self.number.get());
        connection.marks.waits_to_read.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::{JoinHandle, spawn_local, yield_now};

    use super::*;
    use crate::exchange::oplog::OpLog;
    use crate::exchange::{Common, ConnectionId, Counters, Settings};
    use crate::io::connection::Place;
    use crate::session::{Account, Limits, Overflow, Session, Terms};
    use crate::transport::Transport;
    use crate::transport::bridge::Bridge;

    const SETTINGS: Settings = Settings {
        io_threads: 1,
        close_timeout: Duration::ZERO,
        max_buffered_bytes: 1 << 30,
        limits: Limits { max_backpressure: 1 << 20, overflow: Overflow::Close, pong_timeout: 0 },
    };

    const TERMS: Terms = Terms { max_message_size: 1 << 20, message_rate: None, compression: None };

    /// More of them do not fit.
    const MESSAGE: usize = 1 << 20;
    const MESSAGES: usize = 4;

    /// Runs `test` on an I/O thread that calls readers and does nothing else.
    fn on_thread<F: Future<Output = ()>>(test: impl FnOnce(Rc<IoThread>) -> F) {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let common = Arc::new(Common::new(SETTINGS, Box::new(|| {})));
            let (log, counters) = (Arc::<OpLog>::default(), Arc::<Counters>::default());
            let io = Rc::new(IoThread::new(0, common, log, counters));
            spawn_local(call_readers(io.clone()));
            test(io).await;
        });
    }

    fn connection(io: &IoThread, slot: u32) -> Rc<Connection> {
        let id = ConnectionId { slot, generation: slot };
        let session = {
            let resources = &mut io.resources.borrow_mut();
            Session::new(Arc::<Account>::default(), b"", TERMS, false, resources)
        };
        let transport = Transport::Bridged(Rc::new(Bridge::new(slot, Box::new(|_| {}))));
        Rc::new(Connection::new(id, session, transport, Place::taken(Arc::default(), None)))
    }

    /// As if a message of this connection were read.
    fn post(io: &IoThread, connection: &Connection) {
        assert!(!io.inbox_is_full());
        io.batch.borrow_mut().push_message(connection.id.slot, true, &[b'x'; MESSAGE]);
        io.post();
    }

    /// The turn of a connection, until it is dropped.
    struct InQueue<'a> {
        io: &'a IoThread,
        connection: &'a Connection,
        turn: Turn,
    }

    impl<'a> InQueue<'a> {
        fn of(io: &'a IoThread, connection: &'a Connection) -> Self {
            Self { io, connection, turn: Turn::new(io) }
        }

        async fn wait_to_read(&self) {
            if let Some(turn) = self.turn.to_read(self.io, self.connection) {
                turn.await;
            }
        }

        async fn wait_to_go_on(&self) {
            if let Some(turn) = self.turn.to_go_on(self.io, self.connection) {
                turn.await;
            }
        }
    }

    impl Drop for InQueue<'_> {
        fn drop(&mut self) {
            self.turn.leave(self.io, self.connection);
        }
    }

    /// A connection that waits for its turn and then posts a message.
    fn read(io: &Rc<IoThread>, slot: u32) -> (Rc<Connection>, JoinHandle<()>) {
        let (io, connection) = (io.clone(), connection(io, slot));
        let task = spawn_local({
            let connection = connection.clone();
            async move {
                let place = InQueue::of(&io, &connection);
                place.wait_to_read().await;
                post(&io, &connection);
            }
        });
        (connection, task)
    }

    async fn run_others() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    /// The slots whose messages JavaScript finds.
    fn take_all(io: &IoThread) -> Vec<u32> {
        let batches = std::iter::from_fn(|| io.common.inbox.take().map(|(batch, _)| batch));
        batches.flat_map(|batch| batch.events).map(|event| event.slot).collect()
    }

    #[test]
    fn readers_have_their_turn_in_the_order_in_which_they_came() {
        on_thread(|io| async move {
            let (mut came, mut seen) = (0..100_u32, Vec::new());
            while seen.len() < 100 {
                // Some come while others wait, and one the moment there is room again.
                came.by_ref().take(7).for_each(|slot| drop(read(&io, slot)));
                run_others().await;
                let taken = take_all(&io);
                assert_eq!(taken.len(), MESSAGES);
                came.by_ref().take(1).for_each(|slot| drop(read(&io, slot)));
                seen.extend(taken);
            }
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        });
    }

    #[test]
    fn who_has_bytes_left_goes_on_first_but_only_once() {
        on_thread(|io| async move {
            let (greedy, order) = (connection(&io, 1), Rc::new(RefCell::new(Vec::new())));
            spawn_local({
                let (io, order) = (io.clone(), order.clone());
                async move {
                    let place = InQueue::of(&io, &greedy);
                    place.wait_to_read().await;
                    (0..MESSAGES).for_each(|_| post(&io, &greedy));
                    for part in ["rest", "more"] {
                        place.wait_to_go_on().await;
                        order.borrow_mut().push(part);
                        (0..MESSAGES).for_each(|_| post(&io, &greedy));
                    }
                }
            });
            run_others().await;
            spawn_local({
                let (io, order, other) = (io.clone(), order.clone(), connection(&io, 2));
                async move {
                    InQueue::of(&io, &other).wait_to_read().await;
                    order.borrow_mut().push("other");
                }
            });
            for _ in 0..3 {
                run_others().await;
                take_all(&io);
            }
            assert_eq!(*order.borrow(), ["rest", "other", "more"]);
        });
    }

    #[test]
    fn a_connection_that_ends_leaves_the_queue_and_the_others_move_up() {
        on_thread(|io| async move {
            (0..MESSAGES as u32).for_each(|slot| drop(read(&io, slot)));
            run_others().await;
            let (gone, task) = read(&io, 10);
            let (stays, _) = read(&io, 11);
            run_others().await;
            assert!(gone.marks.waits_to_read.get() && stays.marks.waits_to_read.get());
            assert!(!io.reads_from(&gone));
            task.abort();
            run_others().await;
            assert!(!gone.marks.waits_to_read.get());
            assert_eq!(io.turns.waiting.borrow().len(), 1);
            take_all(&io);
            run_others().await;
            assert_eq!(take_all(&io), [11]);
            assert!(io.turns.is_empty() && io.reads_from(&stays));
        });
    }
}
