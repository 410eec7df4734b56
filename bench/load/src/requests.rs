//! HTTP requests: kept-alive connections, on each of them one GET after the other.

use std::time::Duration;

use clap::Args;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::Failure;
use crate::measure::{Clock, CpuMeter, CpuUse, Latencies, Quantiles, per_second};
use crate::target::{self, Target};
use crate::wire::{Buffers, Wire};

/// The longest response head and body that are taken, in bytes.
const LONGEST: usize = 64 * 1024;

/// Options of `load requests`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: target::Options,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
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
    connections: usize,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    latency_us: Quantiles,
    errors: usize,
    cpu: CpuUse,
}

/// Runs the scenario and prints its report. Any answer but a 200 ends it.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut clients = Clients::connect(&Target::new(&options.server)?, options.connections)?;
    clients.request_for(options.warmup)?;
    clients.latencies.reset();
    let cpu = CpuMeter::start(options.pid);
    let elapsed = clients.request_for(options.seconds)?;
    let cpu = cpu.stop();
    let requests = clients.latencies.count();
    let report = Report {
        scenario: "requests",
        connections: options.connections,
        seconds: elapsed as f64 / 1e9,
        requests,
        requests_per_second: per_second(requests, elapsed),
        latency_us: clients.latencies.quantiles(),
        errors: 0,
        cpu,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// One connection with at most one request under way.
struct Client {
    wire: Wire,
    /// When its request was written; `None` until the connection stands.
    asked: Option<u64>,
    /// The response as far as it is there.
    response: Vec<u8>,
}

struct Clients {
    clock: Clock,
    poll: Poll,
    buffers: Buffers,
    request: Vec<u8>,
    clients: Vec<Client>,
    latencies: Latencies,
}

impl Clients {
    fn connect(target: &Target, count: usize) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(count);
        for index in 0..count {
            let mut wire = Wire::connect(target, None)?;
            poll.registry().register(
                &mut wire.stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            clients.push(Client { wire, asked: None, response: Vec::new() });
        }
        let Target { path, host, .. } = target;
        Ok(Self {
            clock: Clock::start(),
            poll,
            buffers: Buffers::new(),
            request: format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
            clients,
            latencies: Latencies::new(),
        })
    }

    /// Answers each response with a request for so many seconds; returns the nanoseconds it took.
    fn request_for(&mut self, seconds: f64) -> Result<u64, Failure> {
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
        let client = &mut self.clients[index];
        if client.asked.is_none() && event.is_writable() {
            client.ask(&self.request, self.clock.now())?;
        }
        client.wire.flush()?;
        if event.is_readable() && client.read(&mut self.buffers)? {
            let now = self.clock.now();
            self.latencies.record(now - client.asked.unwrap_or(now));
            client.ask(&self.request, now)?;
        }
        Ok(())
    }
}

impl Client {
    /// Writes a request. It is short, and nothing else is on its way out: it always fits.
    fn ask(&mut self, request: &[u8], now: u64) -> Result<(), Failure> {
        self.asked = Some(now);
        if self.wire.write(request)? < request.len() {
            return Err("a request did not fit into the socket".into());
        }
        Ok(())
    }

    /// Reads until the socket is empty; true when the response is whole.
    fn read(&mut self, buffers: &mut Buffers) -> Result<bool, Failure> {
        loop {
            match self.wire.read(buffers) {
                Ok(received) => {
                    self.response.extend_from_slice(&buffers.plain[..received.length]);
                    if received.emptied {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let whole = is_whole(&self.response)?;
        if whole {
            self.response.clear();
        }
        Ok(whole)
    }
}

/// Whether this is a whole response. It has to be a 200 with a length.
fn is_whole(response: &[u8]) -> Result<bool, Failure> {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if response.len() > LONGEST {
            Err("a head without an end".into())
        } else {
            Ok(false)
        };
    };
    let head = String::from_utf8_lossy(&response[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("answered with {status}").into());
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|&length| length <= LONGEST)
        .ok_or("a response without a length")?;
    match response.len().cmp(&(end + 4 + length)) {
        std::cmp::Ordering::Less => Ok(false),
        std::cmp::Ordering::Equal => Ok(true),
        std::cmp::Ordering::Greater => Err("more than was asked for".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_a_response_ends() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for length in 0..response.len() {
            assert!(!is_whole(&response[..length]).expect("a good beginning"), "{length}");
        }
        assert!(is_whole(response).expect("a good response"));
        assert!(is_whole(&[&response[..], b"H"].concat()).is_err());
    }

    #[test]
    fn refuses_what_is_no_success_or_has_no_length() {
        assert!(is_whole(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
