//! Broadcasts from one server to the members on another: closed loop, where the next command follows
//! when everybody has what the last one asked for, or at a rate of so many commands a second.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Failure;
use crate::broadcast::{self, broadcast_of};
use crate::connection::Shared;
use crate::fleet::Fleet;
use crate::frame::TEXT;
use crate::http::HttpClient;
use crate::measure::{
    Clock, CpuMeter, CpuUse, Latencies, ProcessMeter, ProcessUse, Quantiles, per_second,
};
use crate::target::{self, Target};

/// Without a delivery for so long, what is missing counts as lost.
const LOST_AFTER: u64 = 10_000_000_000;

/// Between two commands of the beginning, of which the first may find nobody subscribed, and how long
/// the room has to be quiet after the last one.
const PROBE: Duration = Duration::from_millis(300);

/// How long nobody may have got anything.
const PROBE_LIMIT: u64 = 20_000_000_000;

/// How often the generator looks up while it waits.
const TICK: Duration = Duration::from_millis(20);

/// Options of `load cluster`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// The server that broadcasts; --url is that of the members
    #[arg(long)]
    publisher: String,
    /// Members of the room
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// Commands per second; 0 for the next one when everybody has what the last one asked for
    #[arg(long, default_value_t = 0)]
    rate: u32,
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
    /// Processes whose CPU time is reported, by names: NAME=PID,NAME=PID
    #[arg(long, value_delimiter = ',')]
    processes: Vec<Process>,
}

/// A process by the name that the report gives it.
#[derive(Clone)]
struct Process {
    name: String,
    id: u32,
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text}: expected NAME=PID");
        let (name, id) = text.split_once('=').ok_or_else(expected)?;
        Ok(Self { name: name.to_owned(), id: id.parse().map_err(|_| expected())? })
    }
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    members: usize,
    rate: u32,
    per_command: usize,
    size: usize,
    seconds: f64,
    /// Broadcasts that were asked for in the window.
    broadcasts: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    /// From the command to each delivery of what it asked for.
    latency_us: Quantiles,
    /// Expected but not received.
    lost: u64,
    /// Received but not asked for, or with the wrong content.
    wrong: usize,
    ended: usize,
    errors: usize,
    first_end: Option<String>,
    /// What the members' server says about its event loop, as it says it. Of a window of its own, half
    /// as long: to look at the event loop takes JavaScript as well.
    loop_delay: Option<Box<RawValue>>,
    cpu: CpuUse,
    processes: BTreeMap<String, ProcessUse>,
}

/// Runs the scenario and prints its report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut relay = Relay::open(options)?;
    relay.commands_for(options.warmup)?;
    relay.drain()?;
    relay.begin_window();
    let cpu = CpuMeter::start(None);
    let meters: Vec<_> =
        options.processes.iter().map(|it| (&it.name, ProcessMeter::start(it.id))).collect();
    let elapsed = relay.commands_for(options.seconds)?;
    let processes = meters.iter().map(|(name, meter)| ((*name).clone(), meter.stop())).collect();
    let cpu = cpu.stop();
    let deliveries = relay.deliveries;
    let broadcasts = relay.asked();
    relay.drain()?;
    let latency_us = relay.latencies.quantiles();
    let loop_delay = relay.loop_delay()?;

    let ended = relay.fleet.ended_count();
    let report = Report {
        scenario: "cluster",
        members: options.members,
        rate: options.rate,
        per_command: options.per_command,
        size: options.size,
        seconds: elapsed as f64 / 1e9,
        broadcasts,
        deliveries,
        deliveries_per_second: per_second(deliveries, elapsed),
        latency_us,
        lost: relay.missing(),
        wrong: relay.wrong,
        ended,
        errors: relay.wrong + ended,
        first_end: relay.fleet.first_end(),
        loop_delay,
        cpu,
        processes,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Relay<'a> {
    options: &'a Options,
    clock: Clock,
    members: Target,
    publisher: Target,
    /// Members first, the commander last.
    fleet: Fleet,
    /// When each command of the window was sent.
    commands: Vec<u64>,
    /// Messages that each member has received in the window.
    received: Vec<u64>,
    /// All of these together.
    deliveries: u64,
    latencies: Latencies,
    wrong: usize,
}

impl<'a> Relay<'a> {
    /// Opens all connections, and has a broadcast reach everybody.
    fn open(options: &'a Options) -> Result<Self, Failure> {
        let members = Target::new(&options.server)?;
        let publisher = members.at(&options.publisher)?;
        let expected = broadcast_of(options.size, &members);
        let mut fleet = Fleet::new(Shared::new(expected, false))?;
        fleet.open(&members.below("/room"), options.members)?;
        fleet.open(&publisher.below("/room-command"), 1)?;
        let mut relay = Self {
            options,
            clock: Clock::start(),
            members,
            publisher,
            fleet,
            commands: Vec::new(),
            received: vec![0; options.members],
            deliveries: 0,
            latencies: Latencies::new(),
            wrong: 0,
        };
        relay.probe()?;
        Ok(relay)
    }

    /// Commands broadcasts until all members have got one: what a server has to subscribe to is
    /// subscribed to then. What is still under way arrives before this returns.
    fn probe(&mut self) -> Result<(), Failure> {
        let start = self.clock.now();
        while self.received.contains(&0) {
            if self.clock.now() - start > PROBE_LIMIT {
                return Err("the members get nothing of what the other server broadcasts".into());
            }
            self.command(1)?;
            self.quiet()?;
        }
        self.begin_window();
        Ok(())
    }

    /// Forgets what has been. Nothing may be under way.
    fn begin_window(&mut self) {
        self.commands.clear();
        self.received.fill(0);
        self.deliveries = 0;
        self.latencies.reset();
    }

    /// Broadcasts that were asked for.
    fn asked(&self) -> u64 {
        (self.commands.len() * self.options.per_command) as u64
    }

    /// Deliveries that are still to come.
    fn missing(&self) -> u64 {
        (self.asked() * self.options.members as u64).saturating_sub(self.deliveries)
    }

    /// Commands for so many seconds. Returns the nanoseconds it took: in a closed loop, until the last
    /// one is carried out. Ends early when something is lost.
    fn commands_for(&mut self, seconds: f64) -> Result<u64, Failure> {
        let start = self.clock.now();
        let end = start + (seconds * 1e9) as u64;
        match self.options.rate {
            0 => {
                while self.clock.now() < end && self.missing() == 0 {
                    self.command(self.options.per_command)?;
                    self.drain()?;
                }
            }
            rate => self.commands_at(rate, end)?,
        }
        Ok(self.clock.now() - start)
    }

    fn commands_at(&mut self, rate: u32, end: u64) -> Result<(), Failure> {
        let interval = 1_000_000_000 / u64::from(rate);
        let mut due = self.clock.now();
        loop {
            let now = self.clock.now();
            if now >= end {
                return Ok(());
            }
            if now >= due {
                self.command(self.options.per_command)?;
                due += interval;
            }
            self.receive(TICK.min(Duration::from_nanos(due.saturating_sub(self.clock.now()))))?;
        }
    }

    fn command(&mut self, broadcasts: usize) -> Result<(), Failure> {
        let words = format!("{broadcasts} {}", self.options.size);
        let command = broadcast::command(&self.publisher, &words);
        self.commands.push(self.clock.now());
        let commander = self.options.members;
        Ok(self.fleet.connection(commander).send(TEXT, &command)?)
    }

    /// Reads until everything is there that was asked for, or nothing more comes.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut last = self.clock.now();
        while self.missing() > 0 && self.clock.now() - last < LOST_AFTER {
            let before = self.deliveries;
            self.receive(TICK)?;
            if self.deliveries > before {
                last = self.clock.now();
            }
            if self.fleet.open_count() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Reads until nothing has come for a while.
    fn quiet(&mut self) -> Result<(), Failure> {
        let mut last = self.clock.now();
        while self.clock.now() - last < PROBE.as_nanos() as u64 {
            let before = self.deliveries;
            self.receive(TICK)?;
            if self.deliveries > before {
                last = self.clock.now();
            }
        }
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> Result<(), Failure> {
        let Self { clock, commands, received, deliveries, latencies, wrong, .. } = self;
        let per_command = self.options.per_command;
        self.fleet.turn(timeout, |index, _, batch| {
            *wrong += batch.wrong;
            let Some(received) = received.get_mut(index) else {
                *wrong += batch.messages; // nobody talks to the commander
                return Ok(());
            };
            let now = clock.now();
            for _ in 0..batch.messages {
                match commands.get(*received as usize / per_command) {
                    Some(sent) => latencies.record(now - sent),
                    None => *wrong += 1,
                }
                *received += 1;
            }
            *deliveries += batch.messages as u64;
            Ok(())
        })
    }

    /// How late the event loop of the members' server is under the same load.
    fn loop_delay(&mut self) -> Result<Option<Box<RawValue>>, Failure> {
        self.ask("/loop-delay/reset")?;
        self.commands_for(self.options.seconds / 2.0)?;
        Ok(self.ask("/loop-delay")?.and_then(|body| RawValue::from_string(body).ok()))
    }

    /// GET from the members' server, which goes on being read from meanwhile. `None` where it does
    /// not know that path.
    fn ask(&mut self, path: &'static str) -> Result<Option<String>, Failure> {
        self.drain()?;
        let mut client = HttpClient::connect(&self.members)?;
        let request = thread::spawn(move || client.get(path));
        while !request.is_finished() {
            self.receive(Duration::from_millis(1))?;
        }
        let (status, body) = request.join().map_err(|_| "the HTTP thread panicked")??;
        Ok((status == 200).then_some(body))
    }
}
