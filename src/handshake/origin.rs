//! Which origins may connect (RFC 6455 §10.2).

use std::borrow::Cow;
use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::net::Ipv6Addr;

use regex::bytes::{Regex, RegexBuilder};

use super::host::{is_host_and_port, is_name, is_port};
use super::regexp;
use super::reject::{RejectReason, Rejection, quoted, shown};

/// What `*` stands for in the host of a text rule: one or more characters of a name, in lower case.
/// Never `/`, `:` or `@`: with those, `https://*.example.com` would let
/// `https://evil.com/.example.com` in.
const ANY_OF_NAME: &str = "[a-z0-9._~-]+";

/// What `*` stands for in the place of a scheme (RFC 3986 §3.1), in lower case.
const ANY_SCHEME: &str = "[a-z][a-z0-9+.-]*";

/// What `*` stands for in the place of a port. Nothing but digits: else `http://localhost:*` would
/// let `http://localhost:3000.evil.org` in.
const ANY_PORT: &str = "[0-9]{1,5}";

/// The rule that lets every origin in.
const ANY_ORIGIN: &str = "*";

/// Origins without a host: of what has none to name (RFC 6454 §7.1), and of files in some web views.
const WITHOUT_HOST: [&str; 2] = ["null", "file://"];

/// What is wrong with the form of a text rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginProblem {
    /// It does not start with `scheme://`.
    NoScheme,
    /// The scheme is neither a name nor `*`.
    Scheme,
    /// It has a path.
    Path,
    /// It has a query.
    Query,
    /// It has a fragment.
    Fragment,
    /// It names a user.
    User,
    /// The host is missing, or is neither a name nor an IPv6 address in brackets.
    Host,
    /// The port is neither a number up to 65535 nor `*`.
    Port,
}

impl fmt::Display for OriginProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OriginProblem::NoScheme => "this has no scheme",
            OriginProblem::Scheme => "this scheme is neither a name nor \"*\"",
            OriginProblem::Path => "this has a path",
            OriginProblem::Query => "this has a query",
            OriginProblem::Fragment => "this has a fragment",
            OriginProblem::User => "this names a user",
            OriginProblem::Host => "this has no valid host",
            OriginProblem::Port => "this port is neither a number up to 65535 nor \"*\"",
        })
    }
}

/// A text rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginError {
    /// The rule is empty, or a slash only.
    Empty,
    /// The rule holds white space, a control character, or a character that is not ASCII. No origin
    /// has any of these, so the rule could never match. Holds the rule and the character.
    Character(String, char),
    /// The rule is no origin, so it could never match. Holds the rule and what is wrong with it.
    Form(String, OriginProblem),
    /// The rule is too long to be compiled. Holds the rule's length in bytes.
    TooLong(usize),
}

impl OriginError {
    /// The rule that was probably meant.
    pub fn suggestion(&self) -> Option<String> {
        match self {
            OriginError::Form(rule, _) => suggestion_for(&rule.to_ascii_lowercase()),
            _ => None,
        }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginError::Empty => f.write_str("invalid origin rule \"\": it is empty")?,
            OriginError::Character(rule, character) => {
                let rule = shown(rule);
                write!(f, "invalid origin rule {rule}: no origin contains {character:?}")?;
                if !character.is_ascii() {
                    f.write_str(" (write the host in its ASCII form, xn--...)")?;
                }
            }
            OriginError::Form(rule, problem) => {
                write!(
                    f,
                    "invalid origin rule {}: an origin is scheme://host or scheme://host:port, and \
                     {problem}",
                    shown(rule)
                )?;
                if let Some(suggestion) = self.suggestion() {
                    write!(f, "; write {}", shown(&suggestion))?;
                }
            }
            OriginError::TooLong(length) => {
                write!(f, "invalid origin rule: {length} bytes are too long")?;
            }
        }
        f.write_str(
            ". Accepted are \"https://example.com\", \"http://localhost:*\", \
             \"https://*.example.com\", \"null\", \"*\" and RegExp objects",
        )
    }
}

impl Error for OriginError {}

/// Whether a RegExp rule can be answered without JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegExpSupport {
    /// [`OriginRules::check`] answers for this rule.
    Compiled,
    /// The caller must ask JavaScript about this rule where [`OriginRules::check`] says
    /// [`OriginVerdict::AskJavaScript`].
    NeedsJavaScript,
}

/// What the rules say about an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginVerdict {
    /// A rule lets it in, or there are no rules.
    Allowed,
    /// No rule lets it in.
    Denied,
    /// No rule that was answered here lets it in; one that [needs JavaScript](RegExpSupport) may.
    AskJavaScript,
}

/// The allowed origins. Without any rule, every request is allowed, also one without an origin.
#[derive(Debug, Clone, Default)]
pub struct OriginRules {
    /// Text rules without `*`, in [normal form](normal).
    exact: HashSet<String>,
    /// Text rules with `*`, for origins in lower case or in normal form.
    wildcards: Vec<Regex>,
    /// RegExp rules that mean the same here as in JavaScript, for origins as they were sent.
    regexps: Vec<Regex>,
    /// Whether a lone `*` is among the rules.
    any_origin: bool,
    /// Whether a RegExp is among the rules that only JavaScript can answer.
    needs_javascript: bool,
}

impl OriginRules {
    /// Adds a rule that is an origin as browsers send it: `https://example.com`,
    /// `http://[::1]:8080`, `null`, or `file://`, which some web views send.
    ///
    /// Case makes no difference, nor does the port of the scheme (80 for `http`, 443 for `https`)
    /// whether it is written or not, and one trailing slash is ignored. A `*` within the host
    /// stands for one or more letters, digits, `.`, `_`, `~` or `-`: `https://*.example.com` is any
    /// depth of subdomains. In the place of the port it stands for any explicit port, in the place
    /// of the scheme for any scheme. A `*` alone allows every origin, though not a request without
    /// one.
    ///
    /// # Errors
    /// The rule is too long, or no origin can match it; nothing is added.
    pub fn add_text(&mut self, pattern: &str) -> Result<(), OriginError> {
        check_characters(pattern)?;
        let rule = pattern.to_ascii_lowercase();
        let trimmed = rule.strip_suffix('/').unwrap_or(&rule);
        if let Some(known) = WITHOUT_HOST.iter().find(|known| **known == rule || **known == trimmed)
        {
            self.exact.insert((*known).to_owned());
            return Ok(());
        }
        // The slashes of `https://` are no slash at the end.
        let rule = if rule.ends_with("//") { rule.as_str() } else { trimmed };
        if rule.is_empty() {
            return Err(OriginError::Empty);
        }
        if rule == ANY_ORIGIN {
            self.any_origin = true;
            return Ok(());
        }
        let malformed = |problem| OriginError::Form(pattern.to_owned(), problem);
        let rule = Rule::parse(rule).map_err(malformed)?;
        if rule.has_star() {
            self.wildcards.push(rule.compile().ok_or(OriginError::TooLong(pattern.len()))?);
        } else {
            self.exact.insert(normal(&rule.to_string()).into_owned());
        }
        Ok(())
    }

    /// Adds the rule of a RegExp object, by its properties `source` and `flags`. As with
    /// `RegExp.prototype.test`, the rule need not match the whole origin. The flags `g` and `d`
    /// mean nothing here.
    ///
    /// What JavaScript and Rust might understand differently is not compiled: look-around,
    /// back-references, the flags `u`, `v` and `y`, and rare syntax. Such a rule counts as a rule
    /// all the same; the caller keeps the RegExp.
    pub fn add_regexp(&mut self, source: &str, flags: &str) -> RegExpSupport {
        match regexp::compile(source, flags) {
            Some(regex) => {
                self.regexps.push(regex);
                RegExpSupport::Compiled
            }
            None => {
                self.needs_javascript = true;
                RegExpSupport::NeedsJavaScript
            }
        }
    }

    /// Whether a request with this `Origin` header may connect; `None` where it has no such header.
    ///
    /// With any rule at all, a request is denied whose origin is missing, empty, or not printable
    /// ASCII, which no browser sends (RFC 6454 §6.2).
    pub fn check(&self, origin: Option<&str>) -> OriginVerdict {
        if !self.has_rules() {
            return OriginVerdict::Allowed;
        }
        match origin {
            Some(origin) if !is_printable(origin) => OriginVerdict::Denied,
            Some(origin) if self.allows(origin) => OriginVerdict::Allowed,
            Some(_) if self.needs_javascript => OriginVerdict::AskJavaScript,
            _ => OriginVerdict::Denied,
        }
    }

    fn has_rules(&self) -> bool {
        self.any_origin
            || self.needs_javascript
            || !self.exact.is_empty()
            || !self.wildcards.is_empty()
            || !self.regexps.is_empty()
    }

    fn allows(&self, origin: &str) -> bool {
        self.any_origin || self.text_allows(origin) || any_matches(&self.regexps, origin)
    }

    fn text_allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let normal = normal(&origin);
        // A rule for any explicit port is also met by an explicit default port.
        self.exact.contains(&*normal)
            || any_matches(&self.wildcards, &normal)
            || any_matches(&self.wildcards, &origin)
    }
}

/// The refusal of a request whose origin, if it has one, is not allowed.
pub fn refusal(origin: Option<&str>) -> Rejection {
    Rejection::new(
        RejectReason::Origin,
        match origin {
            Some(origin) => {
                format!("header Origin is {}: this origin is not allowed", quoted(origin))
            }
            None => {
                "header Origin is missing: only requests of allowed origins are accepted".into()
            }
        },
    )
}

/// A text rule, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule<'a> {
    scheme: &'a str,
    /// With its brackets, where it has some.
    host: &'a str,
    /// Without the `:`.
    port: Option<&'a str>,
}

impl<'a> Rule<'a> {
    /// Reads a rule in lower case.
    fn parse(rule: &'a str) -> Result<Self, OriginProblem> {
        let (scheme, rest) = rule.split_once("://").ok_or(OriginProblem::NoScheme)?;
        if scheme != "*" && !is_scheme(scheme) {
            return Err(OriginProblem::Scheme);
        }
        let beyond = rest.chars().find_map(|character| match character {
            '/' => Some(OriginProblem::Path),
            '?' => Some(OriginProblem::Query),
            '#' => Some(OriginProblem::Fragment),
            '@' => Some(OriginProblem::User),
            _ => None,
        });
        match beyond {
            Some(problem) => Err(problem),
            None => Self::with_authority(scheme, rest),
        }
    }

    fn with_authority(scheme: &'a str, authority: &'a str) -> Result<Self, OriginProblem> {
        let (host, port) = split_port(authority);
        let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        if !is_host {
            return Err(OriginProblem::Host);
        }
        if port.is_some_and(|port| port != "*" && !is_port(port)) {
            return Err(OriginProblem::Port);
        }
        Ok(Self { scheme, host, port })
    }

    fn has_star(&self) -> bool {
        self.scheme == "*" || self.host.contains('*') || self.port == Some("*")
    }

    /// `None` where that takes too much memory.
    fn compile(&self) -> Option<Regex> {
        let scheme = match self.scheme {
            "*" => ANY_SCHEME.to_owned(),
            scheme => regex::escape(scheme),
        };
        let host = normal_host(self.host);
        let literals: Vec<String> = host.split('*').map(regex::escape).collect();
        let host = literals.join(ANY_OF_NAME);
        let number = self.port.and_then(port_number);
        let port = match number {
            _ if self.port == Some("*") => format!(":{ANY_PORT}"),
            Some(number) if Some(number) != default_port(self.scheme) => format!(":{number}"),
            _ => String::new(),
        };
        // Of the schemes that `*` stands for, some leave this port out.
        let left_out: String = WITH_DEFAULT_PORT
            .iter()
            .filter(|scheme| self.scheme == "*" && number == default_port(scheme))
            .map(|scheme| format!("|{scheme}://{host}"))
            .collect();
        RegexBuilder::new(&format!(r"\A(?:{scheme}://{host}{port}{left_out})\z"))
            .unicode(false)
            .size_limit(regexp::SIZE_LIMIT)
            .build()
            .ok()
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Host and port of an authority; the host keeps its brackets, if any.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let name_end = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority[name_end..].find(':') {
        Some(colon) => {
            let colon = name_end + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

/// An origin in lower case as browsers write it (RFC 6454 §6.2): without the port that its scheme
/// stands for, and an IPv6 address in its shortest form. What is no origin is left as it is.
fn normal(origin: &str) -> Cow<'_, str> {
    let Some((scheme, authority)) = origin.split_once("://") else { return Cow::Borrowed(origin) };
    let (host, port) = split_port(authority);
    let number = port.and_then(port_number);
    // An empty port stays: no browser sends one.
    if !is_host_and_port(authority) || (port.is_some() && number.is_none()) {
        return Cow::Borrowed(origin);
    }
    let host = normal_host(host);
    Cow::Owned(match number.filter(|_| number != default_port(scheme)) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// A host with an IPv6 address in its shortest form.
fn normal_host(host: &str) -> Cow<'_, str> {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        Some(address) => Cow::Owned(format!("[{address}]")),
        None => Cow::Borrowed(host),
    }
}

fn port_number(port: &str) -> Option<u16> {
    is_port(port).then(|| port.trim_start_matches('0').parse().unwrap_or(0))
}

/// The schemes that [`default_port`] knows.
const WITH_DEFAULT_PORT: [&str; 4] = ["http", "https", "ws", "wss"];

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Whether a text in lower case is a scheme (RFC 3986 §3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// The origin that a rule in lower case is about, which has more or less than an origin.
fn suggestion_for(rule: &str) -> Option<String> {
    let (scheme, rest) = match rule.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, rule.strip_prefix("//").unwrap_or(rule)),
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let authority = match scheme {
        Some(_) => authority.strip_suffix(':').unwrap_or(authority),
        None => authority,
    };
    let scheme = scheme.unwrap_or(match split_port(authority).0 {
        "localhost" | "127.0.0.1" | "[::1]" => "http",
        _ => "https",
    });
    let suggestion = format!("{scheme}://{authority}");
    let differs = suggestion != rule.strip_suffix('/').unwrap_or(rule);
    (differs && Rule::parse(&suggestion).is_ok()).then_some(suggestion)
}

fn any_matches(rules: &[Regex], origin: &str) -> bool {
    rules.iter().any(|rule| rule.is_match(origin.as_bytes()))
}

/// Whether an origin may be shown to the rules. Control characters and other scripts are where
/// RegExp and `regex` disagree (what `.` and `\s` are, how case folds), and no origin has them.
fn is_printable(origin: &str) -> bool {
    !origin.is_empty() && origin.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn check_characters(rule: &str) -> Result<(), OriginError> {
    match rule.chars().find(|character| !character.is_ascii_graphic()) {
        Some(character) => Err(OriginError::Character(rule.to_owned(), character)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_rules(rules: &[&str]) -> OriginRules {
        let mut origins = OriginRules::default();
        for rule in rules {
            assert_eq!(origins.add_text(rule), Ok(()), "{rule:?}");
        }
        origins
    }

    fn regexp_rule(source: &str, flags: &str) -> OriginRules {
        let mut origins = OriginRules::default();
        assert_eq!(origins.add_regexp(source, flags), RegExpSupport::Compiled);
        origins
    }

    #[track_caller]
    fn assert_verdicts(rules: &OriginRules, allowed: &[&str], denied: &[&str]) {
        for origin in allowed {
            assert_eq!(rules.check(Some(origin)), OriginVerdict::Allowed, "{origin:?}");
        }
        for origin in denied {
            assert_eq!(rules.check(Some(origin)), OriginVerdict::Denied, "{origin:?}");
        }
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = OriginRules::default();
        assert_eq!(rules.check(None), OriginVerdict::Allowed);
        assert_verdicts(&rules, &["https://a.example", "null", "", "\u{e9}\n"], &[]);
    }

    #[test]
    fn with_any_rule_a_missing_origin_is_denied() {
        let mut unanswerable = OriginRules::default();
        unanswerable.add_regexp("(?=a)", "");
        for rules in [text_rules(&["*"]), text_rules(&["null"]), regexp_rule("", ""), unanswerable]
        {
            assert_eq!(rules.check(None), OriginVerdict::Denied);
            assert_eq!(rules.check(Some("")), OriginVerdict::Denied);
        }
    }

    #[test]
    fn an_exact_rule_is_the_whole_origin() {
        assert_verdicts(
            &text_rules(&["http://localhost:3000", "https://myapp.com"]),
            &["http://localhost:3000", "https://myapp.com"],
            &[
                "http://localhost",
                "http://localhost:30000",
                "https://localhost:3000",
                "http://myapp.com",
                "https://myapp.com.evil.com",
                "https://evil.com/https://myapp.com",
                "https://notmyapp.com",
                "https://myappxcom",
                "https://myapp.com/",
                "null",
            ],
        );
    }

    #[test]
    fn text_rules_ignore_case_and_one_trailing_slash() {
        let rules = text_rules(&["HTTPS://MyApp.com/", "https://*.Example.com/"]);
        assert_verdicts(
            &rules,
            &["https://myapp.com", "HTTPS://MYAPP.COM", "https://A.example.COM"],
            &["https://myapp.com/", "https://myapp.com//"],
        );
    }

    #[test]
    fn null_is_an_origin_that_must_be_listed() {
        assert_verdicts(&text_rules(&["null"]), &["null"], &["https://null", "nulll"]);
        assert_verdicts(&text_rules(&["https://*"]), &[], &["null"]);
    }

    #[test]
    fn a_lone_star_allows_every_origin() {
        for rule in ["*", "*/"] {
            assert_verdicts(
                &text_rules(&[rule]),
                &["https://a.example", "null", "chrome-extension://abc"],
                &[],
            );
        }
    }

    #[test]
    fn a_star_for_the_port_is_any_port_of_that_host() {
        assert_verdicts(
            &text_rules(&["http://localhost:*"]),
            &[
                "http://localhost:3000",
                "http://localhost:1",
                "HTTP://LOCALHOST:65535",
                "http://localhost:80",
            ],
            &[
                "http://localhost",
                "http://localhost:",
                "http://localhost:3000.evil.org",
                "http://localhost:abc",
                "http://localhost:-1",
                "http://localhost:123456",
                "http://localhost:1@evil",
                "http://localhost:1@evil.com:80",
                "http://localhost:1/evil",
                "http://localhost:1:2",
                "http://localhost:3000\\@evil.com",
                "http://localhost:1?x",
                "http://localhost:1#x",
                "http://localhost:1 ",
                "http://localhost.evil.com:3000",
                "http://evil.com/http://localhost:3000",
                "https://localhost:3000",
                "xhttp://localhost:3000",
            ],
        );
    }

    #[test]
    fn a_star_for_subdomains_stays_within_the_host() {
        assert_verdicts(
            &text_rules(&["https://*.example.com"]),
            &["https://a.example.com", "https://a.b-c.example.com", "https://x_y.example.com"],
            &[
                "https://example.com",
                "https://.example.com",
                "https://evil.com/.example.com",
                "https://evil.com:80/.example.com",
                "https://evil.com?.example.com",
                "https://evil.com#.example.com",
                "https://user@a.example.com",
                "https://evil.com\\.example.com",
                "https://evilexample.com",
                "https://a.exampleXcom",
                "https://a.example.com.evil.com",
                "https://a.example.com:8080",
                "http://a.example.com",
            ],
        );
    }

    #[test]
    fn several_stars_and_brackets_are_fine() {
        assert_verdicts(
            &text_rules(&["*://*.example.com:*", "http://[::1]:*"]),
            &["https://a.example.com:1", "capacitor://a.example.com:1", "http://[::1]:80"],
            &["https://a.example.com", "http://[::2]:80", "http://::1:80", "1://a.example.com:1"],
        );
    }

    #[test]
    fn the_port_of_the_scheme_is_the_same_as_none() {
        let rules = ["https://a.example:443", "http://b.example", "wss://c.example:0443"];
        assert_verdicts(
            &text_rules(&rules),
            &[
                "https://a.example",
                "https://a.example:443",
                "http://b.example:80",
                "http://b.example",
                "wss://c.example",
            ],
            &["https://a.example:80", "http://b.example:443", "http://b.example:", "a.example"],
        );
        assert_verdicts(
            &text_rules(&["https://*.a.example:443", "http://*.b.example", "x://*.c:443"]),
            &["https://x.a.example", "https://x.a.example:443", "http://x.b.example:80"],
            &["https://x.a.example:80", "http://x.b.example:443", "x://x.c", "https://x.c:443"],
        );
        assert_verdicts(
            &text_rules(&["*://a.example:443", "*://*.b.example:0080", "http://*.d:0"]),
            &[
                "https://a.example",
                "wss://a.example",
                "http://a.example:443",
                "https://a.example:443",
                "http://x.b.example",
                "https://x.b.example:80",
                "http://x.d:0",
            ],
            &[
                "http://a.example",
                "x://a.example",
                "https://x.b.example",
                "http://x.d:",
                "http://x.d",
            ],
        );
        assert_verdicts(
            &text_rules(&["http://c:08080", "http://*.d:08080"]),
            &["http://c:8080", "http://x.d:8080"],
            &["http://c:80"],
        );
    }

    #[test]
    fn an_ipv6_address_may_be_written_in_any_way() {
        assert_verdicts(
            &text_rules(&["http://[0:0:0:0:0:0:0:1]", "http://[::A]:80"]),
            &["http://[::1]", "http://[::1]:80", "http://[::a]", "http://[0::a]"],
            &["http://[::1]:443", "http://[::b]", "http://[::1", "http://::1"],
        );
        assert_verdicts(
            &text_rules(&["http://[0::0:1]:*"]),
            &["http://[::1]:3000", "http://[0:0::1]:3000", "http://[::1]:80"],
            &["http://[::1]", "http://[::1]:x"],
        );
    }

    #[test]
    fn origins_of_apps_and_extensions_can_be_named() {
        let origins = ["chrome-extension://abc", "capacitor://localhost", "app://.", "file://"];
        assert_verdicts(&text_rules(&origins), &origins, &["chrome-extension://abd", "file:///"]);
        assert_verdicts(&text_rules(&["file:///", "NULL/"]), &["file://", "null"], &["file:"]);
        assert_verdicts(
            &text_rules(&["moz-extension://*"]),
            &["moz-extension://0a1b-2c"],
            &["moz-extension://", "chrome-extension://abc"],
        );
    }

    #[test]
    fn a_rule_that_is_no_origin_is_refused_with_what_to_write_instead() {
        use OriginProblem::*;
        for (rule, problem, suggestion) in [
            ("example.com", NoScheme, Some("https://example.com")),
            ("Example.com/", NoScheme, Some("https://example.com")),
            ("*.example.com", NoScheme, Some("https://*.example.com")),
            ("localhost", NoScheme, Some("http://localhost")),
            ("localhost:3000", NoScheme, Some("http://localhost:3000")),
            ("localhost:*", NoScheme, Some("http://localhost:*")),
            ("[::1]:3000", NoScheme, Some("http://[::1]:3000")),
            ("//example.com", NoScheme, Some("https://example.com")),
            ("example.com/path", NoScheme, Some("https://example.com")),
            ("https:example.com", NoScheme, None),
            ("https:", NoScheme, None),
            ("**", NoScheme, Some("https://**")),
            ("http*://example.com", Scheme, None),
            ("://example.com", Scheme, None),
            ("1a://example.com", Scheme, None),
            ("https://example.com/path", Path, Some("https://example.com")),
            ("https://example.com//", Path, Some("https://example.com")),
            ("https://*/*", Path, Some("https://*")),
            ("file:///path", Path, None),
            ("https://example.com?x", Query, Some("https://example.com")),
            ("https://example.com#x", Fragment, Some("https://example.com")),
            ("https://user@example.com", User, Some("https://example.com")),
            ("https://a:b@example.com:1/x", User, Some("https://example.com:1")),
            ("https://", Host, None),
            ("https:///", Path, None),
            ("https://:80", Host, None),
            ("https://exam\\ple.com", Host, None),
            ("https://::1", Host, None),
            ("https://[::1", Host, None),
            ("https://[*]", Host, None),
            ("https://[example.com]", Host, None),
            ("http://localhost:", Port, Some("http://localhost")),
            ("http://localhost:abc", Port, None),
            ("http://localhost:99999", Port, None),
            ("http://localhost:30*", Port, None),
            ("http://[::1]:x", Port, None),
        ] {
            let mut rules = OriginRules::default();
            let error = rules.add_text(rule).unwrap_err();
            let OriginError::Form(named, found) = &error else { panic!("{rule:?}: {error}") };
            assert_eq!((named.as_str(), *found), (rule, problem), "{rule:?}");
            assert_eq!(error.suggestion().as_deref(), suggestion, "{rule:?}");
            assert_eq!(rules.check(None), OriginVerdict::Allowed, "nothing was added");
        }
        let error = OriginRules::default().add_text("example.com").unwrap_err();
        assert!(error.to_string().starts_with(
            "invalid origin rule \"example.com\": an origin is scheme://host or \
             scheme://host:port, and this has no scheme; write \"https://example.com\". Accepted \
             are "
        ));
    }

    #[test]
    fn a_refusal_names_the_origin() {
        for (origin, message) in [
            (
                Some("http://evil.example"),
                "header Origin is \"http://evil.example\": this origin is not allowed",
            ),
            (Some(""), "header Origin is \"\": this origin is not allowed"),
            (None, "header Origin is missing: only requests of allowed origins are accepted"),
        ] {
            let rejection = refusal(origin);
            assert_eq!(rejection.reason(), RejectReason::Origin);
            assert_eq!(rejection.message(), message);
        }
    }

    #[test]
    fn a_rule_that_no_origin_can_meet_is_refused() {
        let mut rules = OriginRules::default();
        for rule in ["", "/"] {
            assert_eq!(rules.add_text(rule), Err(OriginError::Empty));
        }
        for (rule, character) in [
            (" ", ' '),
            ("https://a.com ", ' '),
            ("https://a.com\n", '\n'),
            ("https://a\0.com", '\0'),
            ("https://*.a\t.com", '\t'),
            ("https://caf\u{e9}.fr", '\u{e9}'),
            ("https://a\u{7f}", '\u{7f}'),
        ] {
            let error = OriginError::Character(rule.to_owned(), character);
            assert_eq!(rules.add_text(rule), Err(error));
        }
        let long = format!("https://{}", "*a".repeat(100_000));
        assert_eq!(rules.add_text(&long), Err(OriginError::TooLong(200_008)));
        assert_eq!(rules.check(None), OriginVerdict::Allowed);
    }

    #[test]
    fn an_error_names_the_rule_and_what_is_accepted() {
        let error = OriginRules::default().add_text("https://a b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid origin rule \"https://a b\": no origin contains ' '. Accepted are \
             \"https://example.com\", \"http://localhost:*\", \"https://*.example.com\", \"null\", \
             \"*\" and RegExp objects"
        );
    }

    #[test]
    fn an_error_about_a_host_in_another_script_points_to_its_ascii_form() {
        let error = OriginRules::default().add_text("https://caf\u{e9}.fr").unwrap_err();
        assert!(error.to_string().contains("xn--"));
    }

    #[test]
    fn the_regexps_of_the_reference_are_compiled() {
        for domain in ["mycompany", "trusted"] {
            let source = format!(r"^https:\/\/.*\.{domain}\.com$");
            assert_verdicts(
                &regexp_rule(&source, ""),
                &[&format!("https://app.{domain}.com"), &format!("https://a.b.{domain}.com")],
                &[
                    &format!("https://{domain}.com"),
                    &format!("http://app.{domain}.com"),
                    &format!("https://app.{domain}.com.evil.com"),
                    &format!("https://app-{domain}.com"),
                    &format!("https://app.{domain}xcom"),
                    &format!("HTTPS://APP.{domain}.COM"),
                ],
            );
        }
    }

    #[test]
    fn the_flag_i_ignores_case() {
        let rules = regexp_rule(r"^https:\/\/app\.example\.com$", "i");
        assert_verdicts(&rules, &["https://APP.example.COM"], &["https://bpp.example.com"]);
    }

    #[test]
    fn a_regexp_need_not_match_the_whole_origin() {
        let rules = regexp_rule("localhost", "g");
        assert_verdicts(&rules, &["http://localhost:1", "http://localhost.evil.com"], &["null"]);
    }

    #[test]
    fn a_regexp_that_only_javascript_knows_is_asked_last() {
        let mut rules = text_rules(&["https://a.com"]);
        let look_ahead = rules.add_regexp(r"^https:\/\/(?!evil)", "");
        assert_eq!(look_ahead, RegExpSupport::NeedsJavaScript);
        assert_eq!(rules.check(Some("https://a.com")), OriginVerdict::Allowed);
        assert_eq!(rules.check(Some("https://b.com")), OriginVerdict::AskJavaScript);
        assert_eq!(rules.check(None), OriginVerdict::Denied);
    }

    #[test]
    fn an_origin_that_is_not_printable_ascii_is_denied_before_any_rule() {
        let mut rules = text_rules(&["*"]);
        rules.add_regexp(".*", "s");
        rules.add_regexp("(?=)", "");
        assert_verdicts(
            &rules,
            &[],
            &["https://a.com\n", "\0", "https://a\u{7f}", "https://caf\u{e9}.fr", "\u{212a}", "\t"],
        );
    }

    #[test]
    fn any_one_of_several_rules_is_enough() {
        let mut rules = text_rules(&["https://a.com", "https://*.b.com"]);
        rules.add_regexp("c", "");
        assert_verdicts(
            &rules,
            &["https://a.com", "https://x.b.com", "https://c"],
            &["https://b.org"],
        );
    }

    proptest! {
        #[test]
        fn no_rule_and_no_origin_panics(
            rule in any::<String>(),
            ascii in "[!-~]{0,20}",
            origin in any::<String>(),
        ) {
            let mut rules = OriginRules::default();
            let _ = rules.add_text(&rule);
            let _ = rules.add_text(&ascii);
            let _ = rules.check(Some(&origin));
            let _ = rules.check(Some(&ascii));
        }

        #[test]
        fn a_rule_without_a_star_allows_itself_only(
            rule in "[a-zA-Z]{1,4}://[a-zA-Z0-9.-]{1,8}(:8[0-9]{0,3})?",
            other in "[a-zA-Z]{1,4}://[a-zA-Z0-9.-]{1,8}(:8[0-9]{0,3})?|[!-~]{1,20}",
        ) {
            let rules = text_rules(&[&rule]);
            prop_assert_eq!(rules.check(Some(&rule)), OriginVerdict::Allowed);
            let (rule, other) = (rule.to_ascii_lowercase(), other.to_ascii_lowercase());
            let same = normal(&rule) == normal(&other);
            prop_assert_eq!(rules.check(Some(&other)) == OriginVerdict::Allowed, same);
        }

        #[test]
        fn a_star_never_reaches_beyond_its_part(
            scheme in "https?",
            port in "[!-~]{0,12}",
            host in "[!-~]{0,12}",
        ) {
            let port_rule = text_rules(&["http://localhost:*"]);
            let allowed = port_rule.check(Some(&format!("http://localhost:{port}")));
            let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(allowed == OriginVerdict::Allowed, is_number);
            let host_rule = text_rules(&["*://*.example.com"]);
            let origin = format!("{scheme}://{host}.example.com");
            let inside = !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte));
            prop_assert_eq!(host_rule.check(Some(&origin)) == OriginVerdict::Allowed, inside);
        }
    }
}
