//! The server's opening handshake: the response that makes a connection a WebSocket
//! (RFC 6455 §4.2.2).

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::fields;
use super::request::is_token;

/// The complete 101 response (RFC 6455 §4.2.2).
///
/// `key` is the client's `Sec-WebSocket-Key`, which
/// [`Handshake::read`](super::Handshake::read) has approved. `protocol` is the chosen
/// one of the [offered](super::offered_protocols) subprotocols; it is left out where it is not a
/// token. `extensions` is the value of `Sec-WebSocket-Extensions` that was
/// [agreed](super::negotiate).
///
/// `extra` holds headers of the application, in their order. Dropped are those with characters that have
/// no place there, and what the handshake owns: `Sec-WebSocket-*`, and all that describes the connection
/// or a body, which a 101 has not.
pub fn accept_response(
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
    extra: &[(String, String)],
) -> Vec<u8> {
    let mut response = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    fields::push(&mut response, "Upgrade", b"websocket");
    fields::push(&mut response, "Connection", b"Upgrade");
    let accept = derive_accept_key(key.as_bytes());
    fields::push(&mut response, "Sec-WebSocket-Accept", accept.as_bytes());
    if let Some(protocol) = protocol.filter(|protocol| is_token(protocol)) {
        fields::push(&mut response, "Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    if let Some(extensions) = extensions {
        fields::push(&mut response, "Sec-WebSocket-Extensions", extensions.as_bytes());
    }
    for (name, value) in extra {
        if fields::is_free(name) && !fields::describes_body(name) {
            fields::push_own(&mut response, name, value);
        }
    }
    response.extend_from_slice(b"\r\n");
    response
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
        for name in [
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
        ] {
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
