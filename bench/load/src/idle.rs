//! Idle: open connections and keep them, so that somebody can look at the server's memory.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use mio::Waker;

use crate::Failure;
use crate::connection::Shared;
use crate::fleet::{Fleet, WAKER};
use crate::message::Expected;
use crate::target::{self, Target};

/// How long the server may take to answer the close frames.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// Options of `load idle`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Connections; above 12,000 they come from several 127.0.0.x addresses
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Opens, prints `{"event":"open"}`, waits for a line or the end of stdin, closes, prints
/// `{"event":"closed"}` with how many messages came in the meantime.
pub fn run(options: &Options) -> Result<(), Failure> {
    let start = Instant::now();
    let mut fleet = Fleet::new(Shared::new(Expected::nothing(), false))?;
    fleet.open(&Target::new(&options.server)?, options.connections)?;
    say(&format!(
        r#"{{"event":"open","connections":{},"seconds":{:.3}}}"#,
        fleet.open_count(),
        start.elapsed().as_secs_f64()
    ))?;
    let mut messages = wait_for_line(&mut fleet)?;
    let kept = fleet.open_count();
    messages += close_all(&mut fleet)?;
    say(&format!(
        r#"{{"event":"closed","kept":{kept},"messages":{messages},"unanswered":{},"errors":{}}}"#,
        fleet.open_count(),
        options.connections - kept
    ))
}

/// Keeps answering pings until a line or the end of stdin arrives. Returns how many messages came.
fn wait_for_line(fleet: &mut Fleet) -> Result<usize, Failure> {
    let mut messages = 0;
    let waker = Arc::new(Waker::new(fleet.registry(), WAKER)?);
    std::thread::spawn({
        let waker = Arc::clone(&waker);
        move || {
            let _ = io::stdin().read_line(&mut String::new());
            waker.wake()
        }
    });
    while !fleet.was_woken() {
        messages += turn(fleet, Duration::from_secs(1))?;
    }
    Ok(messages)
}

/// The close handshake on every open connection. Returns how many messages still came.
fn close_all(fleet: &mut Fleet) -> Result<usize, Failure> {
    for connection in fleet.connections() {
        // A connection that has ended already needs no close frame.
        let _ = connection.close();
    }
    let start = Instant::now();
    let mut messages = 0;
    while fleet.open_count() > 0 && start.elapsed() < CLOSE_LIMIT {
        messages += turn(fleet, Duration::from_millis(100))?;
    }
    Ok(messages)
}

/// One turn of the fleet, and how many messages it brought.
fn turn(fleet: &mut Fleet, timeout: Duration) -> Result<usize, Failure> {
    let mut messages = 0;
    fleet.turn(timeout, |_, _, batch| {
        messages += batch.messages;
        Ok(())
    })?;
    Ok(messages)
}

fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
