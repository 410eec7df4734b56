//! Ends the connections that make the server keep the most when all of them keep too much.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::connection::Connection;
use super::driving::{flush, settle};
use super::state::IoThread;

/// So much of the limit is set free beyond what is too much, so that not every byte more costs
/// another look at all connections.
const MARGIN: usize = 16;

/// How long threads wait for each other's figures.
const EXCHANGE: Duration = Duration::from_millis(5);

/// Where too much is still kept after a look, so long until the next one, which takes time in the
/// number of connections; and longer each time that nothing could be done.
const BREAK: Duration = Duration::from_millis(1);
const LONGEST_BREAK: Duration = Duration::from_millis(500);

/// Waits until more is kept than may be, and ends connections of this thread, those that keep the most
/// first, until it is not.
pub(super) async fn watch_memory(io: Rc<IoThread>) {
    let all = &io.common.pressure;
    let own = &all[io.number];
    loop {
        own.wanted.notified().await;
        let mut pause = BREAK;
        while io.common.memory.excess() > 0 {
            let heavy = weigh(&io);
            own.heaviest.store(heavy.first().map_or(0, |(weight, _)| *weight), Relaxed);
            own.sum.store(heavy.iter().map(|(weight, _)| weight).sum(), Relaxed);
            if all.len() > 1 {
                let others = all.iter().enumerate().filter(|(number, _)| *number != io.number);
                others.for_each(|(_, other)| other.wanted.notify_one());
                tokio::time::sleep(EXCHANGE).await;
            }
            let worst = all.iter().map(|each| each.heaviest.load(Relaxed)).max().unwrap_or(0);
            // Otherwise the worst are on another thread.
            if own.heaviest.load(Relaxed) >= worst / 2 && shed(&io, heavy) {
                pause = BREAK;
            }
            if io.common.memory.excess() > 0 {
                tokio::time::sleep(pause).await;
                pause = LONGEST_BREAK.min(2 * pause);
            }
        }
        own.heaviest.store(0, Relaxed);
        own.sum.store(0, Relaxed);
    }
}

/// The connections of this thread for which something is kept, those that have ended and are being seen
/// out among them, the heaviest first.
fn weigh(io: &IoThread) -> Vec<(usize, Rc<Connection>)> {
    io.resources.borrow_mut().tell();
    let leaving: Vec<Rc<Connection>> = io.leaving.borrow().values().cloned().collect();
    let weighed = io.all().into_iter().chain(leaving).map(|connection| {
        let weight = connection.session.borrow().weight() + connection.transport.kept();
        (weight, connection)
    });
    let mut heavy: Vec<_> = weighed.filter(|(weight, _)| *weight > 0).collect();
    heavy.sort_unstable_by_key(|(weight, _)| Reverse(*weight));
    heavy
}

/// Ends connections until as much has been set free as is too much. Those that keep less than half the
/// average are left alone: they are not why. Returns `true` if there were any.
fn shed(io: &Rc<IoThread>, heavy: Vec<(usize, Rc<Connection>)>) -> bool {
    let any = !heavy.is_empty();
    let memory = &io.common.memory;
    // What is kept for no connection is on its way to one, or through it.
    let sum: usize = io.common.pressure.iter().map(|each| each.sum.load(Relaxed)).sum();
    let excess = memory.excess().min(sum.saturating_sub(memory.limit()));
    if excess == 0 {
        return false;
    }
    let own: usize = heavy.iter().map(|(weight, _)| weight).sum();
    let least = own / heavy.len().max(1) / 2;
    let mut left = excess + memory.limit() / MARGIN;
    for (weight, connection) in heavy {
        if left == 0 || weight < least {
            break;
        }
        left = left.saturating_sub(weight);
        let effects = connection.session.borrow_mut().shed(&mut io.resources.borrow_mut());
        if effects.ended.is_some() {
            memory.count_shed();
        }
        settle(io, &connection, effects);
        // The close frame may still get out, and the task that winds down sees to the rest.
        flush(io, &connection);
    }
    io.resources.borrow_mut().tell();
    any
}
