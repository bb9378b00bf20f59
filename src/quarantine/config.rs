use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// When a fingerprint is quarantined, and for how long.
///
/// ```
/// use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
///
/// let config = QuarantineConfig { endpoints: 1, ..Default::default() };
/// let invalid = QuarantineLayer::new(config, |path: &&'static str| *path).unwrap_err();
/// assert_eq!(invalid.faults()[0].problem(), "invalid value: 1, must be in [2, 16]");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct QuarantineConfig {
    /// Whether losses are recorded and calls refused. If `false`, all calls pass. Default: `true`.
    pub enabled: bool,
    /// On how many different endpoints a fingerprint has to be lost, within `2..=16`. Default: 2.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 2, max = 16)))]
    pub endpoints: u32,
    /// How long a loss counts; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub window: Duration,
    /// How long a quarantined fingerprint is refused at most; more than zero. The first time it is an eighth of this. After that one
    /// call is sent: if it is lost, the fingerprint is refused for twice as long. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub duration: Duration,
    /// While one call of a suspect waits for the head of its response, another one is sent after this time. A loss in the body counts
    /// fully for so long after the head. More than zero. Default: one second.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_turn: Duration,
    /// How many calls of suspects may wait for their turn, over all fingerprints; one fingerprint takes at most half of what the others
    /// leave. A call too many is refused. Default: 1024.
    pub max_waiting: u32,
    /// How many fingerprints may be suspected or quarantined at a time, at least 1. Default: 1024.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_fingerprints: usize,
    /// How long a call without a deadline may take, its wait included; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
}

impl Default for QuarantineConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoints: 2,
            window: Duration::from_secs(60),
            duration: Duration::from_secs(60),
            max_turn: Duration::from_secs(1),
            max_waiting: 1024,
            max_fingerprints: 1024,
            max_hold: DEFAULT_MAX_HOLD,
        }
    }
}

impl Validate for QuarantineConfig {
    fn check(&self, validation: &mut Validation) {
        validation.check(
            (2..=16).contains(&self.endpoints),
            "endpoints",
            format_args!("invalid value: {}, must be in [2, 16]", self.endpoints),
        );
        validation.positive("window", self.window);
        validation.positive("duration", self.duration);
        validation.positive("max_turn", self.max_turn);
        validation.at_least_one("max_fingerprints", self.max_fingerprints as u64);
        validation.positive("max_hold", self.max_hold);
    }
}
