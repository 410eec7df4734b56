//! Who a client is: PROXY headers, and `X-Forwarded-For`.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use nextrush_websocket::handshake::proxy_protocol::{self, ProxyHeader};
use nextrush_websocket::handshake::{Subnet, TrustedProxies};

/// Longest header: of version 2, with all that may stand behind the addresses.
const MAX_HEADER: usize = 16 + 4096;

fuzz_target!(|input: &[u8]| {
    header(input);
    if let Ok(text) = std::str::from_utf8(input) {
        forwarded(text);
    }
});

fn header(input: &[u8]) {
    let whole = proxy_protocol::read(input);
    match whole {
        Ok(ProxyHeader::Incomplete) => assert!(input.len() < MAX_HEADER, "it never ends"),
        Ok(ProxyHeader::Complete { len, .. }) => {
            assert!((1..=MAX_HEADER.min(input.len())).contains(&len));
            // What stands behind it is nobody's business here, and nothing of it may be missing.
            assert_eq!(proxy_protocol::read(&input[..len]), whole);
            assert_eq!(proxy_protocol::read(&input[..len - 1]), Ok(ProxyHeader::Incomplete));
        }
        Err(reason) => {
            assert!(!reason.is_empty());
            // More bytes make no header of what is none.
            let more = [input, b"\r\n"].concat();
            assert!(proxy_protocol::read(&more).is_err());
        }
    }
}

/// The first line has who is trusted, the second one the header.
fn forwarded(text: &str) {
    let (trusted, header) = text.split_once('\n').unwrap_or(("loopback", text));
    let peer = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
    let client = |trusted: TrustedProxies| trusted.client_of(Some(peer), Some(header));
    assert_eq!(client(TrustedProxies::Nobody), Some(peer));
    assert_eq!(client(TrustedProxies::Hops(0)), Some(peer));
    assert_eq!(client(TrustedProxies::Hops(u32::MAX)), client(TrustedProxies::Everybody));
    if let Ok(subnets) = Subnet::read_list(trusted) {
        let trusts_peer = subnets.iter().any(|subnet| subnet.contains(peer));
        let found = client(TrustedProxies::Networks(subnets));
        assert!(trusts_peer || found == Some(peer), "nobody was trusted");
    }
}
