//! Which address a client has behind proxies: `X-Forwarded-For`, as far as those who wrote it are
//! trusted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whose word on an address is taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum TrustedProxies {
    /// Nobody's: a client has the address of its socket.
    #[default]
    Nobody,
    /// Everybody's: the client is the first that the header names, whoever wrote that.
    Everybody,
    /// That of so many, beginning with who has connected to this server.
    Hops(u32),
    /// That of whoever has one of these addresses.
    Networks(Vec<Subnet>),
}

/// Addresses that have their first bits in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    /// How many bits.
    prefix: u8,
}

/// What is no address, subnet or name of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetError(pub String);

impl fmt::Display for SubnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SubnetError {}

const LOOPBACK: [Subnet; 2] = [
    Subnet { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
    Subnet { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
];

const LINK_LOCAL: [Subnet; 2] = [
    Subnet { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix: 16 },
    Subnet { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix: 10 },
];

const UNIQUE_LOCAL: [Subnet; 4] = [
    Subnet { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 },
    Subnet { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), prefix: 12 },
    Subnet { address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), prefix: 16 },
    Subnet { address: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), prefix: 7 },
];

impl Subnet {
    /// Reads addresses, subnets such as `10.0.0.0/8`, and the names `loopback`, `linklocal` and
    /// `uniquelocal`, with commas between them.
    ///
    /// # Errors
    /// What is none of these, in its own words.
    pub fn read_list(text: &str) -> Result<Vec<Self>, SubnetError> {
        let mut all = Vec::new();
        for entry in text.split(',').map(str::trim) {
            match entry {
                "loopback" => all.extend(LOOPBACK),
                "linklocal" => all.extend(LINK_LOCAL),
                "uniquelocal" => all.extend(UNIQUE_LOCAL),
                _ => all.push(Self::read(entry).ok_or_else(|| SubnetError(entry.to_owned()))?),
            }
        }
        Ok(all)
    }

    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let digits = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => bits,
            Some(prefix) => Some(prefix).filter(digits)?.parse().ok()?,
        };
        // How a socket for both kinds shows IPv4: 96 of its bits are always the same.
        let canonical = address.to_canonical();
        let mapped = if address.is_ipv6() && canonical.is_ipv4() { 96 } else { 0 };
        (prefix >= mapped && prefix <= bits)
            .then(|| Self { address: canonical, prefix: prefix - mapped })
    }

    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (differing, bits) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits() ^ other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits(), 128),
            _ => return false,
        };
        differing.checked_shr(bits - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

impl TrustedProxies {
    /// Who the client is of a connection from `peer`, which is `None` for a socket without addresses,
    /// with this `X-Forwarded-For`. Each proxy appends who has connected to it: from the end on,
    /// entries are believed as long as who wrote them is trusted. What is no address ends that.
    pub fn client_of(&self, peer: Option<IpAddr>, forwarded: Option<&str>) -> Option<IpAddr> {
        let mut client = peer;
        for (hop, entry) in forwarded.unwrap_or_default().rsplit(',').enumerate() {
            if !self.trusts(client, hop) {
                break;
            }
            let Some(address) = address_of(entry) else { break };
            client = Some(address);
        }
        client
    }

    fn trusts(&self, writer: Option<IpAddr>, hop: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Hops(hops) => hop < *hops as usize,
            Self::Networks(subnets) => {
                // Only who is on this machine connects to a unix socket.
                let writer = writer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                subnets.iter().any(|subnet| subnet.contains(writer))
            }
        }
    }
}

/// An address as proxies write it: bare, in brackets, or with a port; a zone is left out.
pub fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // One colon stands before a port; IPv6 has more.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => text,
        },
    };
    host.split_once('%').map_or(host, |(host, _)| host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(text: &str) -> TrustedProxies {
        TrustedProxies::Networks(Subnet::read_list(text).unwrap())
    }

    #[test]
    fn entries_are_believed_from_the_end_on_as_long_as_who_wrote_them_is_trusted() {
        let hops = TrustedProxies::Hops;
        let everybody = || TrustedProxies::Everybody;
        let proxy = "10.0.0.1";
        for (trusted, peer, header, client) in [
            (TrustedProxies::Nobody, proxy, "192.0.2.1", proxy),
            (everybody(), proxy, "192.0.2.1", "192.0.2.1"),
            (everybody(), proxy, "198.51.100.7, 192.0.2.1,10.0.0.2", "198.51.100.7"),
            (hops(0), proxy, "192.0.2.1", proxy),
            (hops(1), proxy, "198.51.100.7, 192.0.2.1", "192.0.2.1"),
            (hops(2), proxy, "198.51.100.7, 192.0.2.1", "198.51.100.7"),
            (hops(9), proxy, "198.51.100.7", "198.51.100.7"),
            (networks("uniquelocal"), proxy, "198.51.100.7, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
            (networks("loopback"), proxy, "192.0.2.1", proxy),
            (networks("10.0.0.1"), "::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
            // What is no address says nothing about the client, and nothing before it counts.
            (everybody(), proxy, "192.0.2.1, unknown", proxy),
            (everybody(), proxy, "192.0.2.1, evil, 10.0.0.2", "10.0.0.2"),
            (everybody(), proxy, "", proxy),
            (everybody(), proxy, ",,", proxy),
        ] {
            let found = trusted.client_of(Some(ip(peer)), Some(header));
            assert_eq!(found, Some(ip(client)), "{trusted:?} {header}");
        }
        assert_eq!(everybody().client_of(None, None), None);
        let over_unix = networks("loopback").client_of(None, Some("192.0.2.1"));
        assert_eq!(over_unix, Some(ip("192.0.2.1")));
        assert_eq!(networks("10.0.0.0/8").client_of(None, Some("192.0.2.1")), None);
    }

    #[test]
    fn an_address_may_stand_in_brackets_and_with_a_port() {
        for (text, address) in [
            (" 192.0.2.1 ", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(address_of(text), Some(ip(address)));
        }
        for text in ["", "unknown", "_hidden", "[2001:db8::1", "1.2.3", "1.2.3.4.5", "::1::"] {
            assert_eq!(address_of(text), None);
        }
    }

    #[test]
    fn subnets_contain_what_has_their_first_bits() {
        let contains = |subnet: &str, address: &str| {
            Subnet::read_list(subnet).unwrap()[0].contains(ip(address))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "192.0.2.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "::1/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "local",
            "1.2.3",
            "::ffff:1.2.3.4/95",
        ] {
            assert_eq!(Subnet::read_list(wrong), Err(SubnetError(wrong.to_owned())));
        }
    }
}
