//! Hosts and ports, read in another way than by the code under test.

use std::net::Ipv6Addr;

/// Host and port of `host:port`, where the host may be an address in brackets. Neither is checked.
pub fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let after = text.rfind(']').map_or(0, |at| at + 1);
    match text[after..].split_once(':') {
        Some((name, port)) => (&text[..after + name.len()], Some(port)),
        None => (text, None),
    }
}

/// Whether `host` is an address in brackets or a name of unreserved characters, sub-delims and
/// encoded bytes.
pub fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host.chars();
    while let Some(character) = rest.next() {
        let fits = match character {
            '%' => {
                let mut is_digit = || rest.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            other => other.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(other),
        };
        if !fits {
            return false;
        }
    }
    !host.is_empty()
}

/// The number of a port.
pub fn port_number(port: &str) -> Option<u16> {
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| {
            port.bytes()
                .fold(0, |sum: u64, digit| (sum * 10 + u64::from(digit - b'0')).min(1 << 20))
        })?
        .try_into()
        .ok()
}

/// Whether `text` may be the value of `Host`.
pub fn is_host_and_port(text: &str) -> bool {
    let (host, port) = host_and_port(text);
    is_host(host) && port.is_none_or(|port| port.is_empty() || port_number(port).is_some())
}
