//! Illegal configuration cannot be built: every fault is found at once, and each is named by the path of its field.

use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use seawall::error::{Fault, InvalidConfig};
use seawall::retry::{Backoff, Budget, BudgetConfig, Growth, RetryConfig, RetryLayer};

/// A unit mistaken, or arithmetic gone wrong: too long for any wait.
const ABSURD: Duration = Duration::MAX;

/// The paths of all that is wrong.
fn faults<L>(built: Result<L, InvalidConfig>) -> Vec<String> {
    match built {
        Ok(_) => Vec::new(),
        Err(invalid) => {
            assert!(invalid.faults().iter().all(|fault| !fault.problem().is_empty()));
            invalid.faults().iter().map(Fault::path).map(str::to_owned).collect()
        }
    }
}

#[test]
fn a_deadline_needs_a_timeout_that_can_be_waited_for() {
    assert_eq!(faults(DeadlineLayer::new(Duration::ZERO)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(ABSURD)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(Duration::from_nanos(1))), [""; 0]);
}

#[test]
fn every_fault_of_a_retry_is_found() {
    let all = RetryConfig {
        max_attempts: 0,
        backoff: Backoff {
            growth: Growth::Exponential(f64::NAN),
            base: Duration::ZERO,
            cap: ABSURD,
            ..Backoff::default()
        },
        budget: BudgetConfig { ratio: 1.1, ttl: ABSURD, reserve_per_second: -1.0, reserve_burst: 0 },
        attempt_timeout: Some(Duration::ZERO),
        max_retry_after: ABSURD,
        max_hold: Duration::ZERO,
    };
    let budget = ["ratio", "ttl", "reserve_per_second", "reserve_burst"];
    assert_eq!(faults(Budget::new(all.budget.clone())), budget);
    let mut paths = vec!["max_attempts", "backoff.growth", "backoff.base", "backoff.cap"];
    let nested = budget.map(|field| format!("budget.{field}"));
    paths.extend(nested.iter().map(String::as_str));
    paths.extend(["attempt_timeout", "max_retry_after", "max_hold"]);
    assert_eq!(faults(RetryLayer::new(all)), paths);
}

#[test]
fn every_field_of_a_retry_is_checked_by_itself() {
    let cases: [(&str, fn(&mut RetryConfig)); 20] = [
        ("max_attempts", |config| config.max_attempts = 0),
        ("backoff.growth", |config| config.backoff.growth = Growth::Exponential(0.5)),
        ("backoff.growth", |config| config.backoff.growth = Growth::Exponential(f64::NAN)),
        ("backoff.growth", |config| config.backoff.growth = Growth::Exponential(f64::INFINITY)),
        ("backoff.base", |config| config.backoff.base = Duration::ZERO),
        ("backoff.cap", |config| config.backoff.cap = config.backoff.base / 2),
        ("backoff.cap", |config| config.backoff.cap = ABSURD),
        ("budget.ratio", |config| config.budget.ratio = -0.1),
        ("budget.ratio", |config| config.budget.ratio = 1.01),
        ("budget.ratio", |config| config.budget.ratio = f64::NAN),
        ("budget.ttl", |config| config.budget.ttl = Duration::ZERO),
        ("budget.ttl", |config| config.budget.ttl = ABSURD),
        ("budget.reserve_per_second", |config| config.budget.reserve_per_second = f64::NAN),
        ("budget.reserve_per_second", |config| config.budget.reserve_per_second = f64::INFINITY),
        ("budget.reserve_burst", |config| config.budget.reserve_burst = 0),
        ("attempt_timeout", |config| config.attempt_timeout = Some(Duration::ZERO)),
        ("attempt_timeout", |config| config.attempt_timeout = Some(ABSURD)),
        ("max_retry_after", |config| config.max_retry_after = ABSURD),
        ("max_hold", |config| config.max_hold = Duration::ZERO),
        ("max_hold", |config| config.max_hold = ABSURD),
    ];
    for (path, spoil) in cases {
        let mut config = RetryConfig::default();
        spoil(&mut config);
        assert_eq!(faults(RetryLayer::new(config.clone())), [path], "{config:?}");
    }
}
