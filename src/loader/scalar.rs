//! Numbers and booleans that are written as text.
//!
//! Environment variables hold nothing but text, and so does the tree that layers them over a file.

/// The word for `None`. A null means the same where there is one.
pub(super) const OFF: &str = "off";

/// A number as text has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// The number that `text` is. Infinities and NaN are none: no setting takes them.
pub(super) fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let unsigned = || text.parse().ok().map(Number::Unsigned);
    let signed = || text.parse().ok().map(Number::Signed);
    let float = || text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float);
    unsigned().or_else(signed).or_else(float)
}

/// The boolean that `text` is, in the words that environment variables use.
pub(super) fn truth(text: &str) -> Option<bool> {
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
    fn text_is_read_as_the_number_it_is() {
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
    fn booleans_have_the_usual_words() {
        for (text, expected) in
            [("true", Some(true)), (" ON ", Some(true)), ("1", Some(true)), ("No", Some(false)), ("0", Some(false))]
        {
            assert_eq!(truth(text), expected, "{text:?}");
        }
        assert_eq!((truth(""), truth("2"), truth("yess")), (None, None, None));
    }
}
