//! Connection rate: TCP connect, upgrade, close handshake, and again.

use std::time::Duration;

use clap::Args;
use mio::{Events, Poll, Token};
use serde::Serialize;

use crate::Failure;
use crate::connection::{Batch, Connection, Ended, Shared, Stage};
use crate::fleet::register;
use crate::measure::{Clock, CpuMeter, CpuUse, Latencies, Quantiles, per_second};
use crate::message::Expected;
use crate::target::{self, Target};

/// Source addresses to rotate over: ended connections leave ports in TIME_WAIT for a minute, and
/// 32 × 28,232 of them last for a minute at 15,000 a second.
const SOURCES: usize = 32;

/// Options of `load connect`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Seconds to measure
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Connections between connect and close at a time
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Process id of the server, to report its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    concurrency: usize,
    seconds: f64,
    connections: u64,
    connections_per_second: f64,
    /// From connect to the 101.
    handshake_us: Quantiles,
    errors: u64,
    first_error: Option<String>,
    cpu: CpuUse,
}

/// Runs the scenario and prints its report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut churn = Churn::start(options)?;
    churn.turn_for(options.warmup)?;
    churn.handshakes.reset();
    churn.finished = 0;
    let cpu = CpuMeter::start(options.pid);
    let elapsed = churn.turn_for(options.seconds)?;
    let report = Report {
        scenario: "connect",
        concurrency: options.concurrency,
        seconds: elapsed as f64 / 1e9,
        connections: churn.finished,
        connections_per_second: per_second(churn.finished, elapsed),
        handshake_us: churn.handshakes.quantiles(),
        errors: churn.errors,
        first_error: churn.first_error,
        cpu: cpu.stop(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// A place that one connection after the other takes.
struct Slot {
    connection: Connection,
    started: u64,
}

struct Churn {
    clock: Clock,
    target: Target,
    poll: Poll,
    shared: Shared,
    slots: Vec<Slot>,
    /// Connections started so far, to rotate over source addresses.
    started: usize,
    handshakes: Latencies,
    /// Connections that went from connect to the server's close frame.
    finished: u64,
    errors: u64,
    first_error: Option<String>,
}

impl Churn {
    fn start(options: &Options) -> Result<Self, Failure> {
        let mut churn = Self {
            clock: Clock::start(),
            target: Target::new(&options.server)?,
            poll: Poll::new()?,
            shared: Shared::new(Expected::nothing(), false),
            slots: Vec::with_capacity(options.concurrency),
            started: 0,
            handshakes: Latencies::new(),
            finished: 0,
            errors: 0,
            first_error: None,
        };
        for index in 0..options.concurrency {
            let slot = churn.fresh(index)?;
            churn.slots.push(slot);
        }
        Ok(churn)
    }

    /// A new connection for the slot with this index.
    fn fresh(&mut self, index: usize) -> Result<Slot, Failure> {
        let source = self.target.rotating_source(self.started, SOURCES);
        self.started += 1;
        let mut connection = Connection::start(&self.target, source)?;
        register(self.poll.registry(), &mut connection, index)?;
        Ok(Slot { connection, started: self.clock.now() })
    }

    /// Keeps all slots busy for so many seconds; returns the nanoseconds it took.
    fn turn_for(&mut self, seconds: f64) -> Result<u64, Failure> {
        let start = self.clock.now();
        let length = (seconds * 1e9) as u64;
        let mut events = Events::with_capacity(1024);
        loop {
            let elapsed = self.clock.now() - start;
            if elapsed >= length {
                return Ok(elapsed);
            }
            self.poll.poll(&mut events, Some(Duration::from_nanos(length - elapsed)))?;
            for event in &events {
                let Token(index) = event.token();
                self.on_event(index, event)?;
            }
        }
    }

    fn on_event(&mut self, index: usize, event: &mio::event::Event) -> Result<(), Failure> {
        let slot = &mut self.slots[index];
        let before = slot.connection.stage();
        let outcome = slot.connection.on_ready(event, &mut self.shared, &mut Batch::default());
        match outcome {
            Ok(()) if before != Stage::Open && slot.connection.stage() == Stage::Open => {
                self.handshakes.record(self.clock.now() - slot.started);
                slot.connection.close()?;
                return Ok(());
            }
            Ok(()) => return Ok(()),
            Err(Ended::Closed(_)) => self.finished += 1,
            Err(reason) => self.note(&reason)?,
        }
        // The old connection is dropped, which closes it.
        self.slots[index] = self.fresh(index)?;
        Ok(())
    }

    /// Counts an error; a server that refuses everything ends the run.
    fn note(&mut self, reason: &Ended) -> Result<(), Failure> {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| reason.to_string());
        if self.errors > 1000 {
            return Err(format!("over 1000 connections failed, the first one: {reason}").into());
        }
        Ok(())
    }
}
