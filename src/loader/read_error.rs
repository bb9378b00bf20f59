//! The error of reading a tree as settings: where and why.

use std::fmt::{self, Display};

use serde::de::{Error, Expected, Unexpected};

use super::scalar::OFF;

/// The first error in a tree.
#[derive(Debug, thiserror::Error)]
pub(super) struct ReadError {
    /// The path from the root, its last step first.
    steps: Vec<PathStep>,
    pub(super) cause: ReadErrorCause,
}

/// From a list or a table to one of its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathStep {
    pub(super) index: usize,
    /// The child is the content of an enum's variant, which is invalid without it.
    pub(super) of_variant: bool,
}

#[derive(Debug)]
pub(super) enum ReadErrorCause {
    /// An unknown field, with the known ones.
    UnknownField {
        field: String,
        known: &'static [&'static str],
    },
    /// The table lacks this field, which has no default.
    MissingField(&'static str),
    Other(String),
}

impl ReadError {
    /// The same error, in the child with this index.
    pub(super) fn within(mut self, index: usize) -> Self {
        self.steps.push(PathStep { index, of_variant: false });
        self
    }

    /// The same error, in the content of an enum's variant.
    pub(super) fn within_variant(mut self, index: usize) -> Self {
        self.steps.push(PathStep { index, of_variant: true });
        self
    }

    /// The path from the root.
    pub(super) fn steps(&self) -> impl DoubleEndedIterator<Item = PathStep> + ExactSizeIterator + '_ {
        self.steps.iter().rev().copied()
    }

    /// Where to resume after an error that a resumed reading may have caused: a table or list that was not read from its beginning
    /// is incomplete. It is skipped, too, until everything is read once more.
    pub(super) fn skip_to(&self, resume: &[usize]) -> Option<Vec<usize>> {
        let mut steps: Vec<usize> = self.steps().map(|step| step.index).collect();
        let is_incomplete = !resume.is_empty() && resume.starts_with(&steps);
        if !is_incomplete || matches!(self.cause, ReadErrorCause::UnknownField { .. }) {
            return None;
        }
        if let Some(last) = steps.last_mut() {
            *last = last.saturating_add(1);
        }
        Some(steps)
    }

    fn of(cause: ReadErrorCause) -> Self {
        Self { steps: Vec::new(), cause }
    }

    /// In serde's words, which users search for.
    fn mismatch(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let hint = if is_off(found) && !expected.contains(OR_OFF) { CANNOT_BE_OFF } else { "" };
        let (found, expected) = (FoundKind(found), in_file_terms(&expected));
        Self::custom(format_args!("invalid {what}: {found}, expected {expected}{hint}"))
    }

    /// The error of a value that is neither a variant's name, nor a table with one and its content.
    pub(super) fn no_variant(found: Unexpected<'_>, variants: &[&str]) -> Self {
        let hint = under_its_name(found, variants);
        let (found, variants) = (FoundKind(found), one_of(variants));
        Self::custom(format_args!("invalid type: {found}, expected {variants}{hint}"))
    }
}

/// The end of the expectation of settings that can be switched off.
pub(super) const OR_OFF: &str = "or \"off\"";

/// The hint for `"off"` in a setting that cannot be switched off.
pub(super) const CANNOT_BE_OFF: &str = ": this setting cannot be \"off\"";

fn is_off(found: Unexpected<'_>) -> bool {
    matches!(found, Unexpected::Str(text) if text.trim() == OFF)
}

/// The names of fields or variants, as serde lists them.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => format!("`{one}`"),
        [one, other] => format!("`{one}` or `{other}`"),
        _ => format!("one of `{}`", names.join("`, `")),
    }
}

/// A hint for a value that was written without the name of the variant that it is meant for.
fn under_its_name(found: Unexpected<'_>, variants: &[&str]) -> String {
    let name = match found {
        Unexpected::Str(text) if humantime::parse_duration(text.trim()).is_ok() => "time",
        Unexpected::Unsigned(_) | Unexpected::Signed(0..) => "calls",
        _ => "",
    };
    let is_known = variants.contains(&name);
    let value = FoundValue(found);
    if is_known { format!(": a value stands under its name, `{{ {name} = {value} }}`") } else { String::new() }
}

impl Error for ReadError {
    fn custom<T: Display>(problem: T) -> Self {
        Self::of(ReadErrorCause::Other(problem.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch("value", found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = under_its_name(Unexpected::Str(variant), expected);
        Self::custom(format_args!("unknown variant `{variant}`, expected {}{hint}", one_of(expected)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::of(ReadErrorCause::UnknownField { field: field.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(ReadErrorCause::MissingField(field))
    }
}

/// The found value, in serde's words except those that are Rust's.
struct FoundKind<'a>(Unexpected<'a>);

impl Display for FoundKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // YAML has a null where nothing was written.
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing (null)"),
            Unexpected::Map => f.write_str("table"),
            Unexpected::Seq => f.write_str("list"),
            other => write!(f, "{other}"),
        }
    }
}

/// The found value, as it is written in a file.
struct FoundValue<'a>(Unexpected<'a>);

impl Display for FoundValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Unsigned(value) => write!(f, "{value}"),
            Unexpected::Signed(value) => write!(f, "{value}"),
            Unexpected::Str(text) => write!(f, "{text:?}"),
            other => write!(f, "{other}"),
        }
    }
}

/// The expected type, in the words of files instead of Rust.
fn in_file_terms(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a map" => "a table",
        "a sequence" => "a list",
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number that is not negative",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

/// The text for an unknown field, with the known ones.
pub(super) fn unknown_field(field: &str, known: &[&str]) -> String {
    match known {
        [] => format!("unknown field `{field}`, there are no fields"),
        _ => format!("unknown field `{field}`, expected {}", one_of(known)),
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ReadErrorCause::UnknownField { field, known } => f.write_str(&unknown_field(field, known)),
            ReadErrorCause::MissingField(field) => write!(f, "missing field `{field}`"),
            ReadErrorCause::Other(problem) => f.write_str(problem),
        }
    }
}
