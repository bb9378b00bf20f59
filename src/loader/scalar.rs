//! Numbers and booleans as text.
//!
//! Environment variables are text only, and so is a tree that layers them over a file.

/// The word for `None`. A null means the same in formats that have it.
pub(super) const OFF: &str = "off";

/// A number that was parsed from text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// Parses a number. Infinities and NaN are none: no setting accepts them.
pub(super) fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let unsigned = || text.parse().ok().map(Number::Unsigned);
    let signed = || text.parse().ok().map(Number::Signed);
    let float = || text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float);
    unsigned().or_else(signed).or_else(float)
}

/// Parses a boolean, in the words of environment variables.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    match (is(&["true", "yes", "on", "1"]), is(&["false", "no", "off", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_parsed_as_a_number() {
        let table = [
            ("8", Some(Number::Unsigned(8))),
            (" 8\n", Some(Number::Unsigned(8))),
            ("+8", Some(Number::Unsigned(8))),
            ("-3", Some(Number::Signed(-3))),
            ("0.5", Some(Number::Float(0.5))),
            ("1e3", Some(Number::Float(1000.0))),
            ("18446744073709551616", Some(Number::Float(18446744073709551616.0))),
            ("NaN", None),
            ("inf", None),
            ("1e999", None),
            ("", None),
            ("2s", None),
            ("0x10", None),
            ("1,5", None),
        ];
        for (text, expected) in table {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn booleans_accept_the_usual_words() {
        for (text, expected) in
            [("true", Some(true)), (" ON ", Some(true)), ("1", Some(true)), ("No", Some(false)), ("0", Some(false))]
        {
            assert_eq!(boolean(text), expected, "{text:?}");
        }
        assert_eq!((boolean(""), boolean("2"), boolean("yess")), (None, None, None));
    }
}
