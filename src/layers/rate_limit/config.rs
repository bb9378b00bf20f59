use std::time::Duration;

use crate::algorithm::gcra::Rate;
use crate::ground::time;
use crate::ground::validation::{LONGEST, Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// How many calls may start per period, and how many may wait when the permits are used up.
///
/// ```
/// use std::time::Duration;
/// use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
///
/// let five_a_minute =
///     RateLimitConfig { permits: 5, per: Duration::from_secs(60), ..Default::default() };
/// assert!(RateLimitLayer::new(five_a_minute).is_ok());
///
/// let never = RateLimitConfig { permits: 0, ..Default::default() };
/// assert_eq!(RateLimitLayer::new(never).unwrap_err().faults()[0].path(), "permits");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct RateLimitConfig {
    /// How many calls may start in each `per`, in the long run. The rate is never higher; it may be slightly lower, because the
    /// interval between two calls is rounded up to whole nanoseconds. At least 1, and at most one per nanosecond. Default: 100.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub permits: u32,
    /// The period of `permits`; more than zero. Default: one second.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub per: Duration,
    /// How many calls may start at once after a pause; at least 1, which spaces all calls evenly. Default: `None`, the same as
    /// `permits`.
    #[cfg_attr(feature = "config", serde(with = "Off::<u32>"))]
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub burst: Option<u32>,
    /// The longest a call may wait for a permit. Default: zero, which refuses at once every call that may not start now.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_wait: Duration,
    /// How many calls may wait. Default: 1024.
    pub max_waiting: u32,
    /// How long a call without a deadline may take once it has started; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// With [`keyed_by`](super::RateLimitLayer::keyed_by): how many keys have a rate of their own, at least 1. Default: 1024.
    ///
    /// A key is forgotten only when its burst is full again, so set this higher than the number of keys that make calls within that
    /// time. See [`keyed`](crate::keyed) for what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            permits: 100,
            per: Duration::from_secs(1),
            burst: None,
            max_wait: Duration::ZERO,
            max_waiting: 1024,
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: 1024,
        }
    }
}

impl Validate for RateLimitConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least_one("permits", self.permits.into());
        validation.positive("per", self.per);
        let too_many = self.permits > 0 && !self.per.is_zero() && self.interval().is_zero();
        validation.check_against(!too_many, "permits", &["per"], "must be at most one per nanosecond");
        validation.check(self.burst != Some(0), "burst", "must be at least 1");
        if let Some(burst) = self.burst {
            // The limiter stores the burst as a duration, which must not overflow.
            let length = self.interval().saturating_mul(burst);
            validation.check_against(
                length <= LONGEST,
                "burst",
                &["permits", "per"],
                format_args!("invalid value: {burst}, must span at most ten years at this rate but spans {length:?}"),
            );
        }
        validation.bounded("max_wait", self.max_wait);
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }
}

impl RateLimitConfig {
    /// The rate of a valid config. An invalid config yields some valid rate, so that this never panics.
    pub(super) fn rate(&self) -> Rate {
        // Rounded up: rounding down would allow more than `permits` in the long run.
        let interval = time::nanos(self.per).div_ceil(u64::from(self.permits.max(1))).max(1);
        Rate { interval, burst: self.burst.unwrap_or(self.permits).max(1) }
    }

    /// The time between two calls at the full rate.
    fn interval(&self) -> Duration {
        self.per.checked_div(self.permits).unwrap_or_default()
    }
}
