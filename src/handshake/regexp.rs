//! Translates a JavaScript RegExp into a pattern of the `regex` crate, where both mean the same.
//!
//! A white-list: whatever is not known to mean the same is left to JavaScript. "The same" is about
//! `RegExp.prototype.test` on text of printable ASCII; the caller must not match anything else.
//! What a group captured, or whether a quantifier is lazy, makes no difference to that question.

use std::fmt::Write;
use std::ops::ControlFlow;

use regex::bytes::{Regex, RegexBuilder};

/// The most memory that a compiled pattern may take, in bytes. Rules about origins take a few
/// kilobytes; this bounds what a repetition like `(.{999}){999}` costs.
pub(super) const SIZE_LIMIT: usize = 1 << 20;

/// The rule as a pattern that answers like `new RegExp(source, flags).test` for printable ASCII.
///
/// `None` where that is not certain, or where the compiled pattern would exceed [`SIZE_LIMIT`].
/// `source` must be that of an existing RegExp: what JavaScript would refuse is not looked for.
pub(super) fn compile(source: &str, flags: &str) -> Option<Regex> {
    let pattern = translate(source)?;
    let mut builder = RegexBuilder::new(&pattern);
    builder.unicode(false).size_limit(SIZE_LIMIT);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            // Where a search starts, and what it reports, are no part of the question.
            'g' | 'd' => &mut builder,
            _ => return None,
        };
    }
    builder.build().ok()
}

fn translate(source: &str) -> Option<String> {
    if !source.is_ascii() {
        return None;
    }
    let mut translator = Translator {
        rest: source.as_bytes(),
        pattern: String::with_capacity(source.len()),
        repeatable: false,
    };
    while let Some(byte) = translator.next() {
        translator.term(byte)?;
    }
    Some(translator.pattern)
}

struct Translator<'a> {
    /// What is still to be read of the source.
    rest: &'a [u8],
    /// What has been written so far.
    pattern: String,
    /// Whether a quantifier may follow. Rust lets one follow an assertion or another quantifier,
    /// and there JavaScript does not.
    repeatable: bool,
}

/// One element of a character class.
enum ClassAtom {
    Character(u8),
    /// `\d` and its like, by the letter.
    Set(u8),
}

/// Each method that can meet something of unsure meaning returns `None` then.
impl Translator<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Reads `expected` if it is what follows.
    fn next_is(&mut self, expected: u8) -> bool {
        match self.rest.strip_prefix(&[expected]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn term(&mut self, first: u8) -> Option<()> {
        match first {
            b'^' | b'$' | b'|' => self.write(char::from(first), false),
            b'.' => self.write('.', true),
            b'(' => self.open_group()?,
            b')' => self.write(')', true),
            b'[' => self.class()?,
            b'\\' => self.escape()?,
            b'*' | b'+' | b'?' | b'{' => self.quantifier(first)?,
            // Literals in old JavaScript, and errors in new.
            b']' | b'}' => return None,
            literal => self.literal(literal),
        }
        Some(())
    }

    fn write(&mut self, syntax: char, repeatable: bool) {
        self.pattern.push(syntax);
        self.repeatable = repeatable;
    }

    fn literal(&mut self, byte: u8) {
        self.write_character(byte);
        self.repeatable = true;
    }

    /// Everything but letters and digits is written by its code, so that nothing can turn into
    /// syntax.
    fn write_character(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.pattern.push(char::from(byte));
        } else {
            write!(self.pattern, "\\x{byte:02X}").expect("a String accepts all that is written");
        }
    }

    fn write_set(&mut self, letter: u8) {
        self.pattern.push('\\');
        self.pattern.push(char::from(letter));
    }

    /// Every kind of group becomes one that does not capture.
    fn open_group(&mut self) -> Option<()> {
        if self.next_is(b'?') {
            match self.next()? {
                b':' => {}
                b'<' => self.skip_group_name()?,
                _ => return None,
            }
        }
        self.pattern.push_str("(?:");
        self.repeatable = false;
        Some(())
    }

    /// Fails at `(?<=` and `(?<!` as well, because these are no names.
    fn skip_group_name(&mut self) -> Option<()> {
        let length = self.rest.iter().position(|&byte| byte == b'>')?;
        let (name, rest) = self.rest.split_at(length);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        let is_name = name.iter().all(plain) && !name.first()?.is_ascii_digit();
        self.rest = &rest[1..];
        is_name.then_some(())
    }

    fn quantifier(&mut self, first: u8) -> Option<()> {
        if !self.repeatable {
            return None;
        }
        self.write(char::from(first), false);
        if first == b'{' {
            self.bounds()?;
        }
        if self.next_is(b'?') {
            self.pattern.push('?');
        }
        Some(())
    }

    /// The rest of `{n}`, `{n,}` or `{n,m}`; any other brace is a literal in old JavaScript.
    fn bounds(&mut self) -> Option<()> {
        let length = self.rest.iter().position(|&byte| byte == b'}')?;
        let bounds = str::from_utf8(&self.rest[..length]).ok()?;
        let (least, most) = bounds.split_once(',').unwrap_or((bounds, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !is_number(least) || !is_number(most) {
            return None;
        }
        self.pattern.push_str(bounds);
        self.pattern.push('}');
        self.rest = &self.rest[length + 1..];
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        let letter = self.next()?;
        match letter {
            b'b' | b'B' => {
                self.write_set(letter);
                self.repeatable = false;
            }
            _ if is_set(letter) => {
                self.write_set(letter);
                self.repeatable = true;
            }
            _ => {
                let byte = self.escaped_character(letter)?;
                self.literal(byte);
            }
        }
        Some(())
    }

    /// The character that an escape with this letter stands for, in and out of classes.
    fn escaped_character(&mut self, letter: u8) -> Option<u8> {
        match letter {
            b't' => Some(b'\t'),
            b'n' => Some(b'\n'),
            b'v' => Some(0x0b),
            b'f' => Some(0x0c),
            b'r' => Some(b'\r'),
            // With another digit it would be an octal escape.
            b'0' => (!self.rest.first().is_some_and(u8::is_ascii_digit)).then_some(0),
            b'x' => Some(self.hex_digit()? << 4 | self.hex_digit()?),
            _ => letter.is_ascii_punctuation().then_some(letter),
        }
    }

    fn hex_digit(&mut self) -> Option<u8> {
        let value = char::from(self.next()?).to_digit(16)?;
        u8::try_from(value).ok()
    }

    fn class(&mut self) -> Option<()> {
        self.pattern.push('[');
        if self.next_is(b'^') {
            self.pattern.push('^');
        }
        // `[]` matches nothing in JavaScript and `[^]` everything; Rust takes the bracket as a
        // literal.
        if self.rest.first() == Some(&b']') {
            return None;
        }
        if self.next_is(b'-') {
            self.write_character(b'-');
            self.refuse_after(b'-')?;
        }
        while self.class_element()?.is_continue() {}
        self.write(']', true);
        Some(())
    }

    /// One character, set or range; breaks at the end of the class.
    fn class_element(&mut self) -> Option<ControlFlow<()>> {
        let first = self.next()?;
        match first {
            b']' => return Some(ControlFlow::Break(())),
            // Plain only as the last one.
            b'-' if self.rest.first() == Some(&b']') => self.write_character(b'-'),
            _ => {
                let atom = self.class_atom(first)?;
                self.finish_element(atom)?;
            }
        }
        Some(ControlFlow::Continue(()))
    }

    /// Writes `atom`, or the range that it begins.
    fn finish_element(&mut self, atom: ClassAtom) -> Option<()> {
        let is_range = matches!(self.rest, [b'-', end, ..] if *end != b']');
        match atom {
            ClassAtom::Character(low) if is_range => self.range_from(low)?,
            ClassAtom::Character(character) => self.write_character(character),
            ClassAtom::Set(_) if is_range => return None,
            ClassAtom::Set(letter) => self.write_set(letter),
        }
        Some(())
    }

    fn range_from(&mut self, low: u8) -> Option<()> {
        self.next()?;
        let end = self.next()?;
        let ClassAtom::Character(high) = self.class_atom(end)? else {
            return None;
        };
        self.write_character(low);
        self.pattern.push('-');
        self.write_character(high);
        Some(())
    }

    fn class_atom(&mut self, first: u8) -> Option<ClassAtom> {
        match first {
            b'\\' => self.class_escape(),
            b'[' | b'-' => None,
            b'&' | b'~' => self.refuse_after(first).map(|()| ClassAtom::Character(first)),
            _ => Some(ClassAtom::Character(first)),
        }
    }

    fn class_escape(&mut self) -> Option<ClassAtom> {
        match self.next()? {
            letter if is_set(letter) => Some(ClassAtom::Set(letter)),
            b'b' => Some(ClassAtom::Character(0x08)),
            letter => self.escaped_character(letter).map(ClassAtom::Character),
        }
    }

    /// Double `-`, `&` or `~` are operators elsewhere, in Rust and in JavaScript with the flag `v`.
    fn refuse_after(&self, byte: u8) -> Option<()> {
        (self.rest.first() != Some(&byte)).then_some(())
    }
}

/// Whether the letter after a backslash names a set of characters, in and out of classes.
fn is_set(letter: u8) -> bool {
    matches!(letter, b'd' | b'D' | b'w' | b'W' | b's' | b'S')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_matches(source: &str, flags: &str, yes: &[&str], no: &[&str]) {
        let regex = compile(source, flags).unwrap_or_else(|| panic!("/{source}/{flags}"));
        for text in yes {
            assert!(regex.is_match(text.as_bytes()), "/{source}/{flags} {text:?}");
        }
        for text in no {
            assert!(!regex.is_match(text.as_bytes()), "/{source}/{flags} {text:?}");
        }
    }

    #[track_caller]
    fn assert_left_to_javascript(sources: &[&str]) {
        for source in sources {
            assert_eq!(translate(source), None, "/{source}/");
        }
    }

    #[test]
    fn a_search_is_not_anchored() {
        assert_matches("b", "", &["b", "abc"], &["", "B"]);
        assert_matches("(?:)", "", &["", "x"], &[]);
    }

    #[test]
    fn literals_are_never_syntax() {
        assert_matches("a#b c&~-/=!,:<>@\"'`;%_", "", &["a#b c&~-/=!,:<>@\"'`;%_"], &["ab"]);
        assert_matches(
            r"\^\$\\\.\*\+\?\(\)\[\]\{\}\|\/\-\#\&\~",
            "",
            &[r"^$\.*+?()[]{}|/-#&~"],
            &[],
        );
    }

    #[test]
    fn escapes_stand_for_their_character() {
        assert_matches(r"^\x41\x2e\x7E$", "", &["A.~"], &["AB~"]);
        assert_matches(r"^[\t\n\v\f\r\0\b]\t\n\v\f\r\0$", "", &["\x08\t\n\x0b\x0c\r\0"], &[]);
    }

    #[test]
    fn sets_are_ascii() {
        assert_matches(r"^\d\D\w\W\s\S$", "", &["1aZ- x"], &["aaZ- x", "11Z- x"]);
        assert_matches(r"\bcat\b", "", &["a cat.", "cat"], &["concat"]);
        assert_matches(r"\Bcat", "", &["concat"], &["a cat"]);
    }

    #[test]
    fn groups_of_all_kinds_only_group() {
        assert_matches(r"^(a|b)(?:c|d)(?<$name_1>e)$", "", &["ace", "bde"], &["abe"]);
        assert_matches(r"^(?<x>a)(?:(?<y>b)|())+$", "", &["a", "abb"], &["b"]);
    }

    #[test]
    fn quantifiers_repeat() {
        assert_matches(
            "^a*b+c?d{2}e{1,}f{0,2}$",
            "",
            &["bdde", "aabbcddeeff"],
            &["bde", "add", "bddefff"],
        );
        assert_matches("^a*?b+?c??d{2}?e{1,}?f{0,2}?$", "", &["bdde", "aabbcddeeff"], &["bde"]);
    }

    #[test]
    fn classes_hold_characters_ranges_and_sets() {
        assert_matches(r"^[a-c\d_.]+$", "", &["abc09_."], &["d", "-"]);
        assert_matches(r"^[^a-c\s]+$", "", &["d-^"], &["a", " "]);
        assert_matches(r"^[-a]+[a-][^-a][^^]$", "", &["-a-bc"], &["-a-b^"]);
        assert_matches(r"^[\]\\\^\-\/$.|()*+?{}]+$", "", &[r"]\^-/$.|()*+?{}"], &["a"]);
        assert_matches(r"^[\x00-\xFF]$", "", &["a", " "], &["", "ab"]);
        assert_matches(r"^[+\--\/]$", "", &["+", "-", ".", "/"], &[","]);
    }

    #[test]
    fn flags_mean_what_they_mean_in_javascript() {
        assert_matches("^abc$", "i", &["ABC", "aBc"], &["abcd"]);
        assert_matches("[^a]", "i", &["b"], &["a", "A"]);
        assert_matches("^abc$", "gdims", &["abc"], &["abcd"]);
        assert_matches("abc", "", &["abc"], &["ABC"]);
    }

    #[test]
    fn flags_of_another_grammar_are_left_to_javascript() {
        for flags in ["u", "v", "y", "iu", "x", "U", "é"] {
            assert!(compile("a", flags).is_none(), "{flags:?}");
        }
    }

    #[test]
    fn look_around_and_references_are_left_to_javascript() {
        assert_left_to_javascript(&[
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?<!a)",
            r"(a)\1",
            r"(?<x>a)\k<x>",
            "(?i:a)",
            "(?-i:a)",
            "(?P<x>a)",
            "(?>a)",
            "(?#a)",
            "(?<>a)",
            "(?<1>a)",
            "(?<a-b>a)",
        ]);
    }

    #[test]
    fn doubtful_escapes_are_left_to_javascript() {
        assert_left_to_javascript(&[
            r"\u0041", r"\u{41}", r"\p{L}", r"\P{L}", r"\cA", r"[\cA]", r"\01", r"\8", r"[\1]",
            r"\a", r"\A", r"\z", r"\Q", r"\e", r"\x4", r"\xg0", r"\x", r"[\B]", r"\ ", "\\",
            r"[\k]",
        ]);
    }

    #[test]
    fn doubtful_braces_and_brackets_are_left_to_javascript() {
        assert_left_to_javascript(&[
            "a{",
            "a{}",
            "a{,2}",
            "a{x}",
            "a{1",
            "a{1,2,3}",
            "a{ 1}",
            "a{+1}",
            "{1}",
            "}",
            "]",
            "[]",
            "[^]",
            "[]a]",
            "[a",
            "[",
            "[^",
            "[a[b]",
            "[[:alpha:]]",
            "[a&&b]",
            "[a--b]",
            "[--a]",
            "[a~~b]",
            "[a-b-c]",
            r"[\d-a]",
            r"[a-\d]",
            "[+--]",
            "[a-[]",
        ]);
    }

    #[test]
    fn a_quantifier_without_an_atom_is_left_to_javascript() {
        assert_left_to_javascript(&[
            "*", "^*", "$+", r"\b{2}", "a**", "a{2}{3}", "a+??", "(*a)", "(?:+)", "a|*", "a{2}+",
        ]);
    }

    #[test]
    fn non_ascii_is_left_to_javascript() {
        assert_left_to_javascript(&["é", "[à-ü]", "\u{212a}"]);
    }

    #[test]
    fn a_pattern_that_is_out_of_bounds_is_left_to_javascript() {
        for source in ["(?:.{999}){999}", "a{99999999999}", "[z-a]", "(a", "a)", "a{2,1}"] {
            assert!(compile(source, "").is_none(), "/{source}/");
        }
        let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(compile(&deep, "").is_none());
    }

    #[test]
    fn a_hostile_text_takes_linear_time() {
        let regex = compile("^(a+)+$", "").unwrap();
        assert!(!regex.is_match(format!("{}!", "a".repeat(100_000)).as_bytes()));
    }

    proptest! {
        #[test]
        fn no_source_panics(
            source in any::<String>(),
            syntax in r"[ab\\\[\](){}?*+^$|.,:<>=!0-9xdwb&~-]{0,16}",
        ) {
            let _ = compile(&source, "");
            let _ = compile(&syntax, "i");
        }
    }
}
