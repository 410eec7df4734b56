//! What a load balancer says about a client before its first byte.

use std::net::SocketAddr;

use napi_derive::napi;

use super::plugin::NativePlugin;
use crate::handshake::address_of;
use crate::handshake::proxy_protocol::{self, ProxyHeader};

/// One end of a connection, as sockets of Node's have it.
#[napi(object, object_from_js = false)]
pub struct PeerName {
    /// An IP address.
    pub address: String,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// The port.
    pub port: u32,
}

impl From<SocketAddr> for PeerName {
    fn from(name: SocketAddr) -> Self {
        Self {
            address: name.ip().to_string(),
            family: if name.is_ipv4() { "IPv4" } else { "IPv6" },
            port: name.port().into(),
        }
    }
}

/// What stands at the beginning of a connection: nothing of this where more has to come.
#[derive(Default)]
#[napi(object, object_from_js = false)]
pub struct BeginningOfConnection {
    /// How many bytes the header has.
    pub length: Option<u32>,
    /// Who the client is, if the header says so.
    pub client: Option<PeerName>,
    /// Why it is no header.
    pub refusal: Option<&'static str>,
}

/// Reads the PROXY header at the beginning of a connection, of which `bytes` have come.
#[napi]
pub fn read_proxy_header(bytes: &[u8]) -> BeginningOfConnection {
    match proxy_protocol::read(bytes) {
        Ok(ProxyHeader::Incomplete) => BeginningOfConnection::default(),
        Ok(ProxyHeader::Complete { len, client }) => BeginningOfConnection {
            length: Some(len as u32),
            client: client.map(PeerName::from),
            refusal: None,
        },
        Err(refusal) => {
            BeginningOfConnection { refusal: Some(refusal), ..BeginningOfConnection::default() }
        }
    }
}

#[napi]
impl NativePlugin {
    /// Whether the PROXY protocol is spoken at all.
    #[napi(getter)]
    pub fn speaks_proxy_protocol(&self) -> bool {
        self.options.load_balancers.is_some()
    }

    /// A connection was refused that did not begin with its header.
    #[napi]
    pub fn count_refused_header(&self) {
        self.refused_headers.set(self.refused_headers.get().saturating_add(1));
    }

    /// Whether a connection from this address has to begin with a PROXY header. One without an address
    /// comes from this machine.
    #[napi]
    pub fn expects_proxy_header(&self, address: Option<String>) -> bool {
        let Some(trusted) = &self.options.load_balancers else { return false };
        let address = address_of(address.as_deref().unwrap_or("127.0.0.1"));
        let is_among = |address| trusted.iter().any(|subnet| subnet.contains(address));
        trusted.is_empty() || address.is_some_and(is_among)
    }
}
