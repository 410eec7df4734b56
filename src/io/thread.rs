//! The life of an I/O thread.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};

use super::relief::watch_memory;
use super::state::IoThread;
use super::timing::watch_limits;
use super::turns::call_readers;
use crate::exchange::oplog::OpLog;
use crate::exchange::{Common, Counters};

/// How long connections that are winding down keep the thread after a graceful stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Body of I/O thread `number` of an engine: says through `started` whether it could start, and
/// returns after [`Op::Stop`](crate::exchange::oplog::Op::Stop).
pub fn run(
    number: usize,
    common: Arc<Common>,
    log: Arc<OpLog>,
    counters: Arc<Counters>,
    started: &SyncSender<io::Result<()>>,
) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let (runtime, result) = match runtime {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // The other side waits for this; it cannot have gone.
    let _ = started.send(result);
    let Some(runtime) = runtime else { return };
    runtime.block_on(async move {
        let io = Rc::new(IoThread::new(number, common, log, counters));
        tokio::task::spawn_local(post_batches(io.clone()));
        tokio::task::spawn_local(call_readers(io.clone()));
        tokio::task::spawn_local(watch_limits(io.clone()));
        tokio::task::spawn_local(watch_memory(io.clone()));
        carry_out(io).await;
    });
}

/// Carries out the operation log until it says to stop.
async fn carry_out(io: Rc<IoThread>) {
    let mut segments = Vec::new();
    loop {
        if io.dirty_broadcast.borrow().is_empty() {
            io.log.take(&mut segments).await;
        } else {
            tokio::task::yield_now().await;
            io.log.try_take(&mut segments);
        }
        let mut stop = false;
        for mut segment in segments.drain(..) {
            stop |= io.apply(&mut segment);
            io.log.recycle(segment);
        }
        io.flush_direct();
        if stop {
            return wait_for_wind_down(&io).await;
        }
        io.flush_broadcasts();
        io.look_at_memory();
    }
}

/// After a stop: lets close frames and the last of HTTP responses get out, but not for long.
async fn wait_for_wind_down(io: &Rc<IoThread>) {
    let all_done = async {
        while !io.has_all_left() {
            io.left.notified().await;
        }
    };
    // What streams behind bridges have to tell is still needed.
    let abandoned = async {
        let mut segments = Vec::new();
        while !io.log.is_abandoned() {
            io.log.take(&mut segments).await;
            for mut segment in segments.drain(..) {
                io.apply(&mut segment);
            }
            io.flush_direct();
        }
    };
    tokio::select! {
        () = all_done => {}
        () = abandoned => {}
        () = tokio::time::sleep(STOP_LIMIT) => {}
    }
}

/// Runs behind the tasks that were ready when the batch got its first event, so that one wake of
/// the JavaScript thread covers what they all read.
async fn post_batches(io: Rc<IoThread>) {
    loop {
        io.batch_filled.notified().await;
        io.post();
    }
}
