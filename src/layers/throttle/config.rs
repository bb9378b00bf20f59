use std::time::Duration;

use super::settings::ThrottleSettings;
use crate::algorithm::throttle::ThrottlePolicy;
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// When a client refuses calls itself, and how many.
///
/// ```
/// use seawall::throttle::{ThrottleConfig, ThrottleLayer};
///
/// let gentle = ThrottleConfig { multiplier: 3.0, ..Default::default() };
/// assert!(ThrottleLayer::new(gentle).is_ok());
///
/// let all = ThrottleConfig { max_share: 1.0, ..Default::default() };
/// assert_eq!(ThrottleLayer::new(all).unwrap_err().faults()[0].problem(), "invalid value: 1, must be in (0, 1)");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct ThrottleConfig {
    /// Whether calls are counted and refused. If not, every call passes. Default: true.
    pub enabled: bool,
    /// For how long a call counts; more than zero. All calls are sent again within this time after the dependency has stopped
    /// refusing. Default: 10 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub window: Duration,
    /// How many calls are sent for each one that the dependency accepts, within `(1, 100]`. A lower value spares the dependency more
    /// refusals, and refuses calls that it might have accepted. Default: 2.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 1, "maximum" = 100)))]
    pub multiplier: f64,
    /// The highest share of the calls of one priority that is refused, within `(0, 1)`. The others show when the dependency accepts
    /// calls again. Default: 0.9.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1)))]
    pub max_share: f64,
    /// If no call was sent for this time, the next one is sent in any case. More than zero, and at most half of `window`. Default: one
    /// second.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub probe_interval: Duration,
    /// How long a call without a deadline may take; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// With [`keyed_by`](super::ThrottleLayer::keyed_by): how many keys have counts of their own, at least 1. Default: 1024. See
    /// [`keyed`](crate::keyed) for what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Duration::from_secs(10),
            multiplier: 2.0,
            max_share: 0.9,
            probe_interval: Duration::from_secs(1),
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: 1024,
        }
    }
}

impl Validate for ThrottleConfig {
    fn check(&self, validation: &mut Validation) {
        validation.positive("window", self.window);
        validation.check(
            self.multiplier > 1.0 && self.multiplier <= 100.0,
            "multiplier",
            format_args!("invalid value: {}, must be in (1, 100]", self.multiplier),
        );
        validation.check(
            self.max_share > 0.0 && self.max_share < 1.0,
            "max_share",
            format_args!("invalid value: {}, must be in (0, 1)", self.max_share),
        );
        validation.positive("probe_interval", self.probe_interval);
        validation.check_against(
            self.window.is_zero() || self.probe_interval <= self.window / 2,
            "probe_interval",
            &["window"],
            format_args!("invalid value: {:?}, must be at most half of `window`", self.probe_interval),
        );
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }
}

impl ThrottleConfig {
    pub(super) fn settings(&self) -> ThrottleSettings {
        let Self { enabled, window, multiplier, max_share, probe_interval, max_hold, .. } = *self;
        let policy = ThrottlePolicy { window, multiplier, max_share, probe_interval };
        ThrottleSettings { enabled, policy, max_hold }
    }
}
