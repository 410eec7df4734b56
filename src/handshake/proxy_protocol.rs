//! The PROXY protocol, versions 1 and 2: what a load balancer says about the client before the first byte
//! of it (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// More bytes have to come.
    Incomplete,
    /// A header of so many bytes.
    Complete {
        /// How long it is.
        len: usize,
        /// Who the client is; `None` where the header says nothing of it, such as for the health check
        /// of the load balancer itself: then it is who has connected.
        client: Option<SocketAddr>,
    },
}

/// Longest header of version 1, its end included.
const MAX_V1: usize = 107;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const V2_HEAD: usize = 16;

/// Longest rest of a header of version 2: addresses, and what else is said, such as a certificate.
const MAX_V2_REST: usize = 4096;

/// Reads the header at the beginning of `bytes`, which are all that has come.
///
/// # Errors
/// In a few words, where these bytes do not begin with one.
pub fn read(bytes: &[u8]) -> Result<ProxyHeader, &'static str> {
    if begins_alike(bytes, V2_SIGNATURE) {
        read_v2(bytes)
    } else if begins_alike(bytes, b"PROXY ") {
        read_v1(bytes)
    } else {
        Err("it does not begin with one")
    }
}

/// Whether `bytes` begin with `start`, or are the beginning of it.
fn begins_alike(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

fn read_v1(bytes: &[u8]) -> Result<ProxyHeader, &'static str> {
    let shown = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = shown.windows(2).position(|pair| pair == b"\r\n") else {
        let is_too_long = bytes.len() >= MAX_V1;
        return if is_too_long { Err("its line is too long") } else { Ok(ProxyHeader::Incomplete) };
    };
    let line = std::str::from_utf8(&shown[..end]).map_err(|_| "its line is no text")?;
    let mut words = line.split(' ').skip(1);
    let client = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let words: Vec<&str> = words.collect();
            let client = match words[..] {
                [source, destination, from, to] => {
                    let is_v6 = family == "TCP6";
                    let both = v1_address(source, is_v6).zip(v1_address(destination, is_v6));
                    let ports = v1_port(from).zip(v1_port(to));
                    both.zip(ports).map(|((source, _), (from, _))| SocketAddr::new(source, from))
                }
                _ => None,
            };
            Some(client.ok_or("its line has no two addresses and ports")?)
        }
        _ => return Err("its protocol is unknown"),
    };
    Ok(ProxyHeader::Complete { len: end + 2, client })
}

fn v1_address(text: &str, is_v6: bool) -> Option<IpAddr> {
    text.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == is_v6)
}

fn v1_port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with('0');
    let digits = is_plain && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn read_v2(bytes: &[u8]) -> Result<ProxyHeader, &'static str> {
    let Some(head) = bytes.first_chunk::<V2_HEAD>() else { return Ok(ProxyHeader::Incomplete) };
    let [.., version_and_command, family, high, low] = *head;
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    let is_proxied = match version_and_command {
        // The load balancer speaks for itself.
        0x20 => false,
        0x21 => true,
        _ => return Err("its version or command is unknown"),
    };
    if rest_len > MAX_V2_REST {
        return Err("it is too long");
    }
    let Some(rest) = bytes[V2_HEAD..].get(..rest_len) else { return Ok(ProxyHeader::Incomplete) };
    let client = if is_proxied { v2_client(family, rest)? } else { None };
    Ok(ProxyHeader::Complete { len: V2_HEAD + rest_len, client })
}

/// What stands behind the addresses says nothing about them.
fn v2_client(family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    const SHORT: &str = "its addresses are cut off";
    match family {
        // Source and destination, their ports likewise.
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] =
                *rest.first_chunk::<12>().ok_or(SHORT)?;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some((Ipv4Addr::new(a, b, c, d), port).into()))
        }
        0x21 => {
            let addresses = rest.first_chunk::<36>().ok_or(SHORT)?;
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Some((Ipv6Addr::from(source), port).into()))
        }
        // Nothing is said, or it came over a unix socket, whose names are no addresses.
        0x00 | 0x31 => Ok(None),
        _ => Err("its protocol is unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(len: usize, client: Option<&str>) -> Result<ProxyHeader, &'static str> {
        let client = client.map(|client| client.parse().unwrap());
        Ok(ProxyHeader::Complete { len, client })
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdd, 0xd5, 0, 80];

    #[test]
    fn the_client_is_what_the_header_says() {
        let ipv6 = [&[0x20, 1, 0xd, 0xb8], &[0; 12][..], &[0; 16], &[0, 9, 1, 187]].concat();
        let with_more = [IPV4, b"\x03\0\x04crc!"].concat();
        for (header, client) in [
            (&b"PROXY TCP4 192.0.2.1 198.51.100.7 56789 443\r\n"[..], Some("192.0.2.1:56789")),
            (b"PROXY TCP6 2001:db8::1 ::1 9 443\r\n", Some("[2001:db8::1]:9")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN whatever stands here\r\n", None),
            (&v2(0x21, 0x11, IPV4), Some("192.0.2.1:56789")),
            (&v2(0x21, 0x11, &with_more), Some("192.0.2.1:56789")),
            (&v2(0x21, 0x21, &ipv6), Some("[2001:db8::]:9")),
            (&v2(0x21, 0x00, b"anything"), None),
            (&v2(0x21, 0x31, &[b'/'; 216]), None),
            (&v2(0x20, 0x00, b""), None),
            (&v2(0x20, 0x11, IPV4), None),
        ] {
            let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&bytes), complete(header.len(), client), "{}", bytes.escape_ascii());
            // In pieces: each of them asks for more.
            for cut in 0..header.len() {
                assert_eq!(read(&bytes[..cut]), Ok(ProxyHeader::Incomplete), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_known() {
        let long_line = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
        for wrong in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"G",
            b"proxy ",
            b"\x16\x03\x01",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56789\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56789 443 1\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 9 443\r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.7 56789 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n",
            b"PROXY TCP4 192.0.2.1\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.7 1 443\r\n",
            b"PROXY \r\n",
            &long_line,
            &v2(0x11, 0x11, IPV4),
            &v2(0x22, 0x11, IPV4),
            &v2(0x21, 0x12, IPV4),
            &v2(0x21, 0x41, IPV4),
            &v2(0x21, 0x11, &IPV4[..11]),
            &v2(0x21, 0x21, IPV4),
            &v2(0x21, 0x11, &[0; MAX_V2_REST + 1])[..V2_HEAD],
        ] {
            assert!(read(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        // As long as a line may be.
        let line = [b"PROXY UNKNOWN ", &[b'x'; 91][..], b"\r\n"].concat();
        assert_eq!((line.len(), read(&line)), (MAX_V1, complete(MAX_V1, None)));
    }
}
