//! A WebSocket load generator that costs much less per message than any server does.
//!
//! One thread, one epoll, frames that were masked before the clock started, reads of 256 KiB and
//! a parser that looks at frame headers only. Each sub-command prints one JSON object on stdout
//! (`idle` prints one line per state) and says on stderr what went wrong.
//!
//! The map: `frame` knows the bytes of frames, `message` those of messages and `dialect` those of
//! Socket.IO around them; `wire` is one stream, `tls` what encrypts it, `connection` a WebSocket on
//! it, `fleet` all of them; `echo`, `broadcast`, `cluster`, `idle`, `churn`, `httplag` and `requests`
//! are the scenarios; `http` is the blocking GET client of `httplag`; `measure` has the clock, the histogram
//! and the CPU accounts; `target` is the server's URL; `system` is the one place with `unsafe`.

mod broadcast;
mod churn;
mod cluster;
mod connection;
mod dialect;
mod echo;
mod fleet;
mod frame;
mod http;
mod httplag;
mod idle;
mod measure;
mod message;
mod requests;
mod system;
mod target;
mod tls;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any reason to give up, already worded for the person at the terminal.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "load", about = "WebSocket load generator", version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Every connection keeps a number of messages in flight to /echo
    Echo(echo::Options),
    /// One command, many members of a room: deliveries per second and time of a fan-out
    Broadcast(broadcast::Options),
    /// One server broadcasts, the members are on another
    Cluster(cluster::Options),
    /// Open connections and keep them, until a line arrives on stdin
    Idle(idle::Options),
    /// Handshake and close, again and again
    Connect(churn::Options),
    /// HTTP latency on the same port while a large room gets broadcasts
    Httplag(httplag::Options),
    /// HTTP requests over kept-alive connections, one at a time on each
    Requests(requests::Options),
    /// Print a new certificate for wss://127.0.0.1 and its key
    Certificate,
}

fn main() -> ExitCode {
    system::raise_descriptor_limit();
    let outcome = match Cli::parse().scenario {
        Scenario::Echo(options) => echo::run(&options),
        Scenario::Broadcast(options) => broadcast::run(&options),
        Scenario::Cluster(options) => cluster::run(&options),
        Scenario::Idle(options) => idle::run(&options),
        Scenario::Connect(options) => churn::run(&options),
        Scenario::Httplag(options) => httplag::run(&options),
        Scenario::Requests(options) => requests::run(&options),
        Scenario::Certificate => tls::print_certificate(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}
