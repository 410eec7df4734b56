//! The normal form of a request target, which is what is routed and what is handed on.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::host::{is_host_and_port, is_unreserved_or_sub_delim, starts_with_hex_pair};
use super::reject::{RejectReason, Rejection, quoted};

/// What is encoded in the normal form: all but `pchar` (RFC 3986 §3.3). So decoding can neither
/// split a segment nor make two different segments equal.
const NOT_PCHAR: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The schemes of an absolute-form target that reaches an HTTP server (RFC 9112 §3.2.2).
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// A request target that is not a readable path; the answer is 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathError {
    /// Neither `/path` nor `http://host/path` (RFC 9112 §3.2). Holds the target, shortened and
    /// quoted.
    Form(String),
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8. Holds the target,
    /// shortened and quoted.
    Encoding(String),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Form(target) => write!(
                f,
                "request target {target} is not a path: accepted are \"/path\" and \
                 \"http://host/path\""
            ),
            PathError::Encoding(target) => write!(
                f,
                "request target {target} is malformed: accepted is UTF-8 in percent-encoding"
            ),
        }
    }
}

impl Error for PathError {}

impl From<PathError> for Rejection {
    fn from(error: PathError) -> Self {
        Rejection::new(RejectReason::BadRequest, error.to_string())
    }
}

/// A request target in its normal form.
///
/// The form is `/path` or `/path?query`; of `http://host/path` the path is left, and the fragment,
/// which no client should send, is dropped. In the path, an encoded character that may stand there
/// as it is (`pchar`, RFC 3986 §3.3) is decoded. Everything else is percent-encoded with uppercase
/// digits, encoded slashes and raw bytes among them. The query stays as it is, and so does a slash
/// at the end of the path.
///
/// Characters up to U+00FF stand for the byte of that number, as Node hands them on. What is in
/// normal form already is borrowed. Takes linear time.
///
/// # Errors
/// The target is not a path, or the path is not UTF-8 in percent-encoding.
pub fn normalised(target: &str) -> Result<Cow<'_, str>, PathError> {
    let Target { path, query, start } = Target::read(target)?;
    Ok(match (path, start) {
        // Both are parts of the target, and nothing lies between them.
        (Cow::Borrowed(path), Some(start)) => {
            Cow::Borrowed(&target[start..start + path.len() + query.len()])
        }
        (path, _) => Cow::Owned(path.into_owned() + query),
    })
}

/// A request target, taken apart.
pub(super) struct Target<'a> {
    /// In normal form.
    pub(super) path: Cow<'a, str>,
    /// With the `?` that it starts with, or empty.
    query: &'a str,
    /// Where the path starts in the target; `None` where the target has none.
    start: Option<usize>,
}

impl<'a> Target<'a> {
    pub(super) fn read(target: &'a str) -> Result<Self, PathError> {
        let end = target.find('#').unwrap_or(target.len());
        let path_end = target[..end].find('?').unwrap_or(end);
        let query = &target[path_end..end];
        let malformed_form = || PathError::Form(quoted(target));
        let start = path_start(&target[..path_end]).ok_or_else(malformed_form)?;
        if start == path_end {
            return Ok(Self { path: Cow::Borrowed("/"), query, start: None });
        }
        let path = normal_path(&target[start..path_end])
            .ok_or_else(|| PathError::Encoding(quoted(target)))?;
        Ok(Self { path, query, start: Some(start) })
    }

    /// Whether `new URL()` would read another path: it resolves the segments `.` and `..`, and
    /// takes what follows two slashes at the start for a host.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.path.starts_with("//") || self.path.split('/').any(is_dot_segment)
    }
}

/// Where the path starts in a request target in origin-form or absolute-form (RFC 9112 §3.2) that
/// has no query: its end where the path is empty. `None` for another form.
fn path_start(target: &str) -> Option<usize> {
    if target.starts_with('/') {
        return Some(0);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    // Who the client says it is plays no part here, as anywhere with these schemes.
    let host = authority.split_once('@').map_or(authority, |(_, host)| host);
    is_host_and_port(host).then_some(target.len() - rest.len() + authority.len())
}

/// The normal form of a path, or `None` where its percent-encoding is malformed.
fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    if path.bytes().all(|byte| byte == b'/' || is_pchar(byte)) {
        return Some(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            normal.push('/');
        }
        // Node reads the request line as Latin-1: each character is a byte.
        let bytes: Option<Vec<u8>> =
            segment.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        normal += &normal_segment(&bytes?)?;
    }
    Some(Cow::Owned(normal))
}

fn is_pchar(byte: u8) -> bool {
    is_unreserved_or_sub_delim(byte) || byte == b':' || byte == b'@'
}

/// The normal form of a segment, or `None` where it is malformed. `percent_decode` alone would let
/// a `%` without digits stand for itself.
pub(super) fn normal_segment(segment: &[u8]) -> Option<String> {
    let mut after_signs = segment.split(|byte| *byte == b'%').skip(1);
    if !after_signs.all(starts_with_hex_pair) {
        return None;
    }
    let decoded: Cow<'_, [u8]> = percent_decode(segment).into();
    std::str::from_utf8(&decoded).ok()?;
    Some(percent_encode(&decoded, &NOT_PCHAR).to_string())
}

/// Whether a segment in normal form, where no dot is encoded, is one that readers of URLs resolve.
pub(super) fn is_dot_segment(segment: &str) -> bool {
    segment == "." || segment == ".."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_normal(target: &str, normal: &str) {
        assert_eq!(normalised(target).as_deref(), Ok(normal), "{target:?}");
    }

    #[test]
    fn the_normal_form_is_the_path_and_the_query() {
        for (target, normal) in [
            ("/", "/"),
            ("/?", "/?"),
            ("/#", "/"),
            ("/a/b/?x=%zz\u{e9}\"", "/a/b/?x=%zz\u{e9}\""),
            ("/a?x#y?z", "/a?x"),
            ("/a#x?y", "/a"),
            ("/a//b", "/a//b"),
            ("//a", "//a"),
            ("http://host", "/"),
            ("http://host?q", "/?q"),
            ("http://host?", "/?"),
            ("http://host#f", "/"),
            ("HTTP://host:80/p?q#f", "/p?q"),
            ("wss://user:pw@[::1]:80/p/", "/p/"),
            ("http://h//a", "//a"),
        ] {
            assert_normal(target, normal);
        }
    }

    #[test]
    fn in_the_normal_form_only_what_must_be_is_encoded() {
        for (target, normal) in [
            ("/%61dmin/live", "/admin/live"),
            ("/%7E%2D%2e%5f", "/~-._"),
            ("/%21%24%26%27%28%29%2A%2b%2C%3b%3D%3A%40", "/!$&'()*+,;=:@"),
            ("/a%2fb%25%3f%23%5c%20%00%7f", "/a%2Fb%25%3F%23%5C%20%00%7F"),
            ("/\"<>\\^`{|}[] ", "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D%20"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/caf\u{c3}\u{a9}/", "/caf%C3%A9/"),
            ("/%2561", "/%2561"),
            ("/%2e%2E/a", "/../a"),
        ] {
            assert_normal(target, normal);
        }
    }

    #[test]
    fn a_target_in_normal_form_is_borrowed() {
        for target in ["/", "/ws", "/chat/lobby/?a=%zz", "http://host/ws?x#y", "/a//b", "/:x/*"] {
            assert!(matches!(normalised(target), Ok(Cow::Borrowed(_))), "{target:?}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_has_a_normal_form(
            target in prop_oneof![
                any::<String>(),
                "(http://h)?[/a.%2eEFf\"<>\\\\^`{|}é?#:@ -]{0,20}",
                "/(%[0-9a-fA-F]{2}|[a-c/.]){0,12}",
            ],
        ) {
            let Ok(normal) = normalised(&target) else { return Ok(()) };
            let again = normalised(&normal);
            prop_assert_eq!(again.as_deref(), Ok(&*normal));
            let path = normal.split('?').next().unwrap_or_default();
            prop_assert!(path.starts_with('/'));
            let is_safe = |byte| byte == b'/' || byte == b'%' || is_pchar(byte);
            prop_assert!(path.bytes().all(is_safe), "{:?}", path);
        }
    }
}
