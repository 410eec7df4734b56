//! Broadcast: one command to the server, so and so many messages to every member of a room.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::Failure;
use crate::connection::Shared;
use crate::fleet::Fleet;
use crate::frame::TEXT;
use crate::measure::{Clock, CpuMeter, CpuUse, Latencies, Quantiles, per_second};
use crate::message::{Expected, payload};
use crate::target::{self, Target};

/// Without a delivery for so long, what is missing counts as lost.
const LOST_AFTER: u64 = 10_000_000_000;

/// Between the last 101 and the first command: time for the server's handlers to join the room.
pub const SETTLE: Duration = Duration::from_millis(300);

/// Options of `load broadcast`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Members of the room
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// Broadcasts per command
    #[arg(long, default_value_t = 1)]
    per_command: usize,
    /// Payload bytes of a broadcast
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Process id of the server, to report its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    members: usize,
    per_command: usize,
    size: usize,
    seconds: f64,
    commands: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    /// All frames that came, in bytes.
    received: u64,
    /// From the command to the last delivery of what it asked for.
    fanout_us: Quantiles,
    /// Expected but not received, warm-up included.
    lost: u64,
    /// Received but not asked for, or with the wrong content.
    wrong: usize,
    ended: usize,
    errors: usize,
    first_end: Option<String>,
    cpu: CpuUse,
}

/// Runs the scenario and prints its report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let target = Target::new(&options.server)?;
    let mut room = Room::open(&target, options)?;
    room.commands_for(options.warmup)?;
    room.fanouts.reset();
    let received = room.fleet.received();
    let cpu = CpuMeter::start(options.pid);
    let elapsed = room.commands_for(options.seconds)?;
    let cpu = cpu.stop();

    let commands = room.fanouts.count();
    let deliveries = commands * room.per_round - room.lost.min(commands * room.per_round);
    let ended = room.fleet.ended_count();
    let report = Report {
        scenario: "broadcast",
        members: options.members,
        per_command: options.per_command,
        size: options.size,
        seconds: elapsed as f64 / 1e9,
        commands,
        deliveries,
        deliveries_per_second: per_second(deliveries, elapsed),
        received: room.fleet.received() - received,
        fanout_us: room.fanouts.quantiles(),
        lost: room.lost,
        wrong: room.wrong,
        ended,
        errors: room.wrong + ended,
        first_end: room.fleet.first_end(),
        cpu,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Room {
    clock: Clock,
    /// Members first, the commander last.
    fleet: Fleet,
    commander: usize,
    command: Vec<u8>,
    /// Deliveries that one command makes, all members together.
    per_round: u64,
    /// Messages that each member has received since the start.
    received: Vec<u64>,
    /// Messages that each member should have when the current round ends.
    due: u64,
    per_command: u64,
    fanouts: Latencies,
    lost: u64,
    wrong: usize,
}

impl Room {
    fn open(target: &Target, options: &Options) -> Result<Self, Failure> {
        let expected = broadcast_of(options.size, target);
        let mut fleet = Fleet::new(Shared::new(expected, false))?;
        fleet.open(&target.below("/room"), options.members)?;
        fleet.open(&target.below("/room-command"), 1)?;
        settle(&mut fleet)?;
        Ok(Self {
            clock: Clock::start(),
            fleet,
            commander: options.members,
            command: command(target, &format!("{} {}", options.per_command, options.size)),
            per_round: (options.members * options.per_command) as u64,
            received: vec![0; options.members],
            due: 0,
            per_command: options.per_command as u64,
            fanouts: Latencies::new(),
            lost: 0,
            wrong: 0,
        })
    }

    /// Command after command for so many seconds; the last one is waited for. Returns the
    /// nanoseconds it took. Ends early when something is lost.
    fn commands_for(&mut self, seconds: f64) -> Result<u64, Failure> {
        let start = self.clock.now();
        while self.lost == 0 && self.clock.now() - start < (seconds * 1e9) as u64 {
            self.round()?;
        }
        Ok(self.clock.now() - start)
    }

    /// One command and all of its deliveries.
    fn round(&mut self) -> Result<(), Failure> {
        self.due += self.per_command;
        let start = self.clock.now();
        self.fleet.connection(self.commander).send(TEXT, &self.command)?;
        let mut missing = self.per_round;
        let mut last_delivery = start;
        while missing > 0 {
            let before = missing;
            self.fleet.turn(Duration::from_millis(100), |index, _, batch| {
                self.wrong += batch.wrong;
                let arrived = batch.messages as u64;
                let Some(received) = self.received.get_mut(index) else {
                    self.wrong += batch.messages; // nobody talks to the commander
                    return Ok(());
                };
                let wanted = arrived.min(self.due - *received);
                self.wrong += (arrived - wanted) as usize;
                *received += wanted;
                missing -= wanted;
                Ok(())
            })?;
            let now = self.clock.now();
            if missing < before {
                last_delivery = now;
            } else if now - last_delivery > LOST_AFTER || self.fleet.open_count() == 0 {
                self.lost = missing;
                break;
            }
        }
        self.fanouts.record(last_delivery - start);
        Ok(())
    }
}

/// What every member should get. Its text is the server's own, so only headers are compared.
pub fn broadcast_of(size: usize, target: &Target) -> Expected {
    let payload = target.dialect.event(&target.below("/room").path, &payload(size));
    Expected { opcode: TEXT, payload, compressed: target.deflate }
}

/// What the server is told to do, as the message to `/room-command`.
pub fn command(target: &Target, words: &str) -> Vec<u8> {
    target.dialect.event(&target.below("/room-command").path, words.as_bytes())
}

/// Lets the server finish what belongs to opening.
pub fn settle(fleet: &mut Fleet) -> Result<(), Failure> {
    let start = std::time::Instant::now();
    while let Some(left) = SETTLE.checked_sub(start.elapsed()) {
        fleet.turn(left, |_, _, _| Ok(()))?;
    }
    Ok(())
}
