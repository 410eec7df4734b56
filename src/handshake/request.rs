//! The server's reading of the client's opening handshake (RFC 6455 §4.2.1).

use super::host::is_host_and_port;
use super::reject::{RejectReason, Rejection, quoted};

/// The oldest HTTP version that knows `Upgrade` (RFC 9110 §7.8).
const OLDEST_HTTP: (u8, u8) = (1, 1);

/// The version of RFC 6455.
const PROTOCOL_VERSION: &str = "13";

/// Base64 digits that 16 bytes need; two `=` follow them.
const KEY_DIGITS: usize = 22;

/// The headers that are decided on, by the names under which Node hands them on, and in the order in
/// which [`UpgradeRequest::new`] takes their values.
pub const REQUEST_HEADERS: [&str; 8] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "origin",
];

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
    /// `Sec-WebSocket-Extensions`.
    pub extensions: Option<&'a str>,
    /// `Origin`. What is allowed is a matter of [`OriginRules`](super::OriginRules).
    pub origin: Option<&'a str>,
}

impl<'a> UpgradeRequest<'a> {
    /// The request with these values of [`REQUEST_HEADERS`]. `http_version` is written as `1.1`; `hosts`
    /// counts the header lines `Host`.
    pub fn new(
        method: &'a str,
        http_version: &str,
        hosts: u32,
        headers: [Option<&'a str>; REQUEST_HEADERS.len()],
    ) -> Self {
        let [host, upgrade, connection, key, version, protocols, extensions, origin] = headers;
        Self {
            method,
            http_version: parse_http_version(http_version).unwrap_or_default(),
            host,
            hosts,
            upgrade,
            connection,
            key,
            version,
            protocols,
            extensions,
            origin,
        }
    }

    /// The request of which `head` has, line by line: the method, the HTTP version as `1.1`, and for each
    /// of [`REQUEST_HEADERS`] nothing where it is missing, or `=` and its value. `None` for anything else.
    pub fn from_lines(head: &'a str, hosts: u32) -> Option<Self> {
        let mut lines = head.split('\n');
        let (method, http_version) = (lines.next()?, lines.next()?);
        let mut headers = [None; REQUEST_HEADERS.len()];
        for header in &mut headers {
            let line = lines.next()?;
            *header = line.strip_prefix('=');
            if header.is_none() && !line.is_empty() {
                return None;
            }
        }
        lines.next().is_none().then(|| Self::new(method, http_version, hosts, headers))
    }

    /// Returns the key of an opening handshake that a server of RFC 6455 may accept (§4.2.1), apart
    /// from what the client offers.
    ///
    /// # Errors
    /// As [`Handshake::read`](super::Handshake::read).
    pub(super) fn check(&self) -> Result<&'a str, Rejection> {
        self.check_method()?;
        self.check_http_version()?;
        self.check_host()?;
        check_listed("Upgrade", self.upgrade, "websocket")?;
        check_listed("Connection", self.connection, "upgrade")?;
        let key = check_key(self.key)?;
        check_version(self.version)?;
        Ok(key)
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

fn parse_http_version(version: &str) -> Option<(u8, u8)> {
    let (major, minor) = version.split_once('.')?;
    major.parse().ok().zip(minor.parse().ok())
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

fn check_key(key: Option<&str>) -> Result<&str, Rejection> {
    key.filter(|key| is_key(key)).ok_or_else(|| {
        bad_header("Sec-WebSocket-Key", key, "16 bytes in base64, which is 22 digits and \"==\"")
    })
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
pub(super) fn trim_list_space(element: &str) -> &str {
    element.trim_matches([' ', '\t'])
}

pub(super) fn bad_header(header: &str, value: Option<&str>, accepted: &str) -> Rejection {
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
pub(super) mod tests {
    use super::*;

    pub(in crate::handshake) const GOOD: UpgradeRequest<'static> = UpgradeRequest {
        method: "GET",
        http_version: (1, 1),
        host: Some("example.com"),
        hosts: 1,
        upgrade: Some("websocket"),
        connection: Some("Upgrade"),
        key: Some(KEY),
        version: Some("13"),
        protocols: None,
        extensions: None,
        origin: None,
    };
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[track_caller]
    fn assert_refused(request: UpgradeRequest<'_>, reason: RejectReason, message: &str) {
        let rejection = request.check().unwrap_err();
        assert_eq!(rejection.reason(), reason);
        assert_eq!(rejection.message(), message);
    }

    #[test]
    fn the_sample_handshake_is_accepted() {
        assert_eq!(GOOD.check(), Ok(KEY));
    }

    #[test]
    fn values_are_taken_in_the_order_of_the_names() {
        let values = REQUEST_HEADERS.map(Some);
        let request = UpgradeRequest::new("GET", "1.1", 1, values);
        assert_eq!((request.method, request.http_version, request.hosts), ("GET", (1, 1), 1));
        assert_eq!((request.host, request.upgrade), (Some("host"), Some("upgrade")));
        assert_eq!(request.connection, Some("connection"));
        assert_eq!(request.key, Some("sec-websocket-key"));
        assert_eq!(request.version, Some("sec-websocket-version"));
        assert_eq!(request.protocols, Some("sec-websocket-protocol"));
        assert_eq!(request.extensions, Some("sec-websocket-extensions"));
        assert_eq!(request.origin, Some("origin"));
    }

    #[test]
    fn a_request_is_read_from_lines_of_which_there_are_as_many_as_are_asked_for() {
        let lines = |headers: &[&str]| format!("GET\n1.1\n{}", headers.join("\n"));
        let head = lines(&["=a", "=", "", "=key=", "", "", "", "=b"]);
        let request = UpgradeRequest::from_lines(&head, 2).unwrap();
        assert_eq!((request.method, request.http_version, request.hosts), ("GET", (1, 1), 2));
        assert_eq!((request.host, request.upgrade), (Some("a"), Some("")));
        assert_eq!((request.connection, request.key), (None, Some("key=")));
        assert_eq!((request.extensions, request.origin), (None, Some("b")));
        for wrong in [
            &[""; 7][..],
            &[""; 9],
            &["=a\n=b", "", "", "", "", "", "", ""],
            &["a", "", "", "", "", "", "", ""],
        ] {
            assert!(UpgradeRequest::from_lines(&lines(wrong), 1).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn an_http_version_that_is_none_is_older_than_all() {
        for version in ["", "1", "one.two", "1.1.1", "999.0"] {
            let request = UpgradeRequest::new("GET", version, 1, REQUEST_HEADERS.map(Some));
            assert_eq!(request.http_version, (0, 0), "{version:?}");
        }
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
        assert_eq!(later.check(), Ok(KEY));
    }

    #[test]
    fn the_upgrade_token_is_found_in_a_list_in_any_case() {
        for value in ["WebSocket", "h2c, WEBSOCKET", "h2c,\twebsocket ,", "websocket, websocket"] {
            let request = UpgradeRequest { upgrade: Some(value), ..GOOD };
            assert_eq!(request.check(), Ok(KEY), "{value:?}");
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
            assert_eq!(request.check(), Ok(KEY), "{value:?}");
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
            assert_eq!(request.check(), Ok(key));
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
    fn there_is_one_host_and_it_is_well_formed() {
        for host in ["example.com", "example.com:8080", "[::1]:80", "localhost:"] {
            let request = UpgradeRequest { host: Some(host), ..GOOD };
            assert_eq!(request.check(), Ok(KEY), "{host:?}");
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
    fn a_message_does_not_echo_control_characters_or_kilobytes() {
        let long = format!("\r\n{}", "x".repeat(10_000));
        let request = UpgradeRequest { upgrade: Some(&long), ..GOOD };
        let rejection = request.check().unwrap_err();
        assert!(rejection.message().len() < 200);
        assert!(!rejection.message().contains('\n'));
    }
}
