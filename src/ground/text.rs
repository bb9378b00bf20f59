//! Foreign text in log lines and errors.
//!
//! A line break in an error's text forges a line of the log; an escape sequence controls the terminal; a bidirectional mark
//! disguises a name. Where foreign text becomes part of a line, such characters are escaped as in a Rust string. Names are not
//! escaped: a name with such characters is refused.

use std::fmt::{self, Write as _};

/// The most characters of foreign text in a log line.
const MAX_CHARS: usize = 1000;

/// Whether `text` has no control and no format characters.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(is_hidden)
}

/// `text` on one line, with control and format characters escaped.
pub(crate) fn one_line<T: fmt::Display>(text: T) -> impl fmt::Display {
    Escaped { text, keeps_lines: false, longest: usize::MAX }
}

/// `text` with control and format characters escaped, except line breaks.
pub(crate) fn lines<T: fmt::Display>(text: T) -> impl fmt::Display {
    Escaped { text, keeps_lines: true, longest: usize::MAX }
}

/// `text` on one line of limited length, with control and format characters escaped.
pub(crate) fn short_line<T: fmt::Display>(text: T) -> impl fmt::Display {
    Escaped { text, keeps_lines: false, longest: MAX_CHARS }
}

/// A foreign error with its causes, on one line of limited length.
pub(crate) fn one_line_of_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl fmt::Display + 'a {
    struct Causes<'a>(&'a (dyn std::error::Error + 'static));
    impl fmt::Display for Causes<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0)?;
            let causes = std::iter::successors(self.0.source(), |error| error.source());
            // Each cause adds at least its separator, so the text ends in any case.
            for cause in causes.take(MAX_CHARS / 2) {
                write!(f, ": {cause}")?;
            }
            Ok(())
        }
    }
    Escaped { text: Causes(error), keeps_lines: false, longest: MAX_CHARS }
}

struct Escaped<T> {
    text: T,
    keeps_lines: bool,
    longest: usize,
}

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer { f, keeps_lines: self.keeps_lines, left: self.longest };
        match write!(writer, "{}", self.text) {
            Err(fmt::Error) if writer.left == 0 => f.write_char('…'),
            result => result,
        }
    }
}

struct Writer<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    keeps_lines: bool,
    left: usize,
}

impl fmt::Write for Writer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // An error ends the text early, which is cheaper than formatting the rest of it.
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if is_hidden(c) && !(self.keeps_lines && c == '\n') {
                write!(self.f, "{}", c.escape_debug())?;
            } else {
                self.f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, and format characters: Unicode's categories `Cc`, `Zl`, `Zp` and `Cf`.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_and_format_characters_are_escaped() {
        for (text, shown) in [
            ("no such user: bob", "no such user: bob"),
            ("bob\n2026-11-28 INFO root logged in", r"bob\n2026-11-28 INFO root logged in"),
            ("\r\n\t\0\u{7f}\u{85}", r"\r\n\t\0\u{7f}\u{85}"),
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("a\u{202e}b\u{2066}c\u{200b}\u{feff}", r"a\u{202e}b\u{2066}c\u{200b}\u{feff}"),
            ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
            ("\u{e0041}", r"\u{e0041}"),
            ("größer, 千, e\u{301}, it's \"quoted\" \\ ", "größer, 千, e\u{301}, it's \"quoted\" \\ "),
        ] {
            assert_eq!(one_line(text).to_string(), shown);
            assert_eq!(is_plain(text), text == shown, "{text:?}");
        }
        assert_eq!(lines("a\nb\r").to_string(), "a\nb\\r");
    }

    #[test]
    fn error_text_is_bounded() {
        let error = std::io::Error::other("line\nbreak");
        assert_eq!(one_line_of_error(&error).to_string(), r"line\nbreak");
        let long = std::io::Error::other("x".repeat(5000));
        let shown = one_line_of_error(&long).to_string();
        assert_eq!((shown.chars().count(), shown.ends_with("x…")), (MAX_CHARS + 1, true));
        let exact = std::io::Error::other("x".repeat(MAX_CHARS));
        assert!(one_line_of_error(&exact).to_string().ends_with('x'));
    }

    proptest! {
        #[test]
        fn any_text_is_one_plain_line(text: String) {
            let shown = one_line(&text).to_string();
            prop_assert!(is_plain(&shown));
            prop_assert_eq!(is_plain(&text), shown == text);
        }
    }
}
