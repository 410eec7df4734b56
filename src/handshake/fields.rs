//! Header fields of the application's in a response of ours: what is let through.
//!
//! The rules are those of Node's own `setHeader`, but what it would throw on is dropped here: a name that
//! is not a token, a value with control characters (CR, LF and NUL among them; a tab may stay) or with
//! characters beyond U+00FF. Values are sent as Latin-1.

use super::request::is_token;

/// Fields that describe the connection, or where the response ends: a second value for one of these could
/// make a proxy and the client disagree about that.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that describe a body, and lie where there is another one, or none.
const OF_BODY: [&str; 4] =
    ["content-encoding", "content-language", "content-range", "content-type"];

/// The prefix of the fields that the handshake itself answers with.
const HANDSHAKE_PREFIX: &[u8] = b"sec-websocket-";

/// Appends a line.
pub(super) fn push(response: &mut Vec<u8>, name: &str, value: &[u8]) {
    response.extend_from_slice(name.as_bytes());
    response.extend_from_slice(b": ");
    response.extend_from_slice(value);
    response.extend_from_slice(b"\r\n");
}

/// Appends a line of the application's, unless a character in it has no place there.
pub(super) fn push_own(response: &mut Vec<u8>, name: &str, value: &str) {
    if let Some(value) = latin1_value(value).filter(|_| is_token(name)) {
        push(response, name, &value);
    }
}

/// Whether the connection and the handshake leave a field to the application.
pub(super) fn is_free(name: &str) -> bool {
    !is_one_of(name, &OF_CONNECTION) && !is_of_handshake(name)
}

/// Whether a field describes a body.
pub(super) fn describes_body(name: &str) -> bool {
    is_one_of(name, &OF_BODY)
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|one| name.eq_ignore_ascii_case(one))
}

fn is_of_handshake(name: &str) -> bool {
    name.as_bytes()
        .get(..HANDSHAKE_PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(HANDSHAKE_PREFIX))
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
