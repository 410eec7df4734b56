//! Path patterns and origin rules, held against slow and plain statements of what they mean, and
//! RegExp rules against an engine for JavaScript's RegExp.
//!
//! Input: fields (see `fields`): `p`atterns, request `t`argets; `o`rigin rules, `r`egular
//! expressions with their flags behind the last slash, and values of the `O`rigin header.

#![no_main]

use std::collections::HashSet;
use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use nextrush_websocket::handshake::{
    OriginError, OriginRules, OriginVerdict, PathError, RegExpSupport, RouteError, RouteTable,
    normalised, shape_of,
};
use nextrush_websocket_fuzz::authority::{host_and_port, is_host, is_host_and_port, port_number};
use nextrush_websocket_fuzz::fields::{all, fields};

fuzz_target!(|input: &[u8]| {
    let fields = fields(input);
    let targets = all(&fields, 't');
    let routes = the_table_knows_what_was_inserted(&all(&fields, 'p'), &targets);
    the_order_does_not_matter(&routes, &targets);
    for target in targets {
        what_plays_no_part_changes_nothing(&routes, target);
    }
    let origins = all(&fields, 'O');
    let text_rules = all(&fields, 'o');
    text_rules_mean_what_they_say(&text_rules, &origins);
    for regexp in all(&fields, 'r') {
        a_regexp_means_the_same_as_in_javascript(regexp, &origins);
        more_rules_allow_more(&text_rules, regexp, &origins);
    }
});

/// A pattern that was accepted, with its segments taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route<'a> {
    pattern: &'a str,
    id: u32,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    class: Class,
    segments: Vec<Segment>,
}

/// In the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Exact,
    WithParams,
    Wildcard,
    AnyPath,
}

/// In the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(Vec<u8>),
    Param,
    Rest,
}

impl Shape {
    fn of(pattern: &str) -> Self {
        if pattern == "*" {
            return Self { class: Class::AnyPath, segments: Vec::new() };
        }
        let segments: Vec<Segment> = split_path(pattern)
            .into_iter()
            .map(|segment| match segment.as_bytes() {
                b"*" => Segment::Rest,
                [b':', ..] => Segment::Param,
                bytes => Segment::Literal(decoded(bytes).expect("an accepted pattern")),
            })
            .collect();
        let class = match segments.last() {
            Some(Segment::Rest) => Class::Wildcard,
            _ if segments.contains(&Segment::Param) => Class::WithParams,
            _ => Class::Exact,
        };
        Self { class, segments }
    }

    fn matches(&self, path: &[Vec<u8>]) -> bool {
        if self.class == Class::AnyPath {
            return true;
        }
        let open = self.class == Class::Wildcard;
        let fits = if open {
            path.len() >= self.segments.len()
        } else {
            path.len() == self.segments.len()
        };
        fits && !path.iter().any(Vec::is_empty)
            && self.segments.iter().zip(path).all(|(expected, segment)| match expected {
                Segment::Literal(literal) => literal == segment,
                Segment::Param | Segment::Rest => true,
            })
    }
}

/// The segments of a path, without the empty one that a trailing slash leaves.
fn split_path(path: &str) -> Vec<&str> {
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    segments.pop_if(|last| last.is_empty());
    segments
}

fn decoded(segment: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = segment.iter();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            plain => *plain,
        });
    }
    str::from_utf8(&decoded).is_ok().then_some(decoded)
}

/// The path of a target, decoded; each character of the target is a byte. `None` for a path that
/// `new URL()` would read in another way.
fn path_of(target: &str) -> Result<Option<Vec<Vec<u8>>>, Problem> {
    let path = target.split(['?', '#']).next().unwrap_or("");
    let path = match path.split_once("://") {
        _ if path.starts_with('/') => path,
        Some((scheme, rest))
            if ["http", "https", "ws", "wss"].contains(&&*scheme.to_ascii_lowercase()) =>
        {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.find('@').map_or(authority, |at| &authority[at + 1..]);
            if !is_host_and_port(host) {
                return Err(Problem::Form);
            }
            if path.is_empty() { "/" } else { path }
        }
        _ => return Err(Problem::Form),
    };
    let mut segments = Vec::new();
    for segment in split_path(path) {
        let bytes: Option<Vec<u8>> =
            segment.chars().map(|character| u8::try_from(character).ok()).collect();
        segments.push(bytes.and_then(|bytes| decoded(&bytes)).ok_or(Problem::Encoding)?);
    }
    let is_dots = |segment: &Vec<u8>| segment == b"." || segment == b"..";
    let ambiguous = path.starts_with("//") || segments.iter().any(is_dots);
    Ok((!ambiguous).then_some(segments))
}

/// What a [`PathError`] says, without the target.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Form,
    Encoding,
}

fn lookup(table: &RouteTable, target: &str) -> Result<Option<u32>, Problem> {
    table.lookup(target).map_err(|error| {
        assert!(error.to_string().bytes().all(|byte| matches!(byte, b' '..=b'~')));
        match error {
            PathError::Form(_) => Problem::Form,
            PathError::Encoding(_) => Problem::Encoding,
        }
    })
}

fn expected<'a>(routes: &'a [Route<'a>], target: &str) -> Result<Option<&'a Route<'a>>, Problem> {
    let Some(path) = path_of(target)? else { return Ok(None) };
    Ok(routes.iter().filter(|route| route.shape.matches(&path)).min_by_key(|route| &route.shape))
}

fn the_table_knows_what_was_inserted<'a>(patterns: &[&'a str], targets: &[&str]) -> Vec<Route<'a>> {
    let mut table = RouteTable::default();
    let mut routes: Vec<Route<'a>> = Vec::new();
    for (&pattern, id) in patterns.iter().zip(0..) {
        match table.insert(pattern, id) {
            Ok(()) => {}
            Err(error) => {
                assert!(!error.to_string().is_empty());
                match error {
                    RouteError::Pattern(error) => {
                        assert_eq!(error.pattern(), pattern);
                        assert_eq!(shape_of(pattern).as_ref(), Err(&error));
                        if let Some(suggestion) = error.suggestion() {
                            assert!(shape_of(&suggestion).is_ok(), "{suggestion:?}");
                        }
                    }
                    RouteError::Taken { earlier, .. } => {
                        let shape = Shape::of(pattern);
                        let same = |known: &&Route<'_>| known.shape == shape;
                        let known = routes.iter().find(same).expect("there is an earlier one");
                        assert_eq!(known.pattern, earlier);
                        assert_eq!(shape_of(pattern), shape_of(&earlier));
                    }
                }
                continue;
            }
        };
        let route = Route { pattern, id, shape: Shape::of(pattern) };
        for known in &routes {
            assert_ne!(known.shape, route.shape);
            assert_ne!(shape_of(known.pattern), shape_of(pattern));
        }
        // The bytes of a target in another script are not those of the pattern's UTF-8.
        if route.shape.class == Class::Exact && pattern.is_ascii() {
            assert_eq!(lookup(&table, pattern), Ok(Some(id)), "a literal pattern finds itself");
        }
        routes.push(route);
    }
    for target in targets {
        let expected = expected(&routes, target);
        assert_eq!(lookup(&table, target), expected.map(|route| route.map(|route| route.id)));
    }
    routes
}

fn the_order_does_not_matter(routes: &[Route<'_>], targets: &[&str]) {
    let table = |routes: &mut dyn Iterator<Item = &Route<'_>>| {
        let mut table = RouteTable::default();
        for route in routes {
            assert_eq!(table.insert(route.pattern, route.id), Ok(()));
        }
        table
    };
    let forward = table(&mut routes.iter());
    let backward = table(&mut routes.iter().rev());
    let middle = routes.len() / 2;
    let rotated = table(&mut routes[middle..].iter().chain(&routes[..middle]));
    for target in targets {
        let found = forward.lookup(target);
        assert_eq!(backward.lookup(target), found);
        assert_eq!(rotated.lookup(target), found);
    }
}

fn what_plays_no_part_changes_nothing(routes: &[Route<'_>], target: &str) {
    let mut table = RouteTable::default();
    for route in routes {
        assert!(table.insert(route.pattern, route.id).is_ok());
    }
    let found = lookup(&table, target);
    for behind in ["?x=/%zz", "#/a", "?", "#?"] {
        assert_eq!(lookup(&table, &format!("{target}{behind}")), found);
    }
    if target.starts_with('/') {
        assert_eq!(lookup(&table, &format!("http://host{target}")), found);
        assert_eq!(lookup(&table, &format!("WSS://u@[::1]:1{target}")), found);
    }
    match normalised(target) {
        Ok(normal) => {
            assert_eq!(lookup(&table, &normal), found);
            assert_eq!(table.rank(target), table.rank(&normal));
            assert_eq!(normalised(&normal).as_ref(), Ok(&normal));
            let path = normal.split('?').next().unwrap_or_default();
            assert!(path.starts_with('/'));
            let hazard = |character: char| {
                !character.is_ascii_graphic() || "\"<>[]\\^`{|}#".contains(character)
            };
            assert!(!path.contains(hazard), "{path:?}");
        }
        Err(_) => assert!(found.is_err()),
    }
    let Ok(Some(path)) = path_of(target) else { return };
    if path.iter().any(Vec::is_empty) {
        return;
    }
    let encoded: String = path
        .iter()
        .map(|segment| {
            let bytes: String = segment.iter().map(|byte| format!("%{byte:02x}")).collect();
            format!("/{bytes}")
        })
        .collect();
    let slash = if path.is_empty() { "/" } else { "" };
    assert_eq!(lookup(&table, &format!("{encoded}{slash}")), found, "encoding changes nothing");
    assert_eq!(lookup(&table, &format!("{encoded}/")), found, "nor does a slash at the end");
}

/// What a text rule lets in.
enum TextRule {
    Any,
    Exactly(String),
    Origin { scheme: String, host: String, port: Option<String> },
}

impl TextRule {
    /// `None` for a text that is no rule.
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match &*text {
            "*" | "*/" => return Some(Self::Any),
            "null" | "null/" => return Some(Self::Exactly("null".into())),
            "file://" | "file:///" => return Some(Self::Exactly("file://".into())),
            _ => {}
        }
        let text =
            if text.ends_with("//") { &text } else { text.strip_suffix('/').unwrap_or(&text) };
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = host_and_port(authority);
        let is_port = port.is_none_or(|port| port == "*" || port_number(port).is_some());
        let is_rule = (scheme == "*" || is_scheme(scheme)) && is_host(host) && is_port;
        is_rule.then(|| Self::Origin {
            scheme: scheme.into(),
            host: same_address(host),
            port: port.map(str::to_owned),
        })
    }

    fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let (scheme, host, port) = match self {
            Self::Any => return true,
            Self::Exactly(rule) => return *rule == origin,
            Self::Origin { scheme, host, port } => (scheme, host, port),
        };
        let Some((its_scheme, authority)) = origin.split_once("://") else { return false };
        let (its_host, its_port) = host_and_port(authority);
        let fits_scheme = match &**scheme {
            "*" => is_scheme(its_scheme),
            scheme => scheme == its_scheme,
        };
        let default = match its_scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        let number = |port: &Option<&str>| match port {
            Some(port) => port_number(port).map(Some),
            None => Some(None),
        };
        let fits_port = match port.as_deref() {
            Some("*") => its_port.is_some_and(|its| {
                let digits = its.bytes().all(|byte| byte.is_ascii_digit());
                let normal = port_number(its).filter(|number| Some(*number) != default);
                digits && ((1..=5).contains(&its.len()) || normal.is_some())
            }),
            port => match (number(&port), number(&its_port)) {
                (Some(port), Some(its)) => port.or(default) == its.or(default),
                _ => false,
            },
        };
        fits_scheme && fits_port && matches_glob(host, &same_address(its_host))
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

/// A host, of which all ways to write an IPv6 address are one.
fn same_address(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{:x?}]", address.segments()),
        None => host.to_owned(),
    }
}

fn text_rules_mean_what_they_say(patterns: &[&str], origins: &[&str]) {
    let mut rules = OriginRules::default();
    let mut read = Vec::new();
    for pattern in patterns {
        let graphic = pattern.chars().all(|character| character.is_ascii_graphic());
        let rule = TextRule::read(pattern).filter(|_| graphic);
        match rules.add_text(pattern) {
            Ok(()) => read.push(rule.expect("a rule")),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!(matches!(error, OriginError::Character(..)), !graphic);
                match error {
                    OriginError::TooLong(length) => assert!(length >= 4096),
                    _ => assert!(rule.is_none(), "{pattern:?}"),
                }
                if let Some(suggestion) = error.suggestion() {
                    assert_eq!(OriginRules::default().add_text(&suggestion), Ok(()));
                }
            }
        }
    }
    let alone = |verdict| if read.is_empty() { OriginVerdict::Allowed } else { verdict };
    assert_eq!(rules.check(None), alone(OriginVerdict::Denied));
    for origin in origins {
        let allowed = is_printable(origin) && read.iter().any(|rule| rule.allows(origin));
        let verdict = if allowed { OriginVerdict::Allowed } else { OriginVerdict::Denied };
        assert_eq!(rules.check(Some(origin)), alone(verdict), "{origin:?}");
    }
}

fn is_printable(origin: &str) -> bool {
    !origin.is_empty() && origin.chars().all(|character| matches!(character, ' '..='~'))
}

/// `*` is one or more letters, digits, `.`, `_`, `~` or `-`.
fn matches_glob(glob: &str, text: &str) -> bool {
    // reached[n]: what has been read of the glob can be the first n bytes of the text.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in glob.bytes() {
        let mut next = vec![false; text.len() + 1];
        for (index, byte) in text.bytes().enumerate() {
            next[index + 1] = match part {
                b'*' => {
                    let fits = byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
                    fits && (reached[index] || next[index])
                }
                literal => literal == byte && reached[index],
            };
        }
        reached = next;
    }
    reached[text.len()]
}

fn a_regexp_means_the_same_as_in_javascript(regexp: &str, origins: &[&str]) {
    let (source, flags) = regexp.rsplit_once('/').unwrap_or((regexp, ""));
    let mut rules = OriginRules::default();
    let support = rules.add_regexp(source, flags);
    assert_eq!(rules.check(None), OriginVerdict::Denied, "it counts as a rule");
    let unsupported = !source.is_ascii() || !flags.chars().all(|flag| "gdims".contains(flag));
    if unsupported {
        assert_eq!(support, RegExpSupport::NeedsJavaScript);
    }
    for origin in origins {
        let verdict = rules.check(Some(origin));
        match support {
            _ if !is_printable(origin) => assert_eq!(verdict, OriginVerdict::Denied),
            RegExpSupport::Compiled => assert_ne!(verdict, OriginVerdict::AskJavaScript),
            RegExpSupport::NeedsJavaScript => assert_eq!(verdict, OriginVerdict::AskJavaScript),
        }
    }
    if support == RegExpSupport::NeedsJavaScript {
        return;
    }
    // A RegExp with a flag twice does not exist, nor does one that the engine cannot read.
    let distinct: HashSet<_> = flags.chars().collect();
    if distinct.len() != flags.len() {
        return;
    }
    let Ok(javascript) = regress::Regex::with_flags(source, flags) else { return };
    let longest = longest_text_for(source);
    for origin in origins {
        if !is_printable(origin) {
            continue;
        }
        let text = &origin[..origin.len().min(longest)];
        if text.is_empty() {
            continue;
        }
        let matches = javascript.find_ascii(text).is_some();
        let expected = if matches { OriginVerdict::Allowed } else { OriginVerdict::Denied };
        assert_eq!(rules.check(Some(text)), expected, "/{source}/{flags} {text:?}");
    }
}

/// The engine backtracks, so a text must be the shorter the more ways there are to match it.
fn longest_text_for(source: &str) -> usize {
    const MOST_WAYS: usize = 100_000;
    let choices = 1 + source.matches(['*', '+', '?', '{', '|']).count();
    (1..=64).take_while(|&len| choices.saturating_pow(len) <= MOST_WAYS).last().unwrap_or(1)
        as usize
}

fn more_rules_allow_more(patterns: &[&str], regexp: &str, origins: &[&str]) {
    let (source, flags) = regexp.rsplit_once('/').unwrap_or((regexp, ""));
    let mut rules = OriginRules::default();
    for pattern in patterns {
        let _ = rules.add_text(pattern);
    }
    if rules.check(None) == OriginVerdict::Allowed {
        return;
    }
    let fewer = rules.clone();
    rules.add_regexp(source, flags);
    for origin in origins {
        if fewer.check(Some(origin)) == OriginVerdict::Allowed {
            assert_eq!(rules.check(Some(origin)), OriginVerdict::Allowed, "{origin:?}");
        }
    }
}
