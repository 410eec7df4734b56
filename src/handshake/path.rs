//! Path patterns, and the table that finds the route of a request target.
//!
//! Targets are matched in their [normal form](super::target), and the literals of patterns have the
//! same form.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::reject::shown;
use super::target::{PathError, Target, is_dot_segment, normal_segment};

/// The pattern that matches every path.
const ANY_PATH: &str = "*";

/// ASCII characters that no path has as they are, and that other routers give a meaning.
const FOREIGN: [char; 11] = ['{', '}', '<', '>', '[', ']', '|', '\\', '^', '"', '`'];

/// What is wrong with a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternProblem {
    /// It does not start with `/`; the empty string is such a pattern.
    LeadingSlash,
    /// Two slashes in a row.
    EmptySegment,
    /// A segment is `.` or `..`, which matches nothing: readers of URLs resolve such segments.
    DotSegment,
    /// It holds a `?` or `#`, and the query never takes part in routing.
    QueryOrFragment,
    /// A `*` stands beside other characters in its segment, or before another segment.
    Star,
    /// A `:` is not followed by a name of letters, digits and `_`, or does not start its segment.
    Param,
    /// A parameter name occurs twice.
    DuplicateParam,
    /// A character that no path has as it is, such as the braces of `/chat/{room}`.
    Foreign(char),
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Encoding,
}

impl fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternProblem::LeadingSlash => "a pattern must start with \"/\"",
            PatternProblem::EmptySegment => "a segment between two slashes must not be empty",
            PatternProblem::DotSegment => {
                "\".\" and \"..\" as segments match nothing, because readers of URLs resolve them"
            }
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
            PatternProblem::Foreign('|') => {
                "alternatives need a pattern each (write %7C for a literal \"|\")"
            }
            PatternProblem::Foreign(character) => {
                return write!(
                    f,
                    "\"{character}\" has no meaning here (write %{:02X} for a literal \
                     \"{character}\")",
                    u32::from(*character)
                );
            }
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

    /// The pattern that was probably meant, where this one is written as for another router.
    pub fn suggestion(&self) -> Option<String> {
        match self.problem {
            PatternProblem::Foreign(_) | PatternProblem::Param | PatternProblem::Star => {
                translated(&self.pattern)
            }
            _ => None,
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid path pattern {}: {}", shown(&self.pattern), self.problem)?;
        if let Some(suggestion) = self.suggestion() {
            write!(f, "; write {}", shown(&suggestion))?;
        }
        f.write_str(
            ". Accepted are exact paths (\"/ws\"), parameters of one segment (\"/chat/:room\"), a \
             last \"*\" for one or more segments (\"/files/*\"), and \"*\" alone for any path",
        )
    }
}

impl Error for PatternError {}

/// Why a route was not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// The pattern cannot be used.
    Pattern(PatternError),
    /// The table has a pattern of this shape: `/a/:x` and `/a/:y/` have one shape.
    Taken {
        /// The pattern that was to be registered.
        pattern: String,
        /// The one that the table has.
        earlier: String,
    },
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::Pattern(error) => error.fmt(f),
            RouteError::Taken { pattern, earlier } => write!(
                f,
                "{} has the same shape as the earlier route {}: one path has one handler",
                shown(pattern),
                shown(earlier)
            ),
        }
    }
}

impl Error for RouteError {}

/// One segment of a pattern.
///
/// The variants stand in the order of specificity, and the derived order does the rest: two
/// patterns that both match a path have the same literals wherever both have one, so the first
/// difference between them is one of kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// Exactly this segment, in normal form.
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

impl Shape {
    /// A text for the specificity: see [`RouteTable::rank`].
    fn rank(&self) -> String {
        let (class, segments): (_, &[Segment]) = match self {
            // All that match a path are equal.
            Shape::Exact(_) => ('0', &[]),
            Shape::WithParams(segments) => ('1', segments),
            Shape::Wildcard(segments) => ('2', segments),
            Shape::AnyPath => ('3', &[]),
        };
        let kinds = segments.iter().map(|segment| match segment {
            Segment::Literal(_) => '0',
            Segment::Param => '1',
            Segment::Rest => '2',
        });
        std::iter::once(class).chain(kinds).collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Exact(key) => write!(f, "/{}", shown_literal(key)),
            Shape::WithParams(segments) | Shape::Wildcard(segments) => {
                segments.iter().try_for_each(|segment| match segment {
                    Segment::Literal(literal) => write!(f, "/{}", shown_literal(literal)),
                    Segment::Param => f.write_str("/:"),
                    Segment::Rest => f.write_str("/*"),
                })
            }
            Shape::AnyPath => f.write_str(ANY_PATH),
        }
    }
}

/// A literal that cannot be taken for a parameter or a `*`.
fn shown_literal(literal: &str) -> String {
    literal.replace(':', "%3A").replace('*', "%2A")
}

/// The shape of a pattern as a text, which is the same for all patterns that match the same paths:
/// `/chat/:` for `/chat/:room/`.
///
/// # Errors
/// The pattern is malformed.
pub fn shape_of(pattern: &str) -> Result<String, PatternError> {
    parse_pattern(pattern)
        .map(|shape| shape.to_string())
        .map_err(|problem| PatternError { pattern: pattern.to_owned(), problem })
}

/// Finds the most specific route for a request target.
///
/// A pattern is `*` alone, for any path at all, or starts with `/` and consists of segments:
/// literals, `:name` for exactly one segment, and `*` as the last one for one or more segments.
/// Literals compare in [normal form](super::normalised) and by case; `%2F` is a slash inside of a segment.
/// One trailing slash is ignored, in patterns and in targets.
///
/// Two kinds of paths match no pattern, not even `*`: those with a segment `.` or `..`, and those
/// that start with `//`. `new URL()` would resolve the segments, and take what follows the two
/// slashes for a host, so whoever reads a path in that way would see another than the table.
///
/// Exact patterns win over those with parameters, which win over those with `*`. Within a class the
/// first segment that differs decides, from the left: literal before parameter before `*`. The
/// order of registration never matters.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// Routes without parameters or `*`, by normal path without the slashes at its ends.
    exact: HashMap<String, Route>,
    /// Routes with parameters, most specific first.
    with_params: BTreeMap<Vec<Segment>, Route>,
    /// Routes that end in `*`, most specific first.
    wildcards: BTreeMap<Vec<Segment>, Route>,
    /// The route of the bare `*`.
    any_path: Option<Route>,
}

#[derive(Debug, Clone)]
struct Route {
    id: u32,
    /// The pattern as it was given.
    pattern: String,
    rank: String,
    shape: String,
}

impl RouteTable {
    /// Registers `id` for `pattern`.
    ///
    /// # Errors
    /// The pattern is malformed, or one of the same shape is registered; the table is unchanged.
    pub fn insert(&mut self, pattern: &str, id: u32) -> Result<(), RouteError> {
        let shape = parse_pattern(pattern).map_err(|problem| {
            RouteError::Pattern(PatternError { pattern: pattern.to_owned(), problem })
        })?;
        let earlier = match &shape {
            Shape::Exact(key) => self.exact.get(key),
            Shape::WithParams(segments) => self.with_params.get(segments),
            Shape::Wildcard(segments) => self.wildcards.get(segments),
            Shape::AnyPath => self.any_path.as_ref(),
        };
        if let Some(Route { pattern: earlier, .. }) = earlier {
            return Err(RouteError::Taken {
                pattern: pattern.to_owned(),
                earlier: earlier.clone(),
            });
        }
        let route =
            Route { id, pattern: pattern.to_owned(), rank: shape.rank(), shape: shape.to_string() };
        match shape {
            Shape::Exact(key) => drop(self.exact.insert(key, route)),
            Shape::WithParams(segments) => drop(self.with_params.insert(segments, route)),
            Shape::Wildcard(segments) => drop(self.wildcards.insert(segments, route)),
            Shape::AnyPath => self.any_path = Some(route),
        }
        Ok(())
    }

    /// How many routes there are.
    pub fn count(&self) -> usize {
        self.routes().count()
    }

    /// The [shapes](shape_of) of all routes.
    pub fn shapes(&self) -> impl Iterator<Item = &str> {
        self.routes().map(|route| route.shape.as_str())
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.exact
            .values()
            .chain(self.with_params.values())
            .chain(self.wildcards.values())
            .chain(&self.any_path)
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
        Ok(self.find(target)?.map(|route| route.id))
    }

    /// How specific the route is that [`Self::lookup`] finds: a text that sorts before the rank of
    /// every less specific pattern for this target, also one of another table.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn rank(&self, target: &str) -> Result<Option<&str>, PathError> {
        Ok(self.find(target)?.map(|route| route.rank.as_str()))
    }

    /// What route `id` names in a request target: the segment for each `:name`, and for a `*` the rest,
    /// by `*`, all decoded. Empty where the table has no such route, or another target than one of it.
    pub fn params(&self, id: u32, target: &str) -> Vec<(String, String)> {
        let route = self.routes().find(|route| route.id == id);
        match (route, Target::read(target)) {
            (Some(route), Ok(target)) => params_of(&route.pattern, &target.path),
            _ => Vec::new(),
        }
    }

    fn find(&self, target: &str) -> Result<Option<&Route>, PathError> {
        let target = Target::read(target)?;
        if target.is_ambiguous() {
            return Ok(None);
        }
        let path = target.path;
        if path.contains("//") {
            return Ok(self.any_path.as_ref());
        }
        let key = without_end_slashes(&path);
        Ok(self
            .exact
            .get(key)
            .or_else(|| first_match(&self.with_params, key))
            .or_else(|| first_match(&self.wildcards, key))
            .or(self.any_path.as_ref()))
    }
}

/// As [`RouteTable::params`]; `path` is in normal form.
fn params_of(pattern: &str, path: &str) -> Vec<(String, String)> {
    let mut rest = without_end_slashes(path);
    let mut params = Vec::new();
    for segment in without_end_slashes(pattern).split('/') {
        if segment == "*" {
            params.push((segment.to_owned(), decoded(rest)));
            break;
        }
        let (value, behind) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(name) = segment.strip_prefix(':') {
            params.push((name.to_owned(), decoded(value)));
        }
        rest = behind;
    }
    params
}

/// A part of a path in normal form, which is UTF-8.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn first_match<'a>(routes: &'a BTreeMap<Vec<Segment>, Route>, key: &str) -> Option<&'a Route> {
    routes.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, route)| route)
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

fn parse_pattern(pattern: &str) -> Result<Shape, PatternProblem> {
    if pattern == ANY_PATH {
        return Ok(Shape::AnyPath);
    }
    if !pattern.starts_with('/') {
        return Err(PatternProblem::LeadingSlash);
    }
    if let Some(foreign) = foreign_in(pattern) {
        return Err(PatternProblem::Foreign(foreign));
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

/// A character that a pattern cannot have outside of its parameters, and there the name says more.
fn foreign_in(pattern: &str) -> Option<char> {
    let segments = pattern.split('/').filter(|segment| !segment.starts_with(':'));
    let mut foreign = segments.flat_map(|segment| segment.matches(FOREIGN));
    // Of `{a|b}` and `^(a|b)$` the choice is the point.
    if pattern.contains('|') { Some('|') } else { foreign.next()?.chars().next() }
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
        None => match normal_segment(text.as_bytes()) {
            None => Err(PatternProblem::Encoding),
            Some(literal) if is_dot_segment(&literal) => Err(PatternProblem::DotSegment),
            Some(literal) => Ok(Segment::Literal(literal)),
        },
    }
}

fn is_param_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A pattern of another router as one of this table, or `None` where that cannot be told.
fn translated(pattern: &str) -> Option<String> {
    let segments = without_end_slashes(pattern).split('/');
    let segments: Vec<String> = segments.map(translated_segment).collect();
    let translation = format!("/{}", segments.join("/"));
    parse_pattern(&translation).is_ok().then_some(translation)
}

/// `{room}`, `<room>`, `[room]` and `:room(\d+)` are parameters, with a type or without:
/// `<int:room>`, `{room:[0-9]+}`. With `*` or `...`, or of the type `path`, they are the rest.
fn translated_segment(segment: &str) -> String {
    const REST: &str = "*";
    if matches!(segment, "**" | "(.*)") {
        return REST.to_owned();
    }
    let inner = [("{", "}"), ("<", ">"), ("[", "]"), (":", ")"), (":", ">"), (":", "*"), ("*", "")]
        .iter()
        .find_map(|(open, close)| segment.strip_prefix(*open)?.strip_suffix(*close));
    let Some(inner) = inner else { return segment.to_owned() };
    let is_param = segment.starts_with(':');
    let is_rest = inner.contains("...") || inner.starts_with('*') || inner.ends_with('*');
    if segment.starts_with('*') || (is_rest && !is_param) || (is_param && segment.ends_with('*')) {
        return REST.to_owned();
    }
    let name = match inner.split_once(':') {
        // Flask writes the type first, the others last.
        Some(("path", _)) if segment.starts_with('<') => return REST.to_owned(),
        Some((_, name)) if segment.starts_with('<') => name,
        Some((name, _)) => name,
        None => inner.split(['(', '<', '?']).next().unwrap_or(inner),
    };
    if is_param_name(name) { format!(":{name}") } else { segment.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::super::reject::{RejectReason, Rejection, quoted};
    use super::super::target::normalised;
    use super::*;

    /// A table in which each pattern has its place in `patterns` as id.
    fn table(patterns: &[&str]) -> RouteTable {
        let mut table = RouteTable::default();
        for (pattern, id) in patterns.iter().zip(0..) {
            assert_eq!(table.insert(pattern, id), Ok(()), "{pattern:?}");
        }
        table
    }

    #[test]
    fn what_a_route_names_is_decoded() {
        type Params<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(&str, &str, Params<'_>)] = &[
            ("/chat/:room", "/chat/blue?x=:room", &[("room", "blue")]),
            ("/chat/:room/", "/chat/a%2Fb%20%C3%A9/", &[("room", "a/b é")]),
            ("/a/:b/c/:d", "/a/%62/c/:d", &[("b", "b"), ("d", ":d")]),
            ("/:a/files/*", "/x/files/one/two%2Fthree", &[("a", "x"), ("*", "one/two/three")]),
            ("*", "/any//thing", &[("*", "any//thing")]),
            ("*", "/", &[("*", "")]),
            ("/", "/", &[]),
            ("/plain", "/plain", &[]),
        ];
        for (pattern, target, expected) in cases {
            let params = table(&[pattern]).params(0, target);
            let params: Vec<_> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(params, *expected, "{pattern:?} {target:?}");
        }
        assert!(table(&["/:a"]).params(1, "/a").is_empty());
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
        match table.insert(pattern, 0) {
            Err(RouteError::Pattern(error)) => {
                assert_eq!(error.problem(), problem, "{pattern:?}");
                assert_eq!(error.pattern(), pattern);
            }
            other => panic!("{pattern:?}: {other:?}"),
        }
        assert_eq!(table.count(), 0);
        assert!(shape_of(pattern).is_err());
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
        for target in ["/", "/a", "/a//b", "/a//", "/a/b/", "http://h", "/%2F", "/..a", "/..."] {
            assert!(accepts("*", target), "{target:?}");
        }
    }

    #[test]
    fn nothing_matches_a_path_that_starts_with_two_slashes() {
        for target in ["//", "//a", "//a/b", "///a", "http://h//a", "//%61"] {
            for pattern in ["*", "/*", "/:x", "/:x/:y", "/a"] {
                assert!(!accepts(pattern, target), "{pattern:?} {target:?}");
            }
        }
    }

    #[test]
    fn nothing_matches_a_path_with_a_dot_segment() {
        for segment in [".", "..", "%2e", "%2E%2e", ".%2E", "%2e."] {
            for target in [
                format!("/{segment}"),
                format!("/{segment}/"),
                format!("/a/{segment}"),
                format!("/{segment}/b"),
                format!("/a/{segment}/b"),
                format!("/a//{segment}"),
                format!("http://h/{segment}/ws?x"),
            ] {
                for pattern in ["*", "/*", "/:x", "/:x/:y", "/:x/:y/:z", "/b"] {
                    assert!(!accepts(pattern, &target), "{pattern:?} {target:?}");
                }
            }
        }
        for target in ["/a?/../b", "/a#/..", "/...", "/.a", "/a.", "/..%2F"] {
            assert!(accepts("/:x", target), "{target:?}");
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
        for target in [
            "http://host",
            "http://host/",
            "http://host?x=/ws",
            "http://host#/ws",
            "http://[::1]",
            "http://host:?x",
        ] {
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
            "http://h\\ws",
            "http://a b/ws",
            "http://user@/ws",
            "http://a@b@c/ws",
            "http://::1/ws",
            "http://h:x/ws",
            "http://?/ws",
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
            "/\u{e9}",
            "/\u{c3}/\u{a9}",
            "/\u{c3}%",
            "/\u{100}",
            "/\u{20ac}?x",
            "http://h/%",
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
        for (pattern, target) in [
            ("/café", "/caf\u{c3}\u{a9}"),
            ("/café", "/caf%C3\u{a9}"),
            ("/:x", "/caf\u{c3}\u{a9}"),
            ("/@me", "/@me"),
            ("/@me", "/%40me"),
            ("/a%7Bb", "/a{b"),
            ("/a%5Cb", "/a\\b"),
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
    fn a_target_of_a_megabyte_is_read_in_linear_time() {
        for piece in ["%2e", "/", "/.", "%2f", "\u{c3}\u{a9}", "/a"] {
            let target = format!("/x{}", piece.repeat(300_000));
            assert!(normalised(&target).is_ok());
            assert!(table(&["/:x", "/a/*"]).lookup(&target).is_ok());
        }
    }

    #[test]
    fn patterns_of_the_same_paths_have_the_same_shape() {
        for (pattern, shape) in [
            ("/", "/"),
            ("/chat/:room/", "/chat/:"),
            ("/chat/:name", "/chat/:"),
            ("/%63af\u{e9}", "/caf%C3%A9"),
            ("/a b/:x/*", "/a%20b/:/*"),
            ("/*/", "/*"),
            ("*", "*"),
            ("/%3A/%2A", "/%3A/%2A"),
            ("/%3Aid/:x/%2a/*", "/%3Aid/:/%2A/*"),
        ] {
            assert_eq!(shape_of(pattern).as_deref(), Ok(shape), "{pattern:?}");
            assert_eq!(table(&[pattern]).shapes().collect::<Vec<_>>(), [shape]);
        }
    }

    #[test]
    fn ranks_compare_over_tables() {
        // Most specific first; all match the target.
        let patterns = [
            "/a/b/c",
            "/a/b/:z",
            "/a/:y/c",
            "/a/:y/:z",
            "/:x/b/c",
            "/:x/:y/:z",
            "/a/b/*",
            "/a/:y/*",
            "/a/*",
            "/:x/b/*",
            "/:x/*",
            "/*",
            "*",
        ];
        let ranks: Vec<String> = patterns
            .iter()
            .map(|pattern| table(&[pattern]).rank("/a/b/c").unwrap().unwrap().to_owned())
            .collect();
        assert!(ranks.is_sorted_by(|left, right| left < right), "{ranks:?}");
        assert_eq!(table(&["/:x"]).rank("/a"), table(&["/:y/"]).rank("/b"));
        assert_eq!(table(&["/a"]).rank("/b"), Ok(None));
        assert!(table(&["/a"]).rank("/%").is_err());
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
        for pattern in ["/%", "/a%2", "/%zz/*", "/%ff", "/%é"] {
            assert_problem(pattern, PatternProblem::Encoding);
        }
        for pattern in ["/.", "/..", "/a/../b", "/%2e%2E/:x", "/./*", "/.%2e/"] {
            assert_problem(pattern, PatternProblem::DotSegment);
        }
        for character in FOREIGN {
            assert_problem(&format!("/a{character}b"), PatternProblem::Foreign(character));
        }
    }

    #[test]
    fn a_pattern_of_another_router_is_refused_with_the_one_to_write() {
        for (foreign, suggestion) in [
            ("/chat/{room}", Some("/chat/:room")),
            ("/chat/{room}/", Some("/chat/:room")),
            ("/chat/<room>/log", Some("/chat/:room/log")),
            ("/chat/<int:room>", Some("/chat/:room")),
            ("/chat/[room]", Some("/chat/:room")),
            ("/{tenant}/chat/{room:[a-z]+}", Some("/:tenant/chat/:room")),
            ("/files/{*rest}", Some("/files/*")),
            ("/files/[...rest]", Some("/files/*")),
            ("/files/[[...rest]]", Some("/files/*")),
            ("/files/<path:rest>", Some("/files/*")),
            ("/files/{rest...}", Some("/files/*")),
            ("/:id(\\d+)", Some("/:id")),
            ("/:id([^/]+)/log", None),
            ("/files/:rest*", Some("/files/*")),
            ("/files/*rest", Some("/files/*")),
            ("/files/**", Some("/files/*")),
            ("/files/(.*)", Some("/files/*")),
            ("/a*", None),
            ("/*/a", None),
            ("/a:b", None),
            ("/chat/{room}/{room}", None),
            ("/a{b}c", None),
            ("/{a-b}", None),
            ("/(a|b)", None),
            ("/^ws$", None),
        ] {
            let error = shape_of(foreign).unwrap_err();
            assert_eq!(error.suggestion().as_deref(), suggestion, "{foreign:?}");
        }
        let message = |pattern| shape_of(pattern).unwrap_err().to_string();
        assert!(message("/chat/{room}").starts_with(
            "invalid path pattern \"/chat/{room}\": \"{\" has no meaning here (write %7B for a \
             literal \"{\"); write \"/chat/:room\". Accepted are "
        ));
        assert!(message("/(a|b)").contains("alternatives need a pattern each"));
    }

    #[test]
    fn a_pattern_error_names_the_pattern_and_what_is_accepted() {
        let error = RouteTable::default().insert("/a*", 0).unwrap_err();
        assert_eq!(shape_of("/a*").unwrap_err().to_string(), error.to_string());
        assert_eq!(
            error.to_string(),
            "invalid path pattern \"/a*\": \"*\" must be the whole last segment (write %2A for a \
             literal \"*\"). Accepted are exact paths (\"/ws\"), parameters of one segment \
             (\"/chat/:room\"), a last \"*\" for one or more segments (\"/files/*\"), and \"*\" \
             alone for any path"
        );
    }

    #[test]
    fn a_pattern_of_the_same_shape_is_refused() {
        for (first, second) in
            [("/", "/"), ("/a", "/%61/"), ("/a/:x", "/a/:y"), ("/a/:x/*", "/a/:y/*/"), ("*", "*")]
        {
            let mut table = table(&[first]);
            let error = table.insert(second, 7).unwrap_err();
            assert_eq!(
                error,
                RouteError::Taken { pattern: second.to_owned(), earlier: first.to_owned() }
            );
            assert_eq!(table.lookup(if first == "*" { "/" } else { first }), Ok(Some(0)));
            assert_eq!(table.count(), 1);
        }
        let error = table(&["/chat/:room"]).insert("/chat/:name/", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"/chat/:name/\" has the same shape as the earlier route \"/chat/:room\": one path has \
             one handler"
        );
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
        fn the_normal_form_is_the_same_path(
            target in prop_oneof![
                any::<String>(),
                "(http://h)?[/a.%2eEFf\"<>\\\\^`{|}é?#:@ -]{0,20}",
                "/(%[0-9a-fA-F]{2}|[a-c/.]){0,12}",
            ],
        ) {
            let table = table(&["/", "/a", "/a/:x", "/:x/b", "/a/*", "/:x/*", "*"]);
            let Ok(normal) = normalised(&target) else {
                prop_assert!(table.lookup(&target).is_err());
                return Ok(());
            };
            prop_assert_eq!(table.lookup(&target), table.lookup(&normal));
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
