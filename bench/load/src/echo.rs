//! Echo: every connection keeps a number of messages in flight.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::Failure;
use crate::connection::{Connection, Shared};
use crate::fleet::Fleet;
use crate::frame::{BINARY, FrameRun, TEXT};
use crate::measure::{Clock, CpuMeter, CpuUse, Latencies, Quantiles, per_second};
use crate::message::{Expected, payload};
use crate::target::{self, Target};

/// The most that one write of a burst carries, in bytes. A socket's send buffer takes less.
const LARGEST_WRITE: usize = 1 << 20;

/// Options of `load echo`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Messages in flight per connection
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Payload bytes of a message
    #[arg(long, default_value_t = 20)]
    size: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Write all messages whose turn has come at once, instead of one write per message
    #[arg(long)]
    burst: bool,
    /// Send binary instead of text messages
    #[arg(long)]
    binary: bool,
    /// Process id of the server, to report its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    connections: usize,
    in_flight: usize,
    size: usize,
    mode: &'static str,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    /// The frame that was sent again and again, in bytes.
    sent_frame: usize,
    /// All frames that came back, in bytes.
    received: u64,
    latency_us: Quantiles,
    /// Messages that were not what was sent.
    wrong: usize,
    /// Connections that ended.
    ended: usize,
    /// `wrong` and `ended` together.
    errors: usize,
    first_end: Option<String>,
    cpu: CpuUse,
}

/// Runs the scenario and prints its report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let target = Target::new(&options.server)?;
    let expected = Expected {
        opcode: if options.binary { BINARY } else { TEXT },
        payload: target.dialect.event(&target.path, &payload(options.size)),
        compressed: target.deflate,
    };
    let frame = expected.client_frame();
    let copies = if options.burst { options.in_flight.min(LARGEST_WRITE / frame.len()) } else { 1 };
    let run = Rc::new(FrameRun::new(&frame, copies));

    let mut fleet = Fleet::new(Shared::new(expected, true))?;
    fleet.open(&target, options.connections)?;

    let mut echo = Echo::new(options);
    for (index, connection) in fleet.connections().iter_mut().enumerate() {
        connection.set_run(Rc::clone(&run));
        echo.send(index, connection, options.in_flight)?;
    }
    echo.load_for(&mut fleet, options.warmup)?;
    echo.reset();
    let received = fleet.received();
    let cpu = CpuMeter::start(options.pid);
    let elapsed = echo.load_for(&mut fleet, options.seconds)?;
    let cpu = cpu.stop();

    let messages = echo.latencies.count();
    let report = Report {
        scenario: "echo",
        connections: options.connections,
        in_flight: options.in_flight,
        size: options.size,
        mode: if options.burst { "burst" } else { "one-write" },
        seconds: elapsed as f64 / 1e9,
        messages,
        messages_per_second: per_second(messages, elapsed),
        sent_frame: frame.len(),
        received: fleet.received() - received,
        latency_us: echo.latencies.quantiles(),
        wrong: echo.wrong,
        ended: fleet.ended_count(),
        errors: echo.wrong + fleet.ended_count(),
        first_end: fleet.first_end(),
        cpu,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Echo {
    clock: Clock,
    /// When the messages in flight were sent, per connection; echoes come back in order.
    sent: Vec<VecDeque<u64>>,
    latencies: Latencies,
    wrong: usize,
    burst: bool,
}

impl Echo {
    fn new(options: &Options) -> Self {
        Self {
            clock: Clock::start(),
            sent: vec![VecDeque::with_capacity(options.in_flight); options.connections],
            latencies: Latencies::new(),
            wrong: 0,
            burst: options.burst,
        }
    }

    /// Forgets what the warm-up measured. Errors stay.
    fn reset(&mut self) {
        self.latencies.reset();
    }

    /// Answers each echo with a message for so many seconds; returns the nanoseconds it took.
    fn load_for(&mut self, fleet: &mut Fleet, seconds: f64) -> Result<u64, Failure> {
        let start = self.clock.now();
        let length = (seconds * 1e9) as u64;
        loop {
            let elapsed = self.clock.now() - start;
            if elapsed >= length {
                return Ok(elapsed);
            }
            let left = Duration::from_nanos(length - elapsed);
            fleet.turn(left, |index, connection, batch| {
                self.wrong += batch.wrong;
                let now = self.clock.now();
                for _ in 0..batch.messages {
                    let sent = self.sent[index].pop_front();
                    // More answers than questions: the message was wrong, whatever it said.
                    let Some(sent) = sent else {
                        self.wrong += 1;
                        continue;
                    };
                    self.latencies.record(now - sent);
                }
                self.send(index, connection, batch.messages)
            })?;
            if fleet.open_count() == 0 {
                return Err("no connection is left".into());
            }
        }
    }

    /// Sends `count` messages: in one write, or each in a write of its own.
    fn send(
        &mut self,
        index: usize,
        connection: &mut Connection,
        count: usize,
    ) -> std::io::Result<()> {
        let (writes, each) = if self.burst { (1, count) } else { (count, 1) };
        for _ in 0..writes {
            let now = self.clock.now();
            self.sent[index].extend(std::iter::repeat_n(now, each));
            connection.owe(each)?;
        }
        Ok(())
    }
}
