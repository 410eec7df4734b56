//! The clock, the latency histogram and the CPU accounts of a measured window.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::system::{own_cpu, ticks_to_micros};

/// The longest latency that is told apart from longer ones: one minute, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Nanoseconds since the generator took its first look at the clock.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Latencies of one window, recorded in nanoseconds, reported in microseconds.
pub struct Latencies(Histogram<u64>);

/// Quantiles in microseconds.
#[derive(Serialize)]
pub struct Quantiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latencies {
    /// No latency yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(100, LONGEST, 3).expect("valid histogram bounds"))
    }

    /// Records one, in nanoseconds.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Records one, in nanoseconds, and those that would have started every `interval` after it
    /// and ended with it.
    pub fn record_corrected(&mut self, nanoseconds: u64, interval: u64) {
        let within = nanoseconds.min(LONGEST);
        self.0.record_correct(within, interval).expect("a value within bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Forgets them all.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The quantiles in microseconds, with one decimal.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        Quantiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: micros(self.0.max()) }
    }
}

/// Nanoseconds as microseconds with one decimal.
pub fn micros(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 100.0).round() / 10.0
}

/// `count` things in `nanoseconds`, per second, with one decimal.
pub fn per_second(count: u64, nanoseconds: u64) -> f64 {
    (count as f64 * 1e10 / nanoseconds.max(1) as f64).round() / 10.0
}

/// CPU time that was used in a window, in microseconds. What the system does not tell is `null`.
#[derive(Serialize)]
pub struct CpuUse {
    /// By the server, all of its threads.
    server_us: Option<u64>,
    /// By the server's first thread, which is the one that runs JavaScript in Node and in Bun.
    javascript_us: Option<u64>,
    /// By this generator.
    generator_us: u64,
    /// By every process on the machine, those two included, and by interrupts.
    machine_us: Option<u64>,
    /// By the kernel's own threads. Loopback traffic is in part their work (ksoftirqd), so this is
    /// nobody else's load.
    kernel_us: Option<u64>,
}

/// The CPU accounts at the start of a window.
pub struct CpuMeter {
    server: Option<u32>,
    server_start: Option<u64>,
    javascript_start: Option<u64>,
    generator_start: u64,
    machine_start: Option<u64>,
    kernel_start: Option<u64>,
}

impl CpuMeter {
    /// Notes where the accounts stand now. `server` is a process id.
    pub fn start(server: Option<u32>) -> Self {
        Self {
            server,
            server_start: server.and_then(process_cpu),
            javascript_start: server.and_then(first_thread_cpu),
            generator_start: own_cpu(),
            machine_start: machine_cpu(),
            kernel_start: kernel_threads_cpu(),
        }
    }

    /// What was used since.
    pub fn stop(&self) -> CpuUse {
        let since = |start: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(start?));
        CpuUse {
            server_us: since(self.server_start, self.server.and_then(process_cpu)),
            javascript_us: since(self.javascript_start, self.server.and_then(first_thread_cpu)),
            generator_us: own_cpu() - self.generator_start,
            machine_us: since(self.machine_start, machine_cpu()),
            kernel_us: since(self.kernel_start, kernel_threads_cpu()),
        }
    }
}

/// CPU time that one of several servers used in a window, in microseconds.
#[derive(Serialize)]
pub struct ProcessUse {
    /// All of its threads that have lived through the window.
    cpu_us: Option<u64>,
    /// Its first thread, which is the one that runs JavaScript in Node.
    javascript_us: Option<u64>,
}

/// The CPU accounts of a process at the start of a window.
pub struct ProcessMeter {
    process: u32,
    start: Option<u64>,
    javascript_start: Option<u64>,
}

impl ProcessMeter {
    /// Notes where the accounts stand now.
    pub fn start(process: u32) -> Self {
        Self { process, start: threads_cpu(process), javascript_start: first_thread_cpu(process) }
    }

    /// What was used since.
    pub fn stop(&self) -> ProcessUse {
        let since = |start: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(start?));
        ProcessUse {
            cpu_us: since(self.start, threads_cpu(self.process)),
            javascript_us: since(self.javascript_start, first_thread_cpu(self.process)),
        }
    }
}

/// CPU time of a process's threads together in microseconds. Counted in nanoseconds, where
/// [`process_cpu`] counts ticks: a server that hardly works would otherwise show nothing.
fn threads_cpu(process: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let names = threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Some(names.filter_map(|thread| thread_cpu(process, &thread)).sum())
}

/// User and system time of a process in microseconds, all threads.
fn process_cpu(process: u32) -> Option<u64> {
    Some(ProcessStat::read(&process.to_string())?.cpu)
}

/// CPU time of a process's first thread in microseconds. `schedstat` counts nanoseconds, where
/// `stat` counts ticks: a thread that hardly works would otherwise show nothing.
fn first_thread_cpu(process: u32) -> Option<u64> {
    thread_cpu(process, &process.to_string())
}

fn thread_cpu(process: u32, thread: &str) -> Option<u64> {
    let path = format!("/proc/{process}/task/{thread}/schedstat");
    let nanoseconds = std::fs::read_to_string(path).ok()?;
    Some(nanoseconds.split_ascii_whitespace().next()?.parse::<u64>().ok()? / 1000)
}

/// CPU time of all kernel threads together, in microseconds.
fn kernel_threads_cpu() -> Option<u64> {
    let names = std::fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let stats = names.filter(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    Some(
        stats
            .filter_map(|name| ProcessStat::read(&name))
            .filter(|stat| stat.kernel)
            .map(|stat| stat.cpu)
            .sum(),
    )
}

/// What /proc/PID/stat says (proc(5)).
struct ProcessStat {
    /// Whether it is a kernel thread.
    kernel: bool,
    /// User and system time in microseconds, all threads.
    cpu: u64,
}

impl ProcessStat {
    /// The bit of the field `flags` that every kernel thread has (PF_KTHREAD).
    const KERNEL_THREAD: u64 = 0x0020_0000;

    fn read(process: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field is the command in parentheses and may itself contain spaces. The first
        // one behind it is field 3.
        let (_, after_command) = stat.rsplit_once(')')?;
        let mut fields = after_command.split_ascii_whitespace();
        let flags: u64 = fields.nth(9 - 3)?.parse().ok()?;
        let user: u64 = fields.nth(14 - 10)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Self { kernel: flags & Self::KERNEL_THREAD != 0, cpu: ticks_to_micros(user + system) })
    }
}

/// Busy time of all cores in microseconds (proc(5), /proc/stat).
fn machine_cpu() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let mut fields = stat.lines().next()?.split_ascii_whitespace().skip(1);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _iowait, irq, softirq, steal) = (next()?, next()?, next()?, next()?, next()?);
    // Most of softirq is our own loopback traffic. A kernel that accounts for interrupts apart
    // (and only then is irq not 0) keeps it out of the processes' times; then it stays out here
    // as well, for the difference to them to be the others' share.
    let softirq = if irq == 0 { softirq } else { 0 };
    Some(ticks_to_micros(user + nice + system + softirq + steal))
}
