//! Text input: fields that stand behind one another, split at a byte that UTF-8 does not know.
//!
//! libFuzzer's mutations keep such an input readable: a field that grows or goes moves no other.

/// Stands between two fields.
const SEPARATOR: u8 = 0xff;

/// The fields of `input`: the letter that says what a field is, and its text. Bytes that are not
/// UTF-8 become U+FFFD; fields without a letter are left out.
pub fn fields(input: &[u8]) -> Vec<(char, String)> {
    input
        .split(|byte| *byte == SEPARATOR)
        .filter_map(|field| {
            let text = String::from_utf8_lossy(field);
            let mut characters = text.chars();
            Some((characters.next()?, characters.as_str().to_owned()))
        })
        .collect()
}

/// The texts of all fields with this letter.
pub fn all(fields: &[(char, String)], letter: char) -> Vec<&str> {
    fields.iter().filter(|(kind, _)| *kind == letter).map(|(_, text)| text.as_str()).collect()
}

/// The text of the first field with this letter.
pub fn first(fields: &[(char, String)], letter: char) -> Option<&str> {
    fields.iter().find(|(kind, _)| *kind == letter).map(|(_, text)| text.as_str())
}
