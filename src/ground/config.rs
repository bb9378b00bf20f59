//! Validation of configuration structs: every fault is found at once, and each is named by its path.

use std::fmt::Display;
use std::time::Duration;

use crate::ground::error::{Fault, InvalidConfig};

/// The longest duration a configuration may hold. Nobody waits for ten years; what is longer is a mistaken unit.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Collects the faults of a configuration struct.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Validation {
    prefix: String,
    faults: Vec<Fault>,
}

impl Validation {
    /// All the faults that `validate` finds.
    pub(crate) fn of(validate: impl FnOnce(&mut Self)) -> Result<(), InvalidConfig> {
        let mut validation = Self::default();
        validate(&mut validation);
        if validation.faults.is_empty() { Ok(()) } else { Err(InvalidConfig { faults: validation.faults }) }
    }

    /// Notes a fault of `field` unless `holds`. A comparison with NaN does not hold.
    pub(crate) fn check(&mut self, holds: bool, field: &str, problem: impl Display) {
        if !holds {
            self.faults.push(Fault { path: format!("{}{field}", self.prefix), problem: problem.to_string() });
        }
    }

    /// A duration that must be there: not zero, not absurd.
    pub(crate) fn positive(&mut self, field: &str, duration: Duration) {
        self.check(duration > Duration::ZERO, field, "must be more than zero");
        self.bounded(field, duration);
    }

    /// A duration that may be zero, but not absurd.
    pub(crate) fn bounded(&mut self, field: &str, duration: Duration) {
        self.check(duration <= LONGEST, field, format_args!("{duration:?} is more than ten years"));
    }

    /// A count that must be at least one.
    pub(crate) fn at_least_one(&mut self, field: &str, count: u64) {
        self.check(count >= 1, field, "must be at least 1");
    }

    /// A ratio within `0..=1`.
    pub(crate) fn ratio(&mut self, field: &str, ratio: f64) {
        self.check((0.0..=1.0).contains(&ratio), field, format_args!("{ratio} is not within 0..=1"));
    }

    /// The faults of a struct that is a field of this one.
    pub(crate) fn nested(&mut self, field: &str, validate: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(field);
        self.prefix.push('.');
        validate(self);
        self.prefix.truncate(outer);
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
            validation.at_least_one("limit", 0);
        })
        .expect_err("four faults");
        let paths: Vec<_> = error.faults().iter().map(Fault::path).collect();
        assert_eq!(paths, ["timeout", "budget.ratio", "budget.ttl", "limit"]);
        assert!(error.to_string().contains("budget.ratio NaN is not within 0..=1; budget.ttl"), "{error}");
    }
}
