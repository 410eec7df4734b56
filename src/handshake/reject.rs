//! Why a request was refused, and the HTTP response that says so.

use std::error::Error;
use std::fmt;

/// How many characters of a client's value a message repeats. Enough to recognise an origin or a
/// key; a client cannot make us echo, or log, kilobytes.
const SHOWN_CHARS: usize = 80;

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
    pub const ALL: [RejectReason; 11] = [
        RejectReason::Method,
        RejectReason::BadRequest,
        RejectReason::Version,
        RejectReason::Path,
        RejectReason::Origin,
        RejectReason::Limit,
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
            RejectReason::VerifyError => "Internal Server Error",
            RejectReason::Limit | RejectReason::ShuttingDown | RejectReason::Timeout => {
                "Service Unavailable"
            }
        }
    }

    /// The header lines that belong to the status, each with its line end.
    ///
    /// A 405 must say what is allowed (RFC 9110 §15.5.6). A 426 must name the protocol in
    /// `Upgrade`, which in turn must be an option of `Connection` (RFC 9110 §15.5.22 and §7.8), and
    /// the version that would be accepted (RFC 6455 §4.4).
    fn headers(self) -> &'static str {
        match self {
            RejectReason::Method => "Connection: close\r\nAllow: GET\r\n",
            RejectReason::Version => {
                "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            }
            _ => "Connection: close\r\n",
        }
    }
}

/// A refusal: the reason, and a message that tells the client what was wrong.
///
/// The message is the body of the response and never part of a header, so nothing in it can split
/// the response. It is public: do not put secrets into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    reason: RejectReason,
    message: String,
}

impl Rejection {
    /// A refusal for `reason`. Pass values that came from the client through [`quoted`].
    pub fn new(reason: RejectReason, message: impl Into<String>) -> Self {
        Rejection { reason, message: message.into() }
    }

    /// Why the request was refused.
    pub fn reason(&self) -> RejectReason {
        self.reason
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The complete HTTP/1.1 response, after which the connection closes (RFC 9112 §4).
    pub fn response(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 {} {}\r\n{}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{}",
            self.reason.status(),
            self.reason.phrase(),
            self.reason.headers(),
            self.message.len(),
            self.message,
        )
        .into_bytes()
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
        String::from_utf8(Rejection::new(reason, message).response()).unwrap()
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
    fn only_a_426_and_a_405_carry_their_special_headers() {
        for reason in RejectReason::ALL {
            let response = response_text(reason, "no");
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
    fn a_quoted_value_is_printable_and_short() {
        assert_eq!(quoted("h2c"), "\"h2c\"");
        assert_eq!(quoted("a\r\n\0é\u{202e}b"), "\"a?????b\"");
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}...\"", "?".repeat(80)));
    }
}
