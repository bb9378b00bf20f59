use std::time::Duration;

use crate::ground::chance;
use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// The shortest interval. Checks in closer succession tell nothing new, and are load on an endpoint that may have too much.
const SHORTEST: Duration = Duration::from_millis(100);

/// How often [active checks](crate::balance#active-checks) are made, and how long one may take.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct CheckConfig {
    /// The longest time between two checks of an endpoint that gets no calls, at least 100 ms. Default: 5 s, which is much shorter than
    /// an ejection of 30 s or a break of 30 s, and little load for an endpoint with hundreds of clients.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub interval: Duration,
    /// By which share the interval is shortened at random, so that clients do not check at the same moments: within `0..=1`.
    /// Default: 0.2.
    pub jitter: f64,
    /// How long a check may take; more than zero. Default: 2 s. A healthy endpoint answers within it, the time to connect included.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub timeout: Duration,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), jitter: 0.2, timeout: Duration::from_secs(2) }
    }
}

impl Validate for CheckConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least("interval", self.interval, SHORTEST);
        validation.ratio("jitter", self.jitter);
        validation.positive("timeout", self.timeout);
    }
}

impl CheckConfig {
    /// The time until the next round of checks.
    pub(super) fn pause(&self) -> Duration {
        self.shortened(chance::sample())
    }

    /// The shortest time between two rounds.
    pub(super) fn shortest_pause(&self) -> Duration {
        self.shortened(1.0)
    }

    fn shortened(&self, chance: f64) -> Duration {
        self.interval.mul_f64(1.0 - self.jitter * chance).max(SHORTEST)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn faults_are_reported_by_path() {
        let paths = |config: CheckConfig| match config.validate() {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.faults().iter().map(|fault| fault.path().to_owned()).collect(),
        };
        assert_eq!(paths(CheckConfig::default()), [""; 0]);
        let bad = CheckConfig { interval: Duration::from_millis(99), jitter: f64::NAN, timeout: Duration::ZERO };
        assert_eq!(paths(bad), ["interval", "jitter", "timeout"]);
        let long = CheckConfig { interval: Duration::MAX, jitter: 1.0, timeout: Duration::MAX };
        assert_eq!(paths(long), ["interval", "timeout"]);
    }

    #[test]
    fn pause_has_jitter_and_a_floor() {
        let config =
            |millis, jitter| CheckConfig { interval: Duration::from_millis(millis), jitter, ..Default::default() };
        assert_eq!(config(1000, 0.2).shortest_pause(), Duration::from_millis(800));
        assert_eq!(config(1000, 1.0).shortest_pause(), SHORTEST);
        let pauses: Vec<_> = (0..1000).map(|_| config(1000, 0.5).pause().as_millis()).collect();
        assert!(pauses.iter().all(|pause| (500..=1000).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < 600) && pauses.iter().any(|pause| *pause > 900));
    }
}
