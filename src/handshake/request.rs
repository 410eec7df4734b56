//! The server's reading of the client's opening handshake (RFC 6455 §4.2.1).

use std::collections::HashSet;

use super::host::is_host_and_port;
use super::reject::{RejectReason, Rejection, quoted};

/// The oldest HTTP version that knows `Upgrade` (RFC 9110 §7.8).
const OLDEST_HTTP: (u8, u8) = (1, 1);

/// The version of RFC 6455.
const PROTOCOL_VERSION: &str = "13";

/// Base64 digits that 16 bytes need; two `=` follow them.
const KEY_DIGITS: usize = 22;

/// The parts of an upgrade request that RFC 6455 rules.
///
/// Header values are as Node joins them: trimmed, and repeated headers as one list that is joined
/// with `", "`. `None` means that the header is missing.
#[derive(Debug, Clone, Copy)]
pub struct UpgradeRequest<'a> {
    /// The method, in the client's spelling; methods are case-sensitive.
    pub method: &'a str,
    /// Major and minor HTTP version.
    pub http_version: (u8, u8),
    /// `Host`, the first where there are several.
    pub host: Option<&'a str>,
    /// How many header lines `Host` has.
    pub hosts: u32,
    /// `Upgrade`.
    pub upgrade: Option<&'a str>,
    /// `Connection`.
    pub connection: Option<&'a str>,
    /// `Sec-WebSocket-Key`.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`.
    pub protocols: Option<&'a str>,
    /// `Sec-WebSocket-Extensions`. Not checked here: a server may ignore any offer (RFC 6455 §9.1).
    pub extensions: Option<&'a str>,
}

impl UpgradeRequest<'_> {
    /// Whether this is an opening handshake that a server of RFC 6455 may accept (§4.2.1).
    ///
    /// # Errors
    /// [`RejectReason::Method`] for anything but GET, [`RejectReason::Version`] for another
    /// protocol version than 13, and [`RejectReason::BadRequest`] for a header that is missing or
    /// malformed.
    pub fn check(&self) -> Result<(), Rejection> {
        self.check_method()?;
        self.check_http_version()?;
        self.check_host()?;
        check_listed("Upgrade", self.upgrade, "websocket")?;
        check_listed("Connection", self.connection, "upgrade")?;
        check_key(self.key)?;
        check_version(self.version)?;
        self.protocols.map_or(Ok(()), |value| offered_protocols(value).map(drop))
    }

    fn check_method(&self) -> Result<(), Rejection> {
        if self.method == "GET" {
            return Ok(());
        }
        Err(Rejection::new(
            RejectReason::Method,
            format!(
                "method {} cannot open a WebSocket connection: only GET can",
                quoted(self.method)
            ),
        ))
    }

    /// There is exactly one host in a request (RFC 9112 §3.2).
    fn check_host(&self) -> Result<(), Rejection> {
        const ACCEPTED: &str = "one host, with or without a port";
        if self.hosts > 1 {
            let times = self.hosts;
            return Err(bad_request(format!(
                "header Host occurs {times} times: accepted is {ACCEPTED}"
            )));
        }
        match self.host {
            Some(host) if is_host_and_port(host) => Ok(()),
            host => Err(bad_header("Host", host, ACCEPTED)),
        }
    }

    fn check_http_version(&self) -> Result<(), Rejection> {
        if self.http_version >= OLDEST_HTTP {
            return Ok(());
        }
        let (major, minor) = self.http_version;
        Err(bad_request(format!(
            "HTTP/{major}.{minor} cannot be upgraded: HTTP/1.1 or later is needed"
        )))
    }
}

/// The subprotocols that a `Sec-WebSocket-Protocol` header offers, in the client's order of
/// preference (RFC 6455 §4.1, item 10). Empty elements of the list are ignored (RFC 9110 §5.6.1.2).
///
/// # Errors
/// [`RejectReason::BadRequest`] where the value is not a comma-separated list of at least one
/// token, or names a subprotocol twice.
pub fn offered_protocols(value: &str) -> Result<Vec<&str>, Rejection> {
    let elements = value.split(',').map(trim_list_space);
    let offered: Vec<&str> = elements.filter(|element| !element.is_empty()).collect();
    let well_formed = !offered.is_empty() && offered.iter().all(|protocol| is_token(protocol));
    if !well_formed || has_duplicate(&offered) {
        return Err(bad_header(
            "Sec-WebSocket-Protocol",
            Some(value),
            "a comma-separated list of distinct tokens",
        ));
    }
    Ok(offered)
}

/// A set rather than a scan for each element: 16 KB of header hold thousands of them.
fn has_duplicate(elements: &[&str]) -> bool {
    let mut seen = HashSet::with_capacity(elements.len());
    !elements.iter().all(|element| seen.insert(element))
}

fn check_listed(header: &str, value: Option<&str>, token: &str) -> Result<(), Rejection> {
    let listed = value.is_some_and(|list| {
        list.split(',').any(|element| trim_list_space(element).eq_ignore_ascii_case(token))
    });
    if listed {
        return Ok(());
    }
    let accepted = format!("a list that contains \"{token}\"");
    Err(bad_header(header, value, &accepted))
}

fn check_key(key: Option<&str>) -> Result<(), Rejection> {
    if key.is_some_and(is_key) {
        return Ok(());
    }
    Err(bad_header("Sec-WebSocket-Key", key, "16 bytes in base64, which is 22 digits and \"==\""))
}

/// As lenient as the `ws` library about the unused low bits of the last digit: some clients send
/// random text of the right form, and the key only ever goes into a hash.
fn is_key(key: &str) -> bool {
    key.strip_suffix("==")
        .is_some_and(|digits| digits.len() == KEY_DIGITS && digits.bytes().all(is_base64_digit))
}

fn is_base64_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn check_version(version: Option<&str>) -> Result<(), Rejection> {
    match version {
        Some(PROTOCOL_VERSION) => Ok(()),
        Some(other) => Err(Rejection::new(
            RejectReason::Version,
            header_problem("Sec-WebSocket-Version", Some(other), "13"),
        )),
        None => Err(bad_header("Sec-WebSocket-Version", None, "13")),
    }
}

/// Whether `text` is a token (RFC 9110 §5.6.2): the form of a header name and of a subprotocol.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Removes the white space that a list may have around its elements (RFC 9110 §5.6.1).
fn trim_list_space(element: &str) -> &str {
    element.trim_matches([' ', '\t'])
}

fn bad_header(header: &str, value: Option<&str>, accepted: &str) -> Rejection {
    bad_request(header_problem(header, value, accepted))
}

fn bad_request(message: String) -> Rejection {
    Rejection::new(RejectReason::BadRequest, message)
}

fn header_problem(header: &str, value: Option<&str>, accepted: &str) -> String {
    match value {
        Some(value) => format!("header {header} is {}: accepted is {accepted}", quoted(value)),
        None => format!("header {header} is missing: accepted is {accepted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: UpgradeRequest<'static> = UpgradeRequest {
        method: "GET",
        http_version: (1, 1),
        host: Some("example.com"),
        hosts: 1,
        upgrade: Some("websocket"),
        connection: Some("Upgrade"),
        key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
        version: Some("13"),
        protocols: None,
        extensions: None,
    };

    #[track_caller]
    fn assert_refused(request: UpgradeRequest<'_>, reason: RejectReason, message: &str) {
        let rejection = request.check().unwrap_err();
        assert_eq!(rejection.reason(), reason);
        assert_eq!(rejection.message(), message);
    }

    #[test]
    fn the_sample_handshake_is_accepted() {
        assert_eq!(GOOD.check(), Ok(()));
    }

    #[test]
    fn only_get_can_upgrade() {
        for method in ["POST", "HEAD", "get", ""] {
            let request = UpgradeRequest { method, ..GOOD };
            let rejection = request.check().unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::Method);
        }
        assert_refused(
            UpgradeRequest { method: "POST", ..GOOD },
            RejectReason::Method,
            "method \"POST\" cannot open a WebSocket connection: only GET can",
        );
    }

    #[test]
    fn http_before_1_1_cannot_be_upgraded() {
        assert_refused(
            UpgradeRequest { http_version: (1, 0), ..GOOD },
            RejectReason::BadRequest,
            "HTTP/1.0 cannot be upgraded: HTTP/1.1 or later is needed",
        );
        let later = UpgradeRequest { http_version: (2, 0), ..GOOD };
        assert_eq!(later.check(), Ok(()));
    }

    #[test]
    fn the_upgrade_token_is_found_in_a_list_in_any_case() {
        for value in ["WebSocket", "h2c, WEBSOCKET", "h2c,\twebsocket ,", "websocket, websocket"] {
            let request = UpgradeRequest { upgrade: Some(value), ..GOOD };
            assert_eq!(request.check(), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn an_upgrade_without_the_token_is_refused() {
        for value in ["", "h2c", "websockets", "web socket", "websocket/13", "\"websocket\""] {
            let request = UpgradeRequest { upgrade: Some(value), ..GOOD };
            let rejection = request.check().unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::BadRequest, "{value:?}");
        }
        assert_refused(
            UpgradeRequest { upgrade: Some("h2c"), ..GOOD },
            RejectReason::BadRequest,
            "header Upgrade is \"h2c\": accepted is a list that contains \"websocket\"",
        );
        assert_refused(
            UpgradeRequest { upgrade: None, ..GOOD },
            RejectReason::BadRequest,
            "header Upgrade is missing: accepted is a list that contains \"websocket\"",
        );
    }

    #[test]
    fn the_connection_token_is_found_in_a_list_in_any_case() {
        for value in ["upgrade", "keep-alive, Upgrade", "UPGRADE,close"] {
            let request = UpgradeRequest { connection: Some(value), ..GOOD };
            assert_eq!(request.check(), Ok(()), "{value:?}");
        }
        assert_refused(
            UpgradeRequest { connection: Some("keep-alive"), ..GOOD },
            RejectReason::BadRequest,
            "header Connection is \"keep-alive\": accepted is a list that contains \"upgrade\"",
        );
    }

    #[test]
    fn a_key_with_stray_low_bits_is_accepted() {
        for key in
            ["AAAAAAAAAAAAAAAAAAAAAA==", "zzzzzzzzzzzzzzzzzzzzzz==", "+/+/+/+/+/+/+/+/+/+/+/=="]
        {
            let request = UpgradeRequest { key: Some(key), ..GOOD };
            assert_eq!(request.check(), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn a_garbage_key_is_refused() {
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZ=Q=",
            "dGhlIHNhbXBsZSBub25jZQQ==",
            "dGhlIHNhbXBsZSBub25-ZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
            " dGhlIHNhbXBsZSBub25jZQ==",
            "ééééééééééé==",
        ] {
            let request = UpgradeRequest { key: Some(key), ..GOOD };
            let rejection = request.check().unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::BadRequest, "{key:?}");
            assert!(rejection.message().starts_with("header Sec-WebSocket-Key is \""));
        }
        assert_refused(
            UpgradeRequest { key: None, ..GOOD },
            RejectReason::BadRequest,
            "header Sec-WebSocket-Key is missing: accepted is 16 bytes in base64, \
             which is 22 digits and \"==\"",
        );
    }

    #[test]
    fn another_version_than_13_asks_for_an_upgrade_of_the_client() {
        for version in ["8", "14", "013", "13, 8", "", "thirteen"] {
            let request = UpgradeRequest { version: Some(version), ..GOOD };
            let rejection = request.check().unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::Version, "{version:?}");
        }
    }

    #[test]
    fn a_missing_version_is_a_bad_request() {
        assert_refused(
            UpgradeRequest { version: None, ..GOOD },
            RejectReason::BadRequest,
            "header Sec-WebSocket-Version is missing: accepted is 13",
        );
    }

    #[test]
    fn offered_protocols_keep_the_order_of_the_client() {
        assert_eq!(
            offered_protocols("graphql-ws, chat.v2 ,\tmqtt"),
            Ok(vec!["graphql-ws", "chat.v2", "mqtt"])
        );
    }

    #[test]
    fn subprotocols_differ_by_case() {
        assert_eq!(offered_protocols("chat, Chat"), Ok(vec!["chat", "Chat"]));
    }

    #[test]
    fn a_malformed_protocol_list_is_refused() {
        for value in
            ["", " ", ",", " ,\t, ", "a b", "a;b", "a, a", "a,,a", "chät", "a\u{7f}", "a\r\nb"]
        {
            let request = UpgradeRequest { protocols: Some(value), ..GOOD };
            let rejection = request.check().unwrap_err();
            assert_eq!(rejection.reason(), RejectReason::BadRequest, "{value:?}");
        }
        assert_refused(
            UpgradeRequest { protocols: Some("a, a"), ..GOOD },
            RejectReason::BadRequest,
            "header Sec-WebSocket-Protocol is \"a, a\": accepted is a \
             comma-separated list of distinct tokens",
        );
    }

    #[test]
    fn empty_elements_of_an_offer_are_ignored() {
        for value in ["a,b", "a,,b", ",a,b", "a,b,", " , a ,\t, b , "] {
            assert_eq!(offered_protocols(value), Ok(vec!["a", "b"]), "{value:?}");
        }
    }

    #[test]
    fn there_is_one_host_and_it_is_well_formed() {
        for host in ["example.com", "example.com:8080", "[::1]:80", "localhost:"] {
            let request = UpgradeRequest { host: Some(host), ..GOOD };
            assert_eq!(request.check(), Ok(()), "{host:?}");
        }
        assert_refused(
            UpgradeRequest { host: None, hosts: 0, ..GOOD },
            RejectReason::BadRequest,
            "header Host is missing: accepted is one host, with or without a port",
        );
        assert_refused(
            UpgradeRequest { hosts: 2, ..GOOD },
            RejectReason::BadRequest,
            "header Host occurs 2 times: accepted is one host, with or without a port",
        );
        for host in ["", "a b", "a, b", "a:x", "http://a", "u@a", "::1"] {
            assert_refused(
                UpgradeRequest { host: Some(host), ..GOOD },
                RejectReason::BadRequest,
                &format!("header Host is \"{host}\": accepted is one host, with or without a port"),
            );
        }
    }

    #[test]
    fn the_host_comes_after_method_and_http_version() {
        let request = UpgradeRequest { host: None, method: "POST", ..GOOD };
        assert_eq!(request.check().unwrap_err().reason(), RejectReason::Method);
        let request = UpgradeRequest { host: None, http_version: (1, 0), ..GOOD };
        assert!(request.check().unwrap_err().message().starts_with("HTTP/1.0"));
        let request = UpgradeRequest { host: None, upgrade: None, ..GOOD };
        assert!(request.check().unwrap_err().message().starts_with("header Host"));
    }

    #[test]
    fn extensions_are_left_to_their_negotiation() {
        let request = UpgradeRequest { extensions: Some(";;;"), ..GOOD };
        assert_eq!(request.check(), Ok(()));
    }

    #[test]
    fn a_message_does_not_echo_control_characters_or_kilobytes() {
        let long = format!("\r\n{}", "x".repeat(10_000));
        let request = UpgradeRequest { upgrade: Some(&long), ..GOOD };
        let rejection = request.check().unwrap_err();
        assert!(rejection.message().len() < 200);
        assert!(!rejection.message().contains('\n'));
    }
}
