//! Ends the connections that make the server keep the most when all of them keep too much.

use std::rc::Rc;

use super::connection::Connection;
use super::driving::{flush, settle};
use super::state::IoThread;

/// So much of the limit is set free beyond what is too much, so that not every byte more costs
/// another look at all connections.
const MARGIN: usize = 16;

/// Connections below this many bytes are left alone, whatever the average.
const LIGHT: usize = 4 << 10;

/// Ends connections until what is kept is within `maxBufferedBytes`, those that keep the most first.
/// Those that keep less than half the average are left alone: they are not why it is too much.
fn relieve(io: &Rc<IoThread>) {
    let memory = &io.common.memory;
    io.resources.borrow_mut().tell();
    let excess = memory.excess();
    if excess == 0 {
        return;
    }
    let least = LIGHT.max(memory.average() / 2);
    let weighed = io.all().into_iter().map(|each| {
        let weight = each.session.borrow().weight();
        (weight, each)
    });
    let mut heavy: Vec<(usize, Rc<Connection>)> =
        weighed.filter(|(weight, _)| *weight >= least).collect();
    heavy.sort_unstable_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut left = excess + memory.limit() / MARGIN;
    for (weight, connection) in heavy {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(weight);
        let effects = connection.session.borrow_mut().shed(&mut io.resources.borrow_mut());
        settle(io, &connection, effects);
        // The close frame may still get out, and the task that winds down sees to the rest.
        flush(io, &connection);
        memory.count_shed();
    }
    io.resources.borrow_mut().tell();
}

/// Waits until some thread finds that too much is kept, and looks for the worst of this one.
pub(super) async fn watch_pressure(io: Rc<IoThread>) {
    loop {
        io.common.pressure.notified().await;
        relieve(&io);
    }
}
