//! Path patterns, and the table that finds the route of a request target.
//!
//! Patterns and request targets are brought to one canonical form first: percent-decoded, except
//! that a `/` or `%` which was encoded stays encoded. In that form two paths are equal exactly
//! where their decoded segments are, and a `/` always separates segments.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use super::reject::{RejectReason, Rejection, quoted};

/// The pattern that matches every path.
const ANY_PATH: &str = "*";

/// What stays encoded in the canonical form, so that decoding can neither split a segment nor make
/// two different segments equal. (Non-ASCII is encoded as well, by `utf8_percent_encode` itself.)
const KEPT_ENCODED: AsciiSet = AsciiSet::EMPTY.add(b'/').add(b'%');

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

/// What is wrong with a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternProblem {
    /// It does not start with `/`; the empty string is such a pattern.
    LeadingSlash,
    /// Two slashes in a row.
    EmptySegment,
    /// It holds a `?` or `#`, and the query never takes part in routing.
    QueryOrFragment,
    /// A `*` stands beside other characters in its segment, or before another segment.
    Star,
    /// A `:` is not followed by a name of letters, digits and `_`, or does not start its segment.
    Param,
    /// A parameter name occurs twice.
    DuplicateParam,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Encoding,
}

impl fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternProblem::LeadingSlash => "a pattern must start with \"/\"",
            PatternProblem::EmptySegment => "a segment between two slashes must not be empty",
            PatternProblem::QueryOrFragment => {
                "\"?\" and \"#\" cannot be matched, because the query takes no part in routing"
            }
            PatternProblem::Star => {
                "\"*\" must be the whole last segment (write %2A for a literal \"*\")"
            }
            PatternProblem::Param => {
                "\":\" must start a segment and be followed by letters, digits or \"_\" only \
                 (write %3A for a literal \":\")"
            }
            PatternProblem::DuplicateParam => "each parameter needs a name of its own",
            PatternProblem::Encoding => {
                "\"%\" must begin the percent-encoding of UTF-8 (write %25 for a literal \"%\")"
            }
        })
    }
}

/// A path pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    problem: PatternProblem,
}

impl PatternError {
    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What is wrong with it.
    pub fn problem(&self) -> PatternProblem {
        self.problem
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid path pattern {:?}: {}. Accepted are exact paths (\"/ws\"), parameters of one \
             segment (\"/chat/:room\"), a last \"*\" for one or more segments (\"/files/*\"), and \
             \"*\" alone for any path",
            self.pattern, self.problem
        )
    }
}

impl Error for PatternError {}

/// One segment of a pattern.
///
/// The variants stand in the order of specificity, and the derived order does the rest: two
/// patterns that both match a path have the same literals wherever both have one, so the first
/// difference between them is one of kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// Exactly this segment, in canonical form.
    Literal(String),
    /// Any one segment. The name is gone: it makes no difference to what matches.
    Param,
    /// All of the rest, at least one segment.
    Rest,
}

/// A parsed pattern, by class of specificity.
enum Shape {
    Exact(String),
    WithParams(Vec<Segment>),
    Wildcard(Vec<Segment>),
    AnyPath,
}

/// Finds the most specific route for a request target.
///
/// A pattern is `*` alone, for any path at all, or starts with `/` and consists of segments:
/// literals, `:name` for exactly one segment, and `*` as the last one for one or more segments.
/// Literals compare after percent-decoding and by case; `%2F` is a slash inside of a segment. One
/// trailing slash is ignored, in patterns and in targets. Dot segments are segments like any other.
///
/// Exact patterns win over those with parameters, which win over those with `*`. Within a class the
/// first segment that differs decides, from the left: literal before parameter before `*`. The
/// order of registration never matters.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// Routes without parameters or `*`, by canonical path without the slashes at its ends.
    exact: HashMap<String, u32>,
    /// Routes with parameters, most specific first.
    with_params: BTreeMap<Vec<Segment>, u32>,
    /// Routes that end in `*`, most specific first.
    wildcards: BTreeMap<Vec<Segment>, u32>,
    /// The route of the bare `*`.
    any_path: Option<u32>,
}

impl RouteTable {
    /// Registers `id` for `pattern`.
    ///
    /// Returns the id that it replaces, where a pattern of the same shape was registered before:
    /// `/a/:x` and `/a/:y/` have one shape.
    ///
    /// # Errors
    /// The pattern is malformed; the table is unchanged.
    pub fn insert(&mut self, pattern: &str, id: u32) -> Result<Option<u32>, PatternError> {
        let shape = parse_pattern(pattern)
            .map_err(|problem| PatternError { pattern: pattern.to_owned(), problem })?;
        Ok(match shape {
            Shape::Exact(key) => self.exact.insert(key, id),
            Shape::WithParams(segments) => self.with_params.insert(segments, id),
            Shape::Wildcard(segments) => self.wildcards.insert(segments, id),
            Shape::AnyPath => self.any_path.replace(id),
        })
    }

    /// The id of the most specific route for a request target, which is `/path?query` or
    /// `http://host/path?query`; query and fragment take no part. `None` means that no route
    /// matches.
    ///
    /// Takes time linear in the target for each route with parameters or `*`.
    ///
    /// # Errors
    /// The target is not a path, or its percent-encoding is malformed; whether any route would
    /// match plays no role.
    pub fn lookup(&self, target: &str) -> Result<Option<u32>, PathError> {
        let path = path_of(target).ok_or_else(|| PathError::Form(quoted(target)))?;
        let path = canonical(path).ok_or_else(|| PathError::Encoding(quoted(target)))?;
        if path.contains("//") {
            return Ok(self.any_path);
        }
        let key = without_end_slashes(&path);
        Ok(self
            .exact
            .get(key)
            .copied()
            .or_else(|| first_match(&self.with_params, key))
            .or_else(|| first_match(&self.wildcards, key))
            .or(self.any_path))
    }
}

fn first_match(routes: &BTreeMap<Vec<Segment>, u32>, key: &str) -> Option<u32> {
    routes.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, id)| *id)
}

fn matches(pattern: &[Segment], key: &str) -> bool {
    let mut segments = segments_of(key);
    for expected in pattern {
        let Some(segment) = segments.next() else {
            return false;
        };
        match expected {
            Segment::Literal(literal) if literal != segment => return false,
            Segment::Literal(_) | Segment::Param => {}
            Segment::Rest => return true,
        }
    }
    segments.next().is_none()
}

/// The segments of a key without empty ones. Only the root, which has no segments, splits into one.
fn segments_of(key: &str) -> impl Iterator<Item = &str> {
    key.split('/').filter(|segment| !segment.is_empty())
}

/// `path` without the slash that it starts with and one that it may end with.
fn without_end_slashes(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path)
}

/// The path of a request target in origin-form or absolute-form (RFC 9112 §3.2), or `None` for
/// another form.
fn path_of(target: &str) -> Option<&str> {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let target = &target[..end];
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !is_web_scheme(scheme) {
        return None;
    }
    match rest.find('/').unwrap_or(rest.len()) {
        // A URI of these schemes without a host is invalid (RFC 9110 §4.2.1).
        0 => None,
        host_end if host_end == rest.len() => Some("/"),
        host_end => Some(&rest[host_end..]),
    }
}

fn is_web_scheme(scheme: &str) -> bool {
    SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// The canonical form of a path, or `None` where its percent-encoding is malformed.
fn canonical(path: &str) -> Option<Cow<'_, str>> {
    if path.is_ascii() && !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut canonical = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            canonical.push('/');
        }
        canonical.extend(utf8_percent_encode(&decoded(segment)?, &KEPT_ENCODED));
    }
    Some(Cow::Owned(canonical))
}

/// The decoded segment, or `None` where it is malformed. `percent_decode_str` alone would let a `%`
/// without digits stand for itself.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let well_formed = segment.split('%').skip(1).all(starts_with_hex_pair);
    well_formed.then(|| percent_decode_str(segment).decode_utf8().ok()).flatten()
}

fn starts_with_hex_pair(text: &str) -> bool {
    text.as_bytes().get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

fn parse_pattern(pattern: &str) -> Result<Shape, PatternProblem> {
    if pattern == ANY_PATH {
        return Ok(Shape::AnyPath);
    }
    if !pattern.starts_with('/') {
        return Err(PatternProblem::LeadingSlash);
    }
    if pattern.contains(['?', '#']) {
        return Err(PatternProblem::QueryOrFragment);
    }
    let segments = parse_segments(pattern)?;
    let last_is_rest = segments.last() == Some(&Segment::Rest);
    Ok(match literals(&segments) {
        Some(literals) => Shape::Exact(literals.join("/")),
        None if last_is_rest => Shape::Wildcard(segments),
        None => Shape::WithParams(segments),
    })
}

/// The literals of a pattern that has nothing else.
fn literals(segments: &[Segment]) -> Option<Vec<&str>> {
    segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.as_str()),
            Segment::Param | Segment::Rest => None,
        })
        .collect()
}

fn parse_segments(pattern: &str) -> Result<Vec<Segment>, PatternProblem> {
    if pattern == "/" {
        return Ok(Vec::new());
    }
    let mut names = HashSet::new();
    let mut segments = Vec::new();
    for text in without_end_slashes(pattern).split('/') {
        if segments.last() == Some(&Segment::Rest) {
            return Err(PatternProblem::Star);
        }
        let segment = parse_segment(text)?;
        if segment == Segment::Param && !names.insert(text) {
            return Err(PatternProblem::DuplicateParam);
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn parse_segment(text: &str) -> Result<Segment, PatternProblem> {
    match text.strip_prefix(':') {
        Some(name) if is_param_name(name) => Ok(Segment::Param),
        Some(_) => Err(PatternProblem::Param),
        None if text.is_empty() => Err(PatternProblem::EmptySegment),
        None if text == "*" => Ok(Segment::Rest),
        None if text.contains('*') => Err(PatternProblem::Star),
        None if text.contains(':') => Err(PatternProblem::Param),
        None => canonical(text)
            .map(|literal| Segment::Literal(literal.into_owned()))
            .ok_or(PatternProblem::Encoding),
    }
}

fn is_param_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    /// A table in which each pattern has its place in `patterns` as id.
    fn table(patterns: &[&str]) -> RouteTable {
        let mut table = RouteTable::default();
        for (pattern, id) in patterns.iter().zip(0..) {
            assert_eq!(table.insert(pattern, id), Ok(None), "{pattern:?}");
        }
        table
    }

    /// The pattern, of several, that wins for a target.
    fn winner<'a>(patterns: &[&'a str], target: &str) -> Option<&'a str> {
        let id = table(patterns).lookup(target).unwrap();
        id.map(|id| patterns[id as usize])
    }

    fn accepts(pattern: &str, target: &str) -> bool {
        winner(&[pattern], target).is_some()
    }

    #[track_caller]
    fn assert_problem(pattern: &str, problem: PatternProblem) {
        let mut table = RouteTable::default();
        let error = table.insert(pattern, 0).unwrap_err();
        assert_eq!(error.problem(), problem, "{pattern:?}");
        assert_eq!(error.pattern(), pattern);
    }

    #[test]
    fn an_exact_pattern_matches_its_path_only() {
        assert!(accepts("/ws", "/ws"));
        for target in ["/", "/w", "/wss", "/WS", "/ws/a", "/a/ws", "//ws", "/ws//"] {
            assert!(!accepts("/ws", target), "{target:?}");
        }
    }

    #[test]
    fn the_root_has_no_segments() {
        assert!(accepts("/", "/"));
        assert!(accepts("/", "/?a=1"));
        for target in ["//", "/a", "/%2F"] {
            assert!(!accepts("/", target), "{target:?}");
        }
        assert!(!accepts("/:x", "/"));
        assert!(!accepts("/*", "/"));
    }

    #[test]
    fn one_trailing_slash_is_ignored() {
        for (pattern, target) in [
            ("/ws/", "/ws"),
            ("/ws", "/ws/"),
            ("/ws/", "/ws/"),
            ("/a/:x/", "/a/b"),
            ("/a/:x", "/a/b/"),
            ("/a/*/", "/a/b"),
            ("/a/*", "/a/b/c/"),
        ] {
            assert!(accepts(pattern, target), "{pattern:?} {target:?}");
        }
        assert!(!accepts("/a/*", "/a/"));
        assert!(!accepts("/a/:x", "/a/"));
    }

    #[test]
    fn a_param_is_exactly_one_segment() {
        assert!(accepts("/chat/:room", "/chat/lobby"));
        assert!(accepts("/chat/:room/log", "/chat/lobby/log"));
        assert!(accepts("/:_9aZ", "/x"));
        for target in ["/chat", "/chat//", "/chat/a/b", "/chat//a"] {
            assert!(!accepts("/chat/:room", target), "{target:?}");
        }
    }

    #[test]
    fn a_star_is_one_or_more_segments() {
        assert!(accepts("/api/ws/*", "/api/ws/chat"));
        assert!(accepts("/rooms/*", "/rooms/game1/a/b"));
        assert!(accepts("/:tenant/*", "/acme/a/b"));
        assert!(accepts("/*", "/a"));
        for target in ["/rooms", "/rooms/", "/rooms//", "/rooms//a", "/rooms/a//b", "/roomsx/a"] {
            assert!(!accepts("/rooms/*", target), "{target:?}");
        }
    }

    #[test]
    fn the_bare_star_matches_any_path() {
        for target in ["/", "//", "/a", "/a//b", "/a/b/", "http://h"] {
            assert!(accepts("*", target), "{target:?}");
        }
    }

    #[test]
    fn query_and_fragment_take_no_part() {
        for target in ["/ws?", "/ws?a=/b/%zz", "/ws#top", "/ws/?token=x#y", "/ws#?"] {
            assert!(accepts("/ws", target), "{target:?}");
        }
    }

    #[test]
    fn an_absolute_form_target_is_its_path() {
        for target in
            ["http://host/ws", "HTTPS://host:1/ws/", "ws://user@[::1]:80/ws?x", "wss://h/ws#x"]
        {
            assert!(accepts("/ws", target), "{target:?}");
        }
        for target in ["http://host", "http://host/", "http://host?x=/ws", "http://host#/ws"] {
            assert!(accepts("/", target), "{target:?}");
        }
    }

    #[test]
    fn a_target_of_another_form_is_an_error() {
        let table = table(&["*"]);
        for target in [
            "",
            "*",
            "ws",
            "host:443",
            "?x",
            "http:/ws",
            "http:///ws",
            "http://",
            "://h/ws",
            "ftp://h/ws",
            "\\ws",
        ] {
            let error = table.lookup(target).unwrap_err();
            assert_eq!(error, PathError::Form(quoted(target)), "{target:?}");
        }
    }

    #[test]
    fn malformed_percent_encoding_is_an_error_even_where_nothing_would_match() {
        for target in [
            "/%",
            "/%4",
            "/%zz",
            "/a%4/b",
            "/%4é",
            "/%+1",
            "/%ff",
            "/%C3",
            "/%C3/%A9",
            "/%ED%A0%80",
            "//%",
        ] {
            for table in [table(&[]), table(&["/ws"]), table(&["*"])] {
                let error = table.lookup(target).unwrap_err();
                assert_eq!(error, PathError::Encoding(quoted(target)), "{target:?}");
            }
        }
    }

    #[test]
    fn a_path_error_is_answered_as_a_bad_request() {
        let rejection = Rejection::from(table(&[]).lookup("/%").unwrap_err());
        assert_eq!(rejection.reason(), RejectReason::BadRequest);
        assert_eq!(
            rejection.message(),
            "request target \"/%\" is malformed: accepted is UTF-8 in percent-encoding"
        );
    }

    #[test]
    fn literals_compare_after_percent_decoding() {
        for (pattern, target) in [
            ("/chat", "/%63h%61t"),
            ("/%63hat", "/chat"),
            ("/café", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a b", "/a%20b"),
            ("/%2A", "/*"),
            ("/%3Aid", "/:id"),
            ("/a%00b", "/a%00b"),
            ("/café/:x", "/caf%C3%A9/y"),
            ("/100%25/*", "/100%25/y"),
            ("/q%3F", "/q%3f"),
        ] {
            assert!(accepts(pattern, target), "{pattern:?} {target:?}");
        }
        assert!(!accepts("/chat", "/%43hat"));
        assert!(!accepts("/a%2525", "/a%25"));
    }

    #[test]
    fn an_encoded_slash_never_splits_a_segment() {
        assert!(accepts("/a%2Fb", "/a%2fb"));
        assert!(!accepts("/a/b", "/a%2Fb"));
        assert!(!accepts("/a%2Fb", "/a/b"));
        assert!(!accepts("/a%2Fb", "/a%252Fb"));
        assert!(accepts("/:x", "/a%2Fb"));
        assert!(!accepts("/:x/:y", "/a%2Fb"));
        assert!(!accepts("/a", "/a%2F"));
    }

    #[test]
    fn dot_segments_are_not_resolved() {
        assert!(!accepts("/ws", "/a/../ws"));
        assert!(!accepts("/ws", "/./ws"));
        assert!(accepts("/:x/ws", "/%2e%2E/ws"));
        assert!(accepts("/../ws", "/%2e%2E/ws"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["", "ws", "*/a", "**", ":x", " /ws", "http://h/ws"] {
            assert_problem(pattern, PatternProblem::LeadingSlash);
        }
        for pattern in ["//", "/a//b", "//a", "/a//", "/:x//*"] {
            assert_problem(pattern, PatternProblem::EmptySegment);
        }
        for pattern in ["/a?", "/a?b=c", "/a#b", "/:x?"] {
            assert_problem(pattern, PatternProblem::QueryOrFragment);
        }
        for pattern in ["/a*", "/*a", "/**", "/*/a", "/*/*", "/a/*/:x", "/a*/b"] {
            assert_problem(pattern, PatternProblem::Star);
        }
        for pattern in ["/:", "/:/a", "/:a-b", "/:a.b", "/:é", "/::a", "/:a*", "/a:b", "/:id(\\d+)"]
        {
            assert_problem(pattern, PatternProblem::Param);
        }
        for pattern in ["/:x/:x", "/:x/a/:y/:x/*"] {
            assert_problem(pattern, PatternProblem::DuplicateParam);
        }
        for pattern in ["/%", "/a%2", "/%zz/*", "/%ff"] {
            assert_problem(pattern, PatternProblem::Encoding);
        }
    }

    #[test]
    fn a_pattern_error_names_the_pattern_and_what_is_accepted() {
        let error = RouteTable::default().insert("/a*", 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid path pattern \"/a*\": \"*\" must be the whole last segment (write %2A for a \
             literal \"*\"). Accepted are exact paths (\"/ws\"), parameters of one segment \
             (\"/chat/:room\"), a last \"*\" for one or more segments (\"/files/*\"), and \"*\" \
             alone for any path"
        );
    }

    #[test]
    fn a_pattern_of_the_same_shape_replaces() {
        for (first, second) in
            [("/", "/"), ("/a", "/%61/"), ("/a/:x", "/a/:y"), ("/a/:x/*", "/a/:y/*/"), ("*", "*")]
        {
            let mut table = RouteTable::default();
            assert_eq!(table.insert(first, 1), Ok(None));
            assert_eq!(table.insert(second, 2), Ok(Some(1)), "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_refused_pattern_leaves_the_table_alone() {
        let mut table = table(&["/a"]);
        assert!(table.insert("/a//", 7).is_err());
        assert_eq!(table.lookup("/a"), Ok(Some(0)));
    }

    #[test]
    fn the_more_specific_pattern_wins() {
        for (loser, winner_of_two, target) in [
            ("/a/:x", "/a/b", "/a/b"),
            ("/a/*", "/a/b", "/a/b"),
            ("*", "/a", "/a"),
            ("*", "/", "/"),
            ("*", "/*", "/a"),
            ("/a/*", "/a/:x", "/a/b"),
            ("/a/*", "/:x/:y", "/a/b"),
            ("/:x/b", "/a/:y", "/a/b"),
            ("/:x/:y/c", "/:x/b/:z", "/a/b/c"),
            ("/a/*", "/a/b/*", "/a/b/c"),
            ("/a/*", "/a/:x/*", "/a/b/c"),
            ("/a/:x/*", "/a/b/*", "/a/b/c"),
            ("/:x/b/*", "/a/*", "/a/b/c"),
        ] {
            for patterns in [[loser, winner_of_two], [winner_of_two, loser]] {
                assert_eq!(winner(&patterns, target), Some(winner_of_two), "{patterns:?}");
            }
        }
    }

    #[test]
    fn a_less_specific_pattern_takes_what_is_left() {
        let patterns = ["/a/b", "/a/:x", "/a/*", "*"];
        assert_eq!(winner(&patterns, "/a/b"), Some("/a/b"));
        assert_eq!(winner(&patterns, "/a/c"), Some("/a/:x"));
        assert_eq!(winner(&patterns, "/a/b/c"), Some("/a/*"));
        assert_eq!(winner(&patterns, "/a"), Some("*"));
    }

    #[test]
    fn an_empty_table_matches_nothing() {
        assert_eq!(RouteTable::default().lookup("/"), Ok(None));
    }

    /// What the documentation of [`RouteTable`] says, written down without regard to speed.
    fn expected_winner<'a>(patterns: &[&'a str], target: &str) -> Option<&'a str> {
        let pieces: Vec<&str> = segments_of(target).collect();
        let fits = |pattern: &&&str| {
            let parts: Vec<&str> = segments_of(pattern).collect();
            let open = parts.last() == Some(&"*");
            let enough =
                if open { pieces.len() >= parts.len() } else { pieces.len() == parts.len() };
            enough
                && parts
                    .iter()
                    .zip(&pieces)
                    .all(|(part, piece)| part == piece || part.starts_with(':') || *part == "*")
        };
        let specificity = |pattern: &&&str| {
            let kinds: Vec<u8> = segments_of(pattern)
                .map(|part| match part.as_bytes()[0] {
                    b'*' => 2,
                    b':' => 1,
                    _ => 0,
                })
                .collect();
            Reverse((kinds.iter().max().copied(), kinds))
        };
        patterns.iter().filter(fits).max_by_key(specificity).copied()
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        let segment = prop_oneof![Just("a"), Just("b"), Just(":p")];
        (prop::collection::vec(segment, 1..4), any::<bool>()).prop_map(|(segments, open)| {
            let mut pattern = String::new();
            for (position, segment) in segments.iter().enumerate() {
                pattern += &match *segment {
                    ":p" => format!("/:p{position}"),
                    literal => format!("/{literal}"),
                };
            }
            if open { pattern + "/*" } else { pattern }
        })
    }

    proptest! {
        #[test]
        fn lookup_never_panics(target in any::<String>(), path in "/[a-c/%2fF?#.]{0,20}") {
            let table = table(&["/", "/a", "/a/:x", "/:x/b", "/a/*", "/:x/*", "*"]);
            let _ = table.lookup(&target);
            let _ = table.lookup(&path);
        }

        #[test]
        fn insert_never_panics(pattern in any::<String>(), path in "/[a-c/%2f:*?#.]{0,20}") {
            let mut table = RouteTable::default();
            let _ = table.insert(&pattern, 0);
            let _ = table.insert(&path, 1);
        }

        #[test]
        fn the_order_of_registration_does_not_matter(
            patterns in prop::collection::btree_set(any_pattern(), 1..8)
                .prop_map(Vec::from_iter)
                .prop_shuffle(),
            target in "(/[abc]){1,5}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            prop_assert_eq!(winner(&patterns, &target), expected_winner(&patterns, &target));
        }
    }
}
