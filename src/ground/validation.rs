//! Validation of configuration structs: every fault is reported at once, by its path.

pub(crate) mod path;

use std::fmt::Display;
use std::time::Duration;

use crate::ground::error::{Fault, InvalidConfig};

/// The longest duration of a configuration, `"10years"`. A longer one is a mistaken unit.
pub(crate) const LONGEST: Duration = Duration::from_secs(87_660 * 3600);

/// Settings that can be validated: all configuration structs of this crate, and a user's own structs that are
/// made of them.
///
/// ```
/// use seawall::config::{Validate, Validation};
/// use seawall::retry::RetryConfig;
///
/// #[derive(Default)]
/// struct Importer {
///     retry: RetryConfig,
///     batch: u32,
/// }
///
/// impl Validate for Importer {
///     fn check(&self, validation: &mut Validation) {
///         validation.nested("retry", |validation| self.retry.check(validation));
///         validation.at_least_one("batch", self.batch.into());
///     }
/// }
///
/// let mut importer = Importer::default();
/// importer.retry.budget.ratio = 1.7;
/// let invalid = importer.validate().unwrap_err();
/// assert_eq!(invalid.faults()[0].to_string(), "retry.budget.ratio: invalid value: 1.7, must be in [0, 1]");
/// assert_eq!(invalid.faults()[1].to_string(), "batch: must be at least 1");
/// ```
pub trait Validate {
    /// Records all faults, field by field.
    fn check(&self, validation: &mut Validation);

    /// Validates the settings.
    ///
    /// # Errors
    /// All faults, with their paths.
    fn validate(&self) -> Result<(), InvalidConfig> {
        Validation::of(|validation| self.check(validation))
    }
}

/// Collects the faults of settings. See [`Validate`].
#[derive(Debug, Default)]
#[must_use]
pub struct Validation {
    prefix: String,
    pub(crate) findings: Vec<Finding>,
}

/// A fault, and the other fields that it depends on.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    /// Paths of the fields that the value was compared with; used only for settings from files.
    #[cfg_attr(not(feature = "config"), allow(dead_code))]
    pub(crate) against: Vec<String>,
}

impl Validation {
    /// All the faults that `validate` finds.
    pub(crate) fn of(validate: impl FnOnce(&mut Self)) -> Result<(), InvalidConfig> {
        let mut validation = Self::default();
        validate(&mut validation);
        let faults: Vec<_> = validation.findings.into_iter().map(|finding| finding.fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(InvalidConfig::new(faults)) }
    }

    /// Records a fault of `field` unless `holds`. (A comparison with NaN does not hold.) With an empty `field` it is a fault of the
    /// struct itself.
    pub fn check(&mut self, holds: bool, field: &str, problem: impl Display) {
        self.check_against(holds, field, &[], problem);
    }

    /// The same for a value that is compared with `others`, fields of the same struct. If one of those could not be read from a
    /// file, this is no fault, because the comparison used a default that was not meant.
    pub fn check_against(&mut self, holds: bool, field: &str, others: &[&str], problem: impl Display) {
        if !holds {
            let fault = Fault { path: self.path(field), problem: problem.to_string() };
            let against = others.iter().map(|other| self.path(other)).collect();
            self.findings.push(Finding { fault, against });
        }
    }

    /// A duration that must not be zero, and at most ten years.
    pub fn positive(&mut self, field: &str, duration: Duration) {
        self.check(duration > Duration::ZERO, field, "must be more than zero");
        self.bounded(field, duration);
    }

    /// A duration that may be zero, and at most ten years.
    pub fn bounded(&mut self, field: &str, duration: Duration) {
        self.check(duration <= LONGEST, field, format_args!("invalid value: {duration:?}, must be at most ten years"));
    }

    /// A duration of at least `shortest`, and at most ten years.
    pub(crate) fn at_least(&mut self, field: &str, duration: Duration, shortest: Duration) {
        self.check(
            duration >= shortest,
            field,
            format_args!("invalid value: {duration:?}, must be at least {shortest:?}"),
        );
        self.bounded(field, duration);
    }

    /// A count that must be at least one.
    pub fn at_least_one(&mut self, field: &str, count: u64) {
        self.check(count >= 1, field, "must be at least 1");
    }

    /// A ratio within `0..=1`.
    pub fn ratio(&mut self, field: &str, ratio: f64) {
        self.check((0.0..=1.0).contains(&ratio), field, format_args!("invalid value: {ratio}, must be in [0, 1]"));
    }

    /// The faults of a struct that is a field of this one.
    pub fn nested(&mut self, field: &str, validate: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(field);
        self.prefix.push('.');
        validate(self);
        self.prefix.truncate(outer);
    }

    /// The faults of the entry `name` of a map, which is a field of this struct.
    pub fn entry(&mut self, map: &str, name: &str, validate: impl FnOnce(&mut Self)) {
        self.nested(map, |validation| validation.nested(&path::name(name), validate));
    }

    fn path(&self, field: &str) -> String {
        let Self { prefix, .. } = self;
        if field.is_empty() { prefix.trim_end_matches('.').to_owned() } else { format!("{prefix}{field}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_at_once_with_their_paths() {
        let error = Validation::of(|validation| {
            validation.positive("timeout", Duration::ZERO);
            validation.nested("budget", |validation| {
                validation.ratio("ratio", f64::NAN);
                validation.bounded("ttl", Duration::MAX);
            });
            validation.entry("client", "a.b", |validation| validation.check(false, "", "is odd"));
            validation.at_least_one("limit", 0);
        })
        .expect_err("five faults");
        let paths: Vec<_> = error.faults().iter().map(Fault::path).collect();
        assert_eq!(paths, ["timeout", "budget.ratio", "budget.ttl", "client.\"a.b\"", "limit"]);
        assert!(
            error.to_string().contains("budget.ratio: invalid value: NaN, must be in [0, 1]; budget.ttl"),
            "{error}"
        );
    }
}
