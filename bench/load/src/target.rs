//! Where to connect to, how, and from which address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::dialect::Dialect;
use crate::tls::Trust;

/// Connections from one source address to one port. Linux has 28,232 ephemeral ports by default,
/// gives out the even ones first, and looks at all of them again for each connection once they are
/// used up: the 15,000th takes ten times as long as the first.
const PER_SOURCE: usize = 12_000;

/// Options that every scenario has: the server and how to speak to it.
#[derive(Args)]
pub struct Options {
    /// The server, ws://host:port or wss://host:port, for echo, idle and connect with the path
    #[arg(long)]
    url: String,
    /// For wss://: a PEM file with the certificate that the server has to show
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Where to begin with source addresses, for one of several generators: 127.0.0.(1 + N)
    #[arg(long, default_value_t = 0, value_name = "N")]
    first_source: usize,
    /// What the server speaks on top of WebSocket
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    dialect: Dialect,
    /// Offer permessage-deflate without context take-over, and insist on it
    #[arg(long)]
    deflate: bool,
}

/// The server under load.
#[derive(Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The path of the URL without a trailing slash; empty for the root.
    pub path: String,
    /// Whether connections are encrypted, and which certificate they expect.
    pub trust: Option<Trust>,
    /// What is spoken on top of WebSocket.
    pub dialect: Dialect,
    /// The number of the source address that the first connection has.
    first_source: usize,
    /// Whether connections agree on permessage-deflate.
    pub deflate: bool,
}

impl Target {
    /// What the command line asks for.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let target = Self::parse(&options.url)?;
        let trust = match &options.ca {
            _ if !options.url.starts_with("wss://") => None,
            Some(path) => Some(Trust::from_file(path, target.address.ip())?),
            None => return Err("wss:// needs --ca".into()),
        };
        Ok(Self {
            trust,
            dialect: options.dialect,
            first_source: options.first_source,
            deflate: options.deflate,
            ..target
        })
    }

    /// Reads `ws://host:port/path` or `wss://…`; a port is required.
    fn parse(url: &str) -> Result<Self, Failure> {
        let rest = url
            .strip_prefix("ws://")
            .or_else(|| url.strip_prefix("wss://"))
            .ok_or_else(|| format!("--url {url}: expected ws:// or wss://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = host
            .to_socket_addrs()
            .map_err(|error| format!("--url {url}: {error} (expected ws://host:port/path)"))?
            .next()
            .ok_or_else(|| format!("--url {url}: the host has no address"))?;
        let path = match path.trim_end_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        Ok(Self {
            address,
            host: host.to_owned(),
            path,
            trust: None,
            dialect: Dialect::Plain,
            first_source: 0,
            deflate: false,
        })
    }

    /// Another server, reached in the same way.
    pub fn at(&self, url: &str) -> Result<Self, Failure> {
        let Self { address, host, path, .. } = Self::parse(url)?;
        Ok(Self { address, host, path, ..self.clone() })
    }

    /// The same server, another path below this one's.
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path), ..self.clone() }
    }

    /// The source address of the connection with this index, so that no address runs out of
    /// ephemeral ports. Only loopback on Linux has more than one, and the first 12,000 connections
    /// never need it.
    pub fn source(&self, index: usize) -> Option<SocketAddr> {
        self.nth_source(self.first_source + index / PER_SOURCE)
    }

    /// One of `count` source addresses in turn: for sockets that end quickly and leave their port
    /// in TIME_WAIT.
    pub fn rotating_source(&self, index: usize, count: usize) -> Option<SocketAddr> {
        self.nth_source(index % count)
    }

    fn nth_source(&self, nth: usize) -> Option<SocketAddr> {
        let many =
            cfg!(target_os = "linux") && self.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        if nth == 0 || !many {
            return None;
        }
        let last = u8::try_from(1 + nth).unwrap_or(u8::MAX);
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_url() {
        let target = Target::parse("ws://127.0.0.1:80/a/echo").expect("a good URL");
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:80", "/a/echo"));
        assert_eq!(
            Target::parse("ws://127.0.0.1:80/").expect("a good URL").below("/room").path,
            "/room"
        );
    }

    #[test]
    fn refuses_other_schemes_and_a_missing_port() {
        assert!(Target::parse("http://127.0.0.1:80/").is_err());
        assert!(Target::parse("ws://127.0.0.1/").is_err());
        assert!(Target::parse("wss://127.0.0.1:443/").is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn moves_on_to_the_next_source_before_ports_run_out() {
        let target = Target::parse("ws://127.0.0.1:80").expect("a good URL");
        assert_eq!(target.source(11_999), None);
        assert_eq!(target.source(12_000), Some(SocketAddr::from(([127, 0, 0, 2], 0))));
        let another = Target { first_source: 3, ..target };
        assert_eq!(another.source(0), Some(SocketAddr::from(([127, 0, 0, 4], 0))));
    }
}
