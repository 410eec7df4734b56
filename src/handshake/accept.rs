//! The server's opening handshake: the response that makes a connection a WebSocket
//! (RFC 6455 §4.2.2).

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::request::is_token;

/// Headers that describe the connection or frame a body. A 101 has no body, and a second value for
/// one of these could make a proxy and the client disagree about where the HTTP response ends.
const RESERVED: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The prefix of the headers that the handshake itself answers with.
const HANDSHAKE_PREFIX: &[u8] = b"sec-websocket-";

/// The complete 101 response (RFC 6455 §4.2.2).
///
/// `key` is the client's `Sec-WebSocket-Key`, which
/// [`Handshake::read`](super::Handshake::read) has approved. `protocol` is the chosen
/// one of the [offered](super::offered_protocols) subprotocols; it is left out where it is not a
/// token. `extensions` is the value of `Sec-WebSocket-Extensions` that was
/// [agreed](super::negotiate).
///
/// `extra` holds headers of the application, in their order. The rules are those of Node's own
/// `setHeader`, but what it would throw on is dropped here: a name that is not a token, a value
/// with control characters (CR, LF and NUL among them; a tab may stay) or with characters beyond
/// U+00FF. Values are sent as Latin-1. Dropped as well is what the handshake owns:
/// `Sec-WebSocket-*`, and all that describes the connection or a body.
pub fn accept_response(
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
    extra: &[(String, String)],
) -> Vec<u8> {
    let mut response = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    push_header(&mut response, "Upgrade", b"websocket");
    push_header(&mut response, "Connection", b"Upgrade");
    let accept = derive_accept_key(key.as_bytes());
    push_header(&mut response, "Sec-WebSocket-Accept", accept.as_bytes());
    if let Some(protocol) = protocol.filter(|protocol| is_token(protocol)) {
        push_header(&mut response, "Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    if let Some(extensions) = extensions {
        push_header(&mut response, "Sec-WebSocket-Extensions", extensions.as_bytes());
    }
    for (name, value) in extra.iter().filter(|(name, _)| may_add(name)) {
        if let Some(value) = latin1_value(value) {
            push_header(&mut response, name, &value);
        }
    }
    response.extend_from_slice(b"\r\n");
    response
}

fn push_header(response: &mut Vec<u8>, name: &str, value: &[u8]) {
    response.extend_from_slice(name.as_bytes());
    response.extend_from_slice(b": ");
    response.extend_from_slice(value);
    response.extend_from_slice(b"\r\n");
}

fn may_add(name: &str) -> bool {
    is_token(name) && !is_handshake_header(name) && !is_reserved(name)
}

fn is_handshake_header(name: &str) -> bool {
    name.as_bytes()
        .get(..HANDSHAKE_PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(HANDSHAKE_PREFIX))
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// The value as Latin-1, or `None` where a character has no place in a header (RFC 9110 §5.5).
///
/// A character is never cut down to a byte: U+010A would become a line end.
fn latin1_value(value: &str) -> Option<Vec<u8>> {
    value.chars().map(|character| u8::try_from(character).ok().filter(is_value_byte)).collect()
}

fn is_value_byte(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const PLAIN: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn with_header(name: &str, value: &str) -> Vec<u8> {
        accept_response(KEY, None, None, &[(name.to_owned(), value.to_owned())])
    }

    #[track_caller]
    fn assert_dropped(name: &str, value: &str) {
        assert_eq!(with_header(name, value), PLAIN, "{name:?}: {value:?}");
    }

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(accept_response(KEY, None, None, &[]), PLAIN);
    }

    #[test]
    fn the_chosen_protocol_is_named() {
        let response = String::from_utf8(accept_response(KEY, Some("chat.v2"), None, &[])).unwrap();
        assert!(response.ends_with("xOo=\r\nSec-WebSocket-Protocol: chat.v2\r\n\r\n"));
    }

    #[test]
    fn agreed_extensions_are_named() {
        let response = accept_response(KEY, None, Some("permessage-deflate"), &[]);
        assert!(response.ends_with(b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
    }

    #[test]
    fn a_protocol_that_is_no_token_is_left_out() {
        for protocol in ["", "a b", "a, b", "a\r\nSet-Cookie: x=1", "chät"] {
            assert_eq!(accept_response(KEY, Some(protocol), None, &[]), PLAIN);
        }
    }

    #[test]
    fn extra_headers_follow_in_order_and_may_repeat() {
        let extra = [
            ("Set-Cookie".to_owned(), "a=1; HttpOnly".to_owned()),
            ("Set-Cookie".to_owned(), "b=2".to_owned()),
            ("Date".to_owned(), "Tue, 15 Nov 1994 08:12:31 GMT".to_owned()),
            ("X-Empty".to_owned(), String::new()),
        ];
        let response = String::from_utf8(accept_response(KEY, None, None, &extra)).unwrap();
        assert!(response.ends_with(
            "xOo=\r\nSet-Cookie: a=1; HttpOnly\r\nSet-Cookie: b=2\r\n\
             Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-Empty: \r\n\r\n"
        ));
    }

    #[test]
    fn a_header_cannot_split_the_response() {
        for value in ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\u{7f}", "a\u{1}", "a\u{10a}b"] {
            assert_dropped("X-Extra", value);
        }
        for name in ["X\r\nY", "X:Y", "X Y", "X\0", "", "Ä"] {
            assert_dropped(name, "value");
        }
    }

    #[test]
    fn a_dropped_header_does_not_take_others_with_it() {
        let extra = [
            ("X-Bad".to_owned(), "a\nb".to_owned()),
            ("X-Good".to_owned(), "tab\tand é".to_owned()),
        ];
        let response = accept_response(KEY, None, None, &extra);
        assert!(response.ends_with(b"xOo=\r\nX-Good: tab\tand \xe9\r\n\r\n"));
    }

    #[test]
    fn headers_of_the_handshake_and_of_the_connection_are_dropped() {
        for name in RESERVED {
            assert_dropped(name, "x");
            assert_dropped(&name.to_ascii_uppercase(), "x");
        }
        for name in [
            "Sec-WebSocket-Accept",
            "sec-websocket-protocol",
            "SEC-WEBSOCKET-EXTENSIONS",
            "Sec-WebSocket-Anything",
        ] {
            assert_dropped(name, "x");
        }
    }

    #[test]
    fn names_that_only_resemble_reserved_ones_stay() {
        for name in ["Connection-Id", "X-Upgrade", "Sec-WebSocke", "Sec-Fetch-Mode"] {
            assert_ne!(with_header(name, "x"), PLAIN, "{name}");
        }
    }
}
