//! Why a request was refused, and the HTTP response that says so.

use std::error::Error;
use std::fmt;

use super::fields;

/// How many characters of a client's value a message repeats. Enough to recognise an origin or a
/// key; a client cannot make us echo, or log, kilobytes.
pub const SHOWN_CHARS: usize = 80;

/// The statuses that end a request, unlike 100 to 199 (RFC 9110 §15).
const FINAL_STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

/// What stands behind a status that the application has chosen without a phrase.
const OWN_PHRASE: &str = "Refused";

/// Why an upgrade request did not become a WebSocket connection.
///
/// The variants are numbered in the order of [`RejectReason::ALL`], so `reason as usize` can index
/// an array of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The method is not GET (RFC 6455 §4.2.1).
    Method,
    /// A header is missing or malformed, or the request target cannot be read (RFC 6455 §4.2.1).
    BadRequest,
    /// The client speaks another version of the protocol than 13 (RFC 6455 §4.4).
    Version,
    /// No route matches the path.
    Path,
    /// The origin is not one of the allowed origins (RFC 6455 §10.2).
    Origin,
    /// As many connections as allowed are open already.
    Limit,
    /// As many connections as allowed are open already from this address.
    Address,
    /// `verifyClient` said no.
    Unauthorized,
    /// `verifyClient` threw, or its promise was rejected.
    VerifyError,
    /// The server is closing.
    ShuttingDown,
    /// The decision took longer than allowed.
    Timeout,
    /// The application ended the request itself.
    Application,
}

impl RejectReason {
    /// Every reason, in declaration order.
    pub const ALL: [RejectReason; 12] = [
        RejectReason::Method,
        RejectReason::BadRequest,
        RejectReason::Version,
        RejectReason::Path,
        RejectReason::Origin,
        RejectReason::Limit,
        RejectReason::Address,
        RejectReason::Unauthorized,
        RejectReason::VerifyError,
        RejectReason::ShuttingDown,
        RejectReason::Timeout,
        RejectReason::Application,
    ];

    /// The key of this reason in the statistics, in camel case.
    pub fn name(self) -> &'static str {
        match self {
            RejectReason::Method => "method",
            RejectReason::BadRequest => "badRequest",
            RejectReason::Version => "version",
            RejectReason::Path => "path",
            RejectReason::Origin => "origin",
            RejectReason::Limit => "limit",
            RejectReason::Address => "address",
            RejectReason::Unauthorized => "unauthorized",
            RejectReason::VerifyError => "verifyError",
            RejectReason::ShuttingDown => "shuttingDown",
            RejectReason::Timeout => "timeout",
            RejectReason::Application => "application",
        }
    }

    /// The HTTP status code that a client is answered (RFC 9110 §15).
    ///
    /// For [`RejectReason::Application`] it is only a default: the application has usually answered
    /// by itself.
    pub fn status(self) -> u16 {
        match self {
            RejectReason::BadRequest => 400,
            RejectReason::Unauthorized => 401,
            RejectReason::Origin | RejectReason::Application => 403,
            RejectReason::Path => 404,
            RejectReason::Method => 405,
            RejectReason::Version => 426,
            RejectReason::Address => 429,
            RejectReason::VerifyError => 500,
            RejectReason::Limit | RejectReason::ShuttingDown | RejectReason::Timeout => 503,
        }
    }

    /// The standard phrase that goes with [`RejectReason::status`].
    fn phrase(self) -> &'static str {
        match self {
            RejectReason::BadRequest => "Bad Request",
            RejectReason::Unauthorized => "Unauthorized",
            RejectReason::Origin | RejectReason::Application => "Forbidden",
            RejectReason::Path => "Not Found",
            RejectReason::Method => "Method Not Allowed",
            RejectReason::Version => "Upgrade Required",
            RejectReason::Address => "Too Many Requests",
            RejectReason::VerifyError => "Internal Server Error",
            RejectReason::Limit | RejectReason::ShuttingDown | RejectReason::Timeout => {
                "Service Unavailable"
            }
        }
    }
}

/// The header fields that belong to a status.
///
/// A 401 must say how to authenticate (RFC 9110 §15.5.2), and a 405 what is allowed (§15.5.6). A
/// 426 must name the protocol in `Upgrade`, which in turn must be an option of `Connection`
/// (§15.5.22 and §7.8), and the version that would be accepted (RFC 6455 §4.4).
fn header_lines(status: u16) -> &'static [(&'static str, &'static str)] {
    match status {
        401 => &[CLOSE, ("WWW-Authenticate", "Bearer realm=\"websocket\"")],
        405 => &[CLOSE, ("Allow", "GET")],
        426 => &[
            ("Connection", "close, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
        ],
        _ => &[CLOSE],
    }
}

const CLOSE: (&str, &str) = ("Connection", "close");

/// Statuses whose responses never have a body (RFC 9110 §6.4.1), nor a length of one.
const WITHOUT_BODY: [u16; 3] = [204, 205, 304];

/// A refusal: the reason, and a message that tells the client what was wrong.
///
/// The message is the body of the response, unless the application has one of its own, and never part of a
/// header, so nothing in it can split
/// the response. It is public: do not put secrets into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    reason: RejectReason,
    message: String,
    status: u16,
    phrase: String,
    /// What few refusals have.
    own: Option<Box<Own>>,
}

/// What the application says of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    headers: Vec<(String, String)>,
    /// The body.
    content: Option<Content>,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What it is (RFC 9110 §8.3), unless a header of the application's says so.
    pub media_type: String,
    /// What is sent.
    pub bytes: Vec<u8>,
}

impl Rejection {
    /// A refusal for `reason`. Pass values that came from the client through [`quoted`].
    pub fn new(reason: RejectReason, message: impl Into<String>) -> Self {
        Rejection {
            reason,
            message: message.into(),
            status: reason.status(),
            phrase: reason.phrase().into(),
            own: None,
        }
    }

    /// The same refusal with what the application says of its own: header fields, in their order, which
    /// replace those of the same name that go with the status, and a body instead of the message. Dropped
    /// are fields that [`accept_response`](super::accept_response) drops, except that those which describe
    /// a body stay where there is one here.
    pub fn with_own(self, headers: Vec<(String, String)>, content: Option<Content>) -> Self {
        Self { own: Some(Box::new(Own { headers, content })), ..self }
    }

    /// The same refusal with another status. `phrase` is used where it is printable ASCII and not
    /// empty, so that it cannot split the response; otherwise it is "Refused".
    ///
    /// `None` where `status` is none that ends a request, which 200 to 599 do.
    pub fn with_status(self, status: u16, phrase: Option<&str>) -> Option<Self> {
        let fits = |phrase: &&str| {
            !phrase.is_empty() && phrase.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let phrase = phrase.filter(fits).unwrap_or(OWN_PHRASE).to_owned();
        FINAL_STATUSES.contains(&status).then_some(Rejection { status, phrase, ..self })
    }

    /// Why the request was refused.
    pub fn reason(&self) -> RejectReason {
        self.reason
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status code that the client is answered.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The complete HTTP/1.1 response to a request by `method`, after which the connection closes
    /// (RFC 9112 §4). For `HEAD` it has the headers only, with the length that a body would have
    /// (RFC 9110 §9.3.2).
    pub fn response(&self, method: &str) -> Vec<u8> {
        let (status, phrase) = (self.status, &self.phrase);
        let has_body = !WITHOUT_BODY.contains(&status);
        let mut response = format!("HTTP/1.1 {status} {phrase}\r\n").into_bytes();
        for (name, value) in header_lines(status) {
            if !fields::is_free(name) || !self.names(name) {
                fields::push(&mut response, name, value.as_bytes());
            }
        }
        let content = self.own.as_ref().and_then(|own| own.content.as_ref()).filter(|_| has_body);
        for (name, value) in self.own_headers() {
            if fields::is_free(name) && (content.is_some() || !fields::describes_body(name)) {
                fields::push_own(&mut response, name, value);
            }
        }
        if has_body {
            let (media_type, body) = match content {
                Some(Content { media_type, bytes }) => (media_type.as_str(), bytes.as_slice()),
                None => ("text/plain; charset=utf-8", self.message.as_bytes()),
            };
            if content.is_none() || !self.names("Content-Type") {
                fields::push_own(&mut response, "Content-Type", media_type);
            }
            fields::push(&mut response, "Content-Length", body.len().to_string().as_bytes());
            response.extend_from_slice(b"\r\n");
            if method != "HEAD" {
                response.extend_from_slice(body);
            }
        } else {
            response.extend_from_slice(b"\r\n");
        }
        response
    }

    /// Whether the application has a header field of this name.
    fn names(&self, name: &str) -> bool {
        self.own_headers().iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    fn own_headers(&self) -> &[(String, String)] {
        self.own.as_ref().map_or(&[], |own| &own.headers)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Rejection {}

/// A client's value in double quotes, fit for a message or a log line.
///
/// Everything that is not printable ASCII becomes `?`, and what exceeds 80 characters becomes
/// `...`.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN_CHARS).map(printable).collect();
    if value.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// A developer's text in double quotes, for an error message: escaped as in JSON, and what exceeds
/// 80 characters becomes `...`. Unlike [`quoted`], it leaves other scripts readable.
pub fn shown(text: &str) -> String {
    let mut shown = String::from('"');
    for character in text.chars().take(SHOWN_CHARS) {
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            '\n' => shown += "\\n",
            '\r' => shown += "\\r",
            '\t' => shown += "\\t",
            '\u{8}' => shown += "\\b",
            '\u{c}' => shown += "\\f",
            control if control < ' ' => shown += &format!("\\u{:04x}", u32::from(control)),
            other => shown.push(other),
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown += "...";
    }
    shown + "\""
}

fn printable(character: char) -> char {
    match character {
        ' '..='~' => character,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_text(reason: RejectReason, message: &str) -> String {
        text_of(&Rejection::new(reason, message), "GET")
    }

    fn text_of(rejection: &Rejection, method: &str) -> String {
        String::from_utf8(rejection.response(method)).unwrap()
    }

    #[test]
    fn every_reason_has_its_name_and_status() {
        let table: Vec<_> =
            RejectReason::ALL.iter().map(|reason| (reason.name(), reason.status())).collect();
        assert_eq!(
            table,
            [
                ("method", 405),
                ("badRequest", 400),
                ("version", 426),
                ("path", 404),
                ("origin", 403),
                ("limit", 503),
                ("address", 429),
                ("unauthorized", 401),
                ("verifyError", 500),
                ("shuttingDown", 503),
                ("timeout", 503),
                ("application", 403),
            ]
        );
    }

    #[test]
    fn a_reason_indexes_its_place_in_all() {
        for (index, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn a_response_is_complete_http() {
        assert_eq!(
            response_text(RejectReason::Origin, "no"),
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nno"
        );
    }

    #[test]
    fn a_405_says_which_method_is_allowed() {
        let response = response_text(RejectReason::Method, "no");
        assert!(response.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(response.contains("\r\nAllow: GET\r\n"));
    }

    #[test]
    fn a_426_says_which_protocol_and_version_are_accepted() {
        let response = response_text(RejectReason::Version, "no");
        assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
        assert!(response.contains("\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n"));
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }

    #[test]
    fn a_401_says_how_to_authenticate() {
        let response = response_text(RejectReason::Unauthorized, "no");
        assert!(response.contains("\r\nWWW-Authenticate: Bearer realm=\"websocket\"\r\n"));
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        for reason in RejectReason::ALL {
            let rejection = Rejection::new(reason, "no");
            let head = text_of(&rejection, "HEAD");
            assert!(head.ends_with("\r\nContent-Length: 2\r\n\r\n"));
            assert_eq!(head + "no", text_of(&rejection, "GET"));
            assert!(text_of(&rejection, "head").ends_with("no"), "methods are case-sensitive");
        }
    }

    #[test]
    fn a_refusal_may_have_a_status_of_the_application() {
        let refused = || Rejection::new(RejectReason::Unauthorized, "no");
        let with = |status, phrase| refused().with_status(status, phrase);
        let head = |status, phrase| {
            let response = text_of(&with(status, phrase).unwrap(), "GET");
            response.split("\r\n").take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(head(403, Some("Forbidden")), ["HTTP/1.1 403 Forbidden", "Connection: close"]);
        assert_eq!(head(599, None), ["HTTP/1.1 599 Refused", "Connection: close"]);
        for phrase in ["", "a\r\nSet-Cookie: x", "gr\u{f6}\u{df}er", "\0", "a\u{7f}"] {
            assert_eq!(head(200, Some(phrase))[0], "HTTP/1.1 200 Refused", "{phrase:?}");
        }
        for status in [0, 100, 101, 199, 600, 1000, u16::MAX] {
            assert_eq!(with(status, Some("OK")), None, "{status}");
        }
        let rejection = with(429, None).unwrap();
        assert_eq!((rejection.reason(), rejection.status()), (RejectReason::Unauthorized, 429));
        assert_eq!(rejection.message(), "no");
    }

    #[test]
    fn a_status_of_the_application_brings_its_headers() {
        for (status, line) in [
            (401, "WWW-Authenticate: Bearer realm=\"websocket\""),
            (405, "Allow: GET"),
            (426, "Sec-WebSocket-Version: 13"),
        ] {
            let rejection = Rejection::new(RejectReason::Application, "no");
            let response = text_of(&rejection.with_status(status, None).unwrap(), "GET");
            assert!(response.contains(&format!("\r\n{line}\r\n")), "{response}");
        }
    }

    fn own(headers: &[(&str, &str)], content: Option<(&str, &[u8])>) -> Rejection {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let content = content.map(|(media_type, bytes)| Content {
            media_type: media_type.into(),
            bytes: bytes.into(),
        });
        Rejection::new(RejectReason::Unauthorized, "no").with_own(headers.collect(), content)
    }

    #[test]
    fn headers_of_the_application_replace_those_of_the_status_and_follow_in_order() {
        let headers =
            [("www-authenticate", "Basic realm=\"x\""), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
        assert_eq!(
            text_of(&own(&headers, None), "GET"),
            "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\
             www-authenticate: Basic realm=\"x\"\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nno"
        );
    }

    #[test]
    fn a_body_of_the_application_may_say_itself_what_it_is() {
        let ends = |rejection: Rejection, end: &str| {
            let response = text_of(&rejection, "GET");
            assert!(response.ends_with(end), "{response}");
            assert_eq!(response.matches("Content-Type").count(), 1);
            assert_eq!(response.matches("Content-Length").count(), 1);
            let head = text_of(&rejection, "HEAD");
            assert!(response.starts_with(&head) && head.ends_with("\r\n\r\n"));
        };
        let json = Some(("application/json", &b"{}"[..]));
        ends(own(&[], json), "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        let zipped = [("Content-Type", "text/html"), ("Content-Encoding", "gzip")];
        ends(
            own(&zipped, json),
            "Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        );
        // Without a body of its own, they would lie.
        let response = text_of(&own(&zipped, None), "GET");
        assert!(
            response.ends_with(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nno"
            )
        );
        assert!(!response.contains("gzip"));
        let none = own(&zipped, json).with_status(204, None).unwrap();
        assert_eq!(text_of(&none, "GET"), "HTTP/1.1 204 Refused\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn the_connection_stays_ours_and_no_header_splits_the_response() {
        let plain = text_of(&Rejection::new(RejectReason::Unauthorized, "no"), "GET");
        for (name, value) in [
            ("Connection", "keep-alive"),
            ("content-length", "100"),
            ("Transfer-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
            ("Upgrade", "h2c"),
            ("Sec-WebSocket-Accept", "x"),
            ("X", "a\r\nSet-Cookie: b"),
            ("X", "a\nb"),
            ("X\r\nY", "a"),
            ("X Y", "a"),
            ("", "a"),
            ("X", "\u{10a}"),
        ] {
            assert_eq!(text_of(&own(&[(name, value)], None), "GET"), plain, "{name:?}: {value:?}");
        }
    }

    #[test]
    fn a_status_without_a_body_has_none() {
        for status in WITHOUT_BODY {
            let rejection = Rejection::new(RejectReason::Unauthorized, "no");
            let response = text_of(&rejection.with_status(status, None).unwrap(), "GET");
            let expected = format!("HTTP/1.1 {status} Refused\r\nConnection: close\r\n\r\n");
            assert_eq!(response, expected);
        }
    }

    #[test]
    fn only_these_statuses_carry_special_headers() {
        for reason in RejectReason::ALL {
            let response = response_text(reason, "no");
            assert_eq!(response.contains("WWW-Authenticate:"), reason.status() == 401);
            assert_eq!(response.contains("Allow:"), reason.status() == 405);
            assert_eq!(response.contains("Sec-WebSocket-Version:"), reason.status() == 426);
        }
    }

    #[test]
    fn the_content_length_counts_bytes() {
        let response = response_text(RejectReason::Limit, "größer");
        assert!(response.contains("\r\nContent-Length: 8\r\n"));
    }

    #[test]
    fn line_ends_in_a_message_stay_in_the_body() {
        let response = response_text(RejectReason::Path, "a\r\nSet-Cookie: x=1\r\n\r\n");
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("Set-Cookie"));
        assert_eq!(body, "a\r\nSet-Cookie: x=1\r\n\r\n");
    }

    #[test]
    fn a_rejection_displays_its_message() {
        let rejection = Rejection::new(RejectReason::Path, "no such path");
        assert_eq!(rejection.to_string(), "no such path");
        assert_eq!(rejection.reason(), RejectReason::Path);
        assert_eq!(rejection.message(), "no such path");
    }

    #[test]
    fn a_developer_s_text_is_escaped_as_in_json_and_short() {
        assert_eq!(shown("café"), "\"café\"");
        assert_eq!(shown("a\"b\\\n\r\t\u{8}\u{c}\0"), r#""a\"b\\\n\r\t\b\f\u0000""#);
        assert_eq!(shown(&"é".repeat(80)), format!("\"{}\"", "é".repeat(80)));
        assert_eq!(shown(&"é".repeat(81)), format!("\"{}...\"", "é".repeat(80)));
    }

    #[test]
    fn a_quoted_value_is_printable_and_short() {
        assert_eq!(quoted("h2c"), "\"h2c\"");
        assert_eq!(quoted("a\r\n\0é\u{202e}b"), "\"a?????b\"");
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}...\"", "?".repeat(80)));
    }
}
