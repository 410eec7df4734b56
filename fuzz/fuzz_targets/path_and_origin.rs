//! Path patterns and origin rules, held against slow and plain statements of what they mean, and
//! RegExp rules against an engine for JavaScript's RegExp.
//!
//! Input: fields (see `fields`): `p`atterns, request `t`argets; `o`rigin rules, `r`egular
//! expressions with their flags behind the last slash, and values of the `O`rigin header.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use nextrush_websocket::handshake::{
    OriginError, OriginRules, OriginVerdict, PathError, RegExpSupport, RouteTable,
};
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
                _ => Segment::Literal(decoded(segment).expect("an accepted pattern")),
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

fn decoded(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            plain => plain,
        });
    }
    str::from_utf8(&decoded).is_ok().then_some(decoded)
}

/// The path of a target, decoded.
fn path_of(target: &str) -> Result<Vec<Vec<u8>>, Problem> {
    let path = target.split(['?', '#']).next().unwrap_or("");
    let path = match path.split_once("://") {
        _ if path.starts_with('/') => path,
        Some((scheme, rest))
            if ["http", "https", "ws", "wss"].contains(&&*scheme.to_ascii_lowercase())
                && !rest.is_empty()
                && !rest.starts_with('/') =>
        {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => return Err(Problem::Form),
    };
    split_path(path).into_iter().map(|part| decoded(part).ok_or(Problem::Encoding)).collect()
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
    let path = path_of(target)?;
    Ok(routes.iter().filter(|route| route.shape.matches(&path)).min_by_key(|route| &route.shape))
}

fn the_table_knows_what_was_inserted<'a>(patterns: &[&'a str], targets: &[&str]) -> Vec<Route<'a>> {
    let mut table = RouteTable::default();
    let mut routes: Vec<Route<'a>> = Vec::new();
    for (&pattern, id) in patterns.iter().zip(0..) {
        let replaced = match table.insert(pattern, id) {
            Ok(replaced) => replaced,
            Err(error) => {
                assert_eq!(error.pattern(), pattern);
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let route = Route { pattern, id, shape: Shape::of(pattern) };
        let same = routes.iter().position(|known| known.shape == route.shape);
        assert_eq!(replaced, same.map(|index| routes.remove(index).id));
        if route.shape.class == Class::Exact {
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
            assert_eq!(table.insert(route.pattern, route.id), Ok(None));
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
    let (Ok(path), Ok(_)) = (path_of(target), &found) else { return };
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

fn text_rules_mean_what_they_say(patterns: &[&str], origins: &[&str]) {
    let mut rules = OriginRules::default();
    let mut globs = Vec::new();
    for pattern in patterns {
        let graphic = pattern.chars().all(|character| character.is_ascii_graphic());
        match rules.add_text(pattern) {
            Ok(()) => {
                assert!(graphic && !matches!(*pattern, "" | "/"));
                let glob = pattern.strip_suffix('/').unwrap_or(pattern).to_ascii_lowercase();
                globs.push(glob);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!(matches!(error, OriginError::Character(..)), !graphic);
                assert!(!matches!(error, OriginError::TooLong(length) if length < 4096));
            }
        }
    }
    let alone = |verdict| if globs.is_empty() { OriginVerdict::Allowed } else { verdict };
    assert_eq!(rules.check(None), alone(OriginVerdict::Denied));
    let any_origin = globs.iter().any(|glob| glob == "*");
    for origin in origins {
        let fits = |glob: &String| glob == "*" || matches_glob(glob, &origin.to_ascii_lowercase());
        let allowed = is_printable(origin) && globs.iter().any(fits);
        let verdict = if allowed { OriginVerdict::Allowed } else { OriginVerdict::Denied };
        assert_eq!(rules.check(Some(origin)), alone(verdict), "{origin:?}");
        if allowed && !any_origin {
            a_star_hides_no_delimiter(&globs, origin);
        }
    }
}

fn is_printable(origin: &str) -> bool {
    !origin.is_empty() && origin.chars().all(|character| matches!(character, ' '..='~'))
}

/// Where a character separates the parts of a URL, an origin that is allowed has as many of it as
/// some rule: `*` stands for none.
fn a_star_hides_no_delimiter(globs: &[String], origin: &str) {
    for delimiter in ['/', '\\', '@', ':', '?', '#', '[', ']', ' ', '%'] {
        let count = |text: &str| text.matches(delimiter).count();
        assert!(
            globs.iter().any(|glob| count(glob) == count(origin)),
            "{origin:?} has more {delimiter:?} than a rule"
        );
    }
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
