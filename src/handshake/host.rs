//! The host that a request names, in `Host` or in a target of absolute form (RFC 3986 §3.2).

use std::net::Ipv6Addr;

/// Whether `text` is `host` or `host:port`, as `Host` has it (RFC 9110 §7.2).
///
/// The host is an IPv6 address in brackets or a name of one character or more; RFC 3986 also knows
/// an empty one, but not for the schemes of HTTP (RFC 9110 §4.2.1). The port may be empty.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let host_end = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => address.len() + 2,
            _ => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            if !is_name(&text[..end]) {
                return false;
            }
            end
        }
    };
    match text[host_end..].strip_prefix(':') {
        Some(port) => port.is_empty() || is_port(port),
        None => host_end == text.len(),
    }
}

/// Whether `text` is the number of a port. Leading zeros are digits like any other.
pub(super) fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let significant = text.trim_start_matches('0');
    digits && !text.is_empty() && (significant.is_empty() || significant.parse::<u16>().is_ok())
}

/// Whether `text` is a `reg-name` that is not empty.
pub(super) fn is_name(text: &str) -> bool {
    let mut after_signs = text.as_bytes().split(|byte| *byte == b'%').skip(1);
    !text.is_empty()
        && after_signs.all(starts_with_hex_pair)
        && text.bytes().all(|byte| byte == b'%' || is_unreserved_or_sub_delim(byte))
}

/// `unreserved` or `sub-delims` (RFC 3986 §2).
pub(super) fn is_unreserved_or_sub_delim(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Whether `bytes`, which stood behind a `%`, begin with the two digits that it needs.
pub(super) fn starts_with_hex_pair(bytes: &[u8]) -> bool {
    bytes.get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_addresses_are_hosts_with_or_without_a_port() {
        for text in [
            "example.com",
            "example.com:80",
            "example.com:",
            "example.com:0080",
            "example.com:65535",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:443",
            "[::ffff:127.0.0.1]:",
            "my_host",
            "caf%C3%A9.example",
            "a!$&'()*+,;=b",
        ] {
            assert!(is_host_and_port(text), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            ":80",
            " ",
            "a b",
            "a,b c",
            "example.com:80a",
            "example.com:65536",
            "example.com:-1",
            "example.com:80:80",
            "::1",
            "[::1",
            "[]",
            "[::1]80",
            "[::1]x:80",
            "[::g]",
            "[fe80::1%25eth0]",
            "user@example.com",
            "example.com/path",
            "http://example.com",
            "example.com?x",
            "example.com#x",
            "exa\\mple",
            "caf\u{e9}.fr",
            "a%",
            "a%zz",
            "a%4",
        ] {
            assert!(!is_host_and_port(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), ascii in "[a-f0-9:.%@\\[\\]]{0,20}") {
            is_host_and_port(&text);
            is_host_and_port(&ascii);
        }
    }
}
