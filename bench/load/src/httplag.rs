//! What broadcasts do to everybody else: HTTP latency and event-loop delay on the same server.
//!
//! The room's frames are read on the main thread; the HTTP requests have a thread of their own,
//! so that the generator's own reading never adds to what it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Failure;
use crate::broadcast::{self, broadcast_of, settle};
use crate::connection::Shared;
use crate::fleet::Fleet;
use crate::frame::TEXT;
use crate::http::HttpClient;
use crate::measure::{Clock, CpuMeter, CpuUse, Latencies, Quantiles, per_second};
use crate::target::{self, Target};

/// How often the main thread looks up while it waits.
const TICK: Duration = Duration::from_millis(20);

/// A room counts as quiet after so long without a delivery.
const QUIET: Duration = Duration::from_millis(300);

/// The longest wait for a room to become quiet between two rates.
const QUIET_LIMIT: Duration = Duration::from_secs(15);

/// Options of `load httplag`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Members of the room
    #[arg(long, default_value_t = 10_000)]
    members: usize,
    /// Broadcasts per second, one phase each
    #[arg(long, value_delimiter = ',', default_value = "0,5,20")]
    rates: Vec<u32>,
    /// Payload bytes of a broadcast
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds to measure per phase
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Milliseconds from one GET to the next; a late answer delays the next GET
    #[arg(long, default_value_t = 5)]
    interval: u64,
    /// Who keeps the time of the broadcasts
    #[arg(long, value_enum, default_value_t = Driver::Timer)]
    driver: Driver,
    /// Process id of the server, to report its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

/// Who keeps the time of the broadcasts.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Driver {
    /// A timer in the server; a server that cannot keep up broadcasts less often
    Timer,
    /// This generator, by commands; a server that cannot keep up falls behind
    Commands,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    members: usize,
    size: usize,
    driver: &'static str,
    phases: Vec<Phase>,
    /// All messages that members got, between and before the phases as well.
    received_messages: u64,
    ended: usize,
    errors: usize,
    first_end: Option<String>,
}

#[derive(Serialize)]
struct Phase {
    /// Broadcasts per second that were asked for.
    rate: u32,
    /// Broadcasts per second that arrived.
    achieved: f64,
    seconds: f64,
    deliveries: u64,
    http_requests: u64,
    http_us: Quantiles,
    /// The same with the requests that would have been sent while one was late (correction for
    /// coordinated omission).
    http_corrected_us: Quantiles,
    /// What the server says about its event loop, as it says it; warm-up included.
    loop_delay: Option<Box<RawValue>>,
    cpu: CpuUse,
}

/// Runs all phases and prints the report.
pub fn run(options: &Options) -> Result<(), Failure> {
    let target = Target::new(&options.server)?;
    let mut fleet = Fleet::new(Shared::new(broadcast_of(options.size, &target), false))?;
    fleet.open(&target.below("/room"), options.members)?;
    fleet.open(&target.below("/room-command"), 1)?;
    settle(&mut fleet)?;

    let mut lag = Lag { options, target, fleet, deliveries: 0, wrong: 0, commands_due: None };
    let phases = options.rates.iter().map(|&rate| lag.phase(rate)).collect::<Result<_, _>>()?;
    let ended = lag.fleet.ended_count();
    let report = Report {
        scenario: "httplag",
        members: options.members,
        size: options.size,
        driver: if options.driver == Driver::Timer { "timer" } else { "commands" },
        phases,
        received_messages: lag.deliveries,
        ended,
        errors: lag.wrong + ended,
        first_end: lag.fleet.first_end(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Lag<'a> {
    options: &'a Options,
    target: Target,
    /// Members first, the commander last.
    fleet: Fleet,
    deliveries: u64,
    wrong: usize,
    /// With [`Driver::Commands`]: when the next command is due, and the time between two.
    commands_due: Option<(Instant, Duration)>,
}

impl Lag<'_> {
    /// One rate: warm up, measure, and let the room become quiet again.
    fn phase(&mut self, rate: u32) -> Result<Phase, Failure> {
        // Before the broadcasts: a server that falls behind would answer this after the window.
        let mut client = HttpClient::connect(&self.target)?;
        client.get("/loop-delay/reset")?;
        self.start_broadcasts(rate)?;
        let warm = Instant::now() + Duration::from_secs_f64(self.options.warmup);
        self.receive_while(|| Instant::now() < warm)?;

        let stop = Arc::new(AtomicBool::new(false));
        let requests = {
            let stop = Arc::clone(&stop);
            let interval = Duration::from_millis(self.options.interval);
            thread::spawn(move || request_until(client, interval, &stop))
        };
        let cpu = CpuMeter::start(self.options.pid);
        let (start, before) = (Instant::now(), self.deliveries);
        let end = start + Duration::from_secs_f64(self.options.seconds);
        self.receive_while(|| Instant::now() < end)?;
        let (elapsed, deliveries) = (start.elapsed(), self.deliveries - before);
        let cpu = cpu.stop();

        stop.store(true, Ordering::Relaxed);
        // A request that is under way still counts, however long it takes, and under full load.
        self.receive_while(|| !requests.is_finished())?;
        let http = requests.join().map_err(|_| "the HTTP thread panicked")??;
        self.stop_broadcasts()?;
        Ok(Phase {
            rate,
            achieved: per_second(deliveries, elapsed.as_nanos() as u64)
                / self.options.members as f64,
            seconds: elapsed.as_secs_f64(),
            deliveries,
            http_requests: http.observed.count(),
            http_us: http.observed.quantiles(),
            http_corrected_us: http.corrected.quantiles(),
            loop_delay: http.loop_delay,
            cpu,
        })
    }

    fn start_broadcasts(&mut self, rate: u32) -> Result<(), Failure> {
        if rate == 0 {
            return Ok(());
        }
        match self.options.driver {
            Driver::Timer => self.command(&format!("timer {rate} {}", self.options.size)),
            Driver::Commands => {
                self.commands_due = Some((Instant::now(), Duration::from_secs(1) / rate));
                Ok(())
            }
        }
    }

    /// Stops them and waits until nothing more arrives.
    fn stop_broadcasts(&mut self) -> Result<(), Failure> {
        if self.options.driver == Driver::Timer {
            self.command("timer 0")?;
        }
        self.commands_due = None;
        let limit = Instant::now() + QUIET_LIMIT;
        loop {
            let before = self.deliveries;
            let pause = Instant::now() + QUIET;
            self.receive_while(|| Instant::now() < pause)?;
            if self.deliveries == before || Instant::now() > limit {
                return Ok(());
            }
        }
    }

    fn command(&mut self, words: &str) -> Result<(), Failure> {
        let commander = self.options.members;
        let command = broadcast::command(&self.target, words);
        Ok(self.fleet.connection(commander).send(TEXT, &command)?)
    }

    /// Sends the next command if its time has come; returns the time until the one after.
    fn send_what_is_due(&mut self) -> Result<Duration, Failure> {
        let Some((mut due, interval)) = self.commands_due else { return Ok(TICK) };
        if Instant::now() >= due {
            self.command(&format!("1 {}", self.options.size))?;
            due += interval;
            self.commands_due = Some((due, interval));
        }
        Ok(due.saturating_duration_since(Instant::now()))
    }

    /// Reads what the room gets, and sends the commands that are due, as long as `condition`.
    fn receive_while(&mut self, condition: impl Fn() -> bool) -> Result<(), Failure> {
        while condition() {
            let timeout = self.send_what_is_due()?.min(TICK);
            self.fleet.turn(timeout, |_, _, batch| {
                self.deliveries += batch.messages as u64;
                self.wrong += batch.wrong;
                Ok(())
            })?;
        }
        Ok(())
    }
}

struct HttpResult {
    observed: Latencies,
    corrected: Latencies,
    loop_delay: Option<Box<RawValue>>,
}

/// GET /ping again and again until told to stop, once at least, and then a look at the server's
/// event-loop delay.
fn request_until(
    mut client: HttpClient,
    interval: Duration,
    stop: &AtomicBool,
) -> Result<HttpResult, std::io::Error> {
    let clock = Clock::start();
    let (mut observed, mut corrected) = (Latencies::new(), Latencies::new());
    loop {
        let start = clock.now();
        let (status, _) = client.get("/ping")?;
        if status != 200 {
            return Err(std::io::Error::other(format!("GET /ping was answered with {status}")));
        }
        let taken = clock.now() - start;
        observed.record(taken);
        corrected.record_corrected(taken, interval.as_nanos() as u64);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(interval.saturating_sub(Duration::from_nanos(taken)));
    }
    let (status, body) = client.get("/loop-delay")?;
    let loop_delay = if status == 200 { RawValue::from_string(body).ok() } else { None };
    Ok(HttpResult { observed, corrected, loop_delay })
}
