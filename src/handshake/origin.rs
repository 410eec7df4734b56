//! Which origins may connect (RFC 6455 §10.2).

use std::collections::HashSet;
use std::error::Error;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::regexp;

/// What `*` inside of a text rule stands for: one or more characters of a host or port, in lower
/// case. Never `/`, `:` or `@`: with those, `http://localhost:*` would let
/// `http://localhost:1@evil` in.
const WILDCARD: &str = "[a-z0-9._~-]+";

/// The rule that lets every origin in.
const ANY_ORIGIN: &str = "*";

/// A text rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginError {
    /// The rule is empty, or a slash only.
    Empty,
    /// The rule holds white space, a control character, or a character that is not ASCII. No origin
    /// has any of these, so the rule could never match. Holds the rule and the character.
    Character(String, char),
    /// The rule is too long to be compiled. Holds the rule's length in bytes.
    TooLong(usize),
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginError::Empty => f.write_str("invalid origin rule \"\": it is empty")?,
            OriginError::Character(rule, character) => {
                write!(f, "invalid origin rule {rule:?}: no origin contains {character:?}")?;
                if !character.is_ascii() {
                    f.write_str(" (write the host in its ASCII form, xn--...)")?;
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
    /// Text rules without `*`, in lower case.
    exact: HashSet<String>,
    /// Text rules with `*`, for origins in lower case.
    wildcards: Vec<Regex>,
    /// RegExp rules that mean the same here as in JavaScript, for origins as they were sent.
    regexps: Vec<Regex>,
    /// Whether a lone `*` is among the rules.
    any_origin: bool,
    /// Whether a RegExp is among the rules that only JavaScript can answer.
    needs_javascript: bool,
}

impl OriginRules {
    /// Adds a rule that is an origin as browsers send it, `https://example.com` or `null`.
    ///
    /// Case makes no difference, and one trailing slash is ignored. A `*` stands for one or more
    /// letters, digits, `.`, `_`, `~` or `-`: `http://localhost:*` is any explicit port,
    /// `https://*.example.com` any depth of subdomains. A `*` alone allows every origin, though not
    /// a request without one.
    ///
    /// # Errors
    /// The rule is empty, too long, or has characters that no origin has; nothing is added.
    pub fn add_text(&mut self, pattern: &str) -> Result<(), OriginError> {
        check_characters(pattern)?;
        let rule = pattern.strip_suffix('/').unwrap_or(pattern);
        let rule = rule.to_ascii_lowercase();
        if rule.is_empty() {
            return Err(OriginError::Empty);
        }
        if rule == ANY_ORIGIN {
            self.any_origin = true;
        } else if rule.contains('*') {
            self.wildcards.push(compile_wildcards(&rule)?);
        } else {
            self.exact.insert(rule);
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
        self.exact.contains(&origin) || any_matches(&self.wildcards, &origin)
    }
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

fn compile_wildcards(rule: &str) -> Result<Regex, OriginError> {
    let literals: Vec<String> = rule.split('*').map(regex::escape).collect();
    RegexBuilder::new(&format!(r"\A{}\z", literals.join(WILDCARD)))
        .unicode(false)
        .size_limit(regexp::SIZE_LIMIT)
        .build()
        .map_err(|_| OriginError::TooLong(rule.len()))
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
            &["https://myapp.com//"],
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
            &["http://localhost:3000", "http://localhost:1", "HTTP://LOCALHOST:65535"],
            &[
                "http://localhost",
                "http://localhost:",
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
            &["https://a.example.com", "http://[::2]:80", "http://::1:80"],
        );
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
        let long = "*a".repeat(100_000);
        assert_eq!(rules.add_text(&long), Err(OriginError::TooLong(200_000)));
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
            rule in "[!-)+-~]{0,20}[!-)+-.0-~]",
            other in "[!-~]{1,20}",
        ) {
            let rules = text_rules(&[&rule]);
            prop_assert_eq!(rules.check(Some(&rule)), OriginVerdict::Allowed);
            let same = rule.eq_ignore_ascii_case(&other);
            prop_assert_eq!(rules.check(Some(&other)) == OriginVerdict::Allowed, same);
        }
    }
}
