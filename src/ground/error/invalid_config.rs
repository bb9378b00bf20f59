//! The error of an invalid configuration.

use std::fmt;

use crate::ground::text;

/// An invalid configuration, with all its faults at once.
///
/// ```
/// use seawall::deadline::DeadlineLayer;
///
/// let error = DeadlineLayer::new(std::time::Duration::ZERO).expect_err("zero is no deadline");
/// assert_eq!(error.faults()[0].path(), "timeout");
/// assert_eq!(error.to_string(), "invalid configuration: timeout: must be more than zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidConfig {
    faults: Vec<Fault>,
    unlisted: usize,
}

impl InvalidConfig {
    /// An error with these faults, at least one.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self { faults, unlisted: 0 }
    }

    /// An error with these faults and `unlisted` others.
    #[cfg(feature = "config")]
    pub(crate) fn with_unlisted(faults: Vec<Fault>, unlisted: usize) -> Self {
        Self { faults, unlisted }
    }

    /// A file that cannot be read at all, for the reason that its parser or the system gives: one fault, without a path.
    ///
    /// ```
    /// use seawall::error::InvalidConfig;
    ///
    /// let invalid = InvalidConfig::unreadable("expected `=` at line 3 column 9");
    /// assert_eq!(invalid.to_string(), "invalid configuration: expected `=` at line 3 column 9");
    /// ```
    pub fn unreadable(why: impl fmt::Display) -> Self {
        Self::new(vec![Fault { path: String::new(), problem: why.to_string().trim_end().to_owned() }])
    }

    /// All listed faults, never empty: in the order of the fields, or in that of the paths if they were read from a file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn list(&self, f: &mut fmt::Formatter<'_>, first: &str, next: &str) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            f.write_str(if n == 0 { first } else { next })?;
            fault.write(f, f.alternate())?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "{next}and at least {more} more"),
        }
    }

    /// How many further faults of a file are not listed. After the first hundred, faults are only counted; after very many, the
    /// search ends.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

/// The faults of a configuration on one line.
pub(crate) struct FaultList<'a>(pub(crate) &'a InvalidConfig);

impl fmt::Display for FaultList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.list(f, "", "; ")
    }
}

/// On one line, for logs; with `{:#}`, each fault on its own line. Control and format characters from a file are escaped, so that
/// they cannot forge a line; with `{:#}`, line breaks in a parser's message stay.
impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, next) = if f.alternate() { (":\n  ", "\n  ") } else { (": ", "; ") };
        f.write_str("invalid configuration")?;
        self.list(f, first, next)
    }
}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Fault {
    /// The path of the field: `budget.ratio`, or `client.payments.retry.budget.ratio` in a file. Empty if the fault is of the
    /// whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong, and what is expected.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, keeps_lines: bool) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", text::one_line(&self.path))?;
        }
        match keeps_lines {
            true => write!(f, "{}", text::lines(&self.problem)),
            false => write!(f, "{}", text::one_line(&self.problem)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, f.alternate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_on_one_line_or_one_each() {
        let fault = |path: &str| Fault { path: path.to_owned(), problem: "must be at least 1".to_owned() };
        let invalid = InvalidConfig::new(vec![fault("limit"), fault("max_keys")]);
        assert_eq!(
            invalid.to_string(),
            "invalid configuration: limit: must be at least 1; max_keys: must be at least 1"
        );
        let lines = "invalid configuration:\n  limit: must be at least 1\n  max_keys: must be at least 1";
        assert_eq!(format!("{invalid:#}"), lines);
    }

    #[test]
    fn text_of_a_file_cannot_forge_a_line() {
        let fault = Fault { path: "client.a\nb".to_owned(), problem: "\u{1b}[2J is\nno \u{202e}number".to_owned() };
        let invalid = InvalidConfig::new(vec![fault]);
        let shown = r"invalid configuration: client.a\nb: \u{1b}[2J is\nno \u{202e}number";
        assert_eq!(invalid.to_string(), shown);
        let shown = "invalid configuration:\n  client.a\\nb: \\u{1b}[2J is\nno \\u{202e}number";
        assert_eq!(format!("{invalid:#}"), shown);
    }
}
