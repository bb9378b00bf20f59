use std::time::Duration;

use crate::admission::keyed::DEFAULT_MAX_KEYS;
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
use crate::layers::retry::BudgetConfig;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// The settings of a [`HedgeLayer`](super::HedgeLayer).
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct HedgeConfig {
    /// Whether calls are hedged. If not, each call has one attempt, without deposit, and an outer layer numbers the attempts;
    /// `max_hold` still bounds a call without a deadline. Default: `true`.
    pub enabled: bool,
    /// The maximum number of attempts of a call, including the first, within `1..=5`. 1 makes no hedges. Default: 2.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1, max = 5)))]
    pub max_attempts: u32,
    /// How long an attempt may take before the next one starts beside it. Default: the 95th percentile of recent successes.
    pub delay: HedgeDelay,
    /// The budget that pays for hedges. Default: a tenth of the calls of the last 10 s, and a reserve of ten. A budget that is set
    /// with [`with_budget`](super::HedgeLayer::with_budget) replaces it.
    pub budget: BudgetConfig,
    /// The share of the time of first attempts that useless hedges may take at the dependency, more than 0 and at most 5; and one second
    /// at any time, which comes back in ten seconds. It bounds the load where few calls take most of the time. Default: 0.05.
    ///
    /// A hedge is useless if another attempt answers first, or if it fails. One that wins counts with the time beyond the delay: where a
    /// hedge takes long itself, the call does.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 5.0)))]
    pub time_ratio: f64,
    /// The longest pause that a dependency may ask for before another attempt. If it asks for more, no further attempt starts. Zero
    /// accepts none. Default: 5 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_retry_after: Duration,
    /// How long a call without a deadline may take, all attempts together; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// How many keys have a budget and a learned delay of their own at a time, if the layer [is
    /// keyed](super::HedgeLayer::keyed_by): at least 1. Default: 1024. See [`keyed`](crate::keyed) for what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

/// How long an attempt may take before the next one starts beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum HedgeDelay {
    /// This long. Zero starts all attempts at once, as far as the budget pays for them.
    Fixed(#[cfg_attr(feature = "config", serde(with = "HumanTime"))] Duration),
    /// As long as most of the recent successes took.
    Learned(LearnedDelay),
    /// As long as it takes: the next attempt starts only after one has failed.
    OnFailure,
}

/// A delay that is a quantile of the latencies of recent successes.
///
/// The latency is that of a call's first attempt, up to the head of its response, without waits in queues of this crate and waits
/// for the caller's upload. An attempt that is cancelled because a hedge was faster counts with the time until then, so that hedges
/// do not lower the quantile that makes them. Hedged calls that end without an answer count too, while no hedge wins: see the
/// [module](super).
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct LearnedDelay {
    /// The share of the calls that answer within the delay, more than 0 and less than 1. The others are hedged. Default: 0.95.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 1.0)))]
    pub quantile: f64,
    /// With fewer recent successes, slow attempts are not hedged; at least 1. Default: 100.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub min_samples: u32,
    /// The time in which a success counts for half, from one second to one hour. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub half_life: Duration,
    /// The shortest delay; at least 1 ms. Default: 1 ms.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub min: Duration,
    /// If the quantile is longer, slow attempts are not hedged: the dependency is slow as a whole. At least `min`, at most one
    /// minute. Default: 2 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max: Duration,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_attempts: 2,
            delay: HedgeDelay::default(),
            budget: BudgetConfig::default(),
            time_ratio: 0.05,
            max_retry_after: Duration::from_secs(5),
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: DEFAULT_MAX_KEYS,
        }
    }
}

impl Default for HedgeDelay {
    fn default() -> Self {
        Self::Learned(LearnedDelay::default())
    }
}

impl Default for LearnedDelay {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            min_samples: 100,
            half_life: Duration::from_secs(60),
            min: Duration::from_millis(1),
            max: Duration::from_secs(2),
        }
    }
}

impl Validate for HedgeConfig {
    fn check(&self, validation: &mut Validation) {
        validation.check(
            (1..=5).contains(&self.max_attempts),
            "max_attempts",
            format_args!("invalid value: {}, must be in [1, 5]", self.max_attempts),
        );
        match &self.delay {
            HedgeDelay::Fixed(delay) => validation.bounded("delay", *delay),
            HedgeDelay::Learned(learned) => validation.nested("delay.learned", |validation| learned.check(validation)),
            HedgeDelay::OnFailure => {}
        }
        validation.nested("budget", |validation| self.budget.check(validation));
        validation.check(
            self.time_ratio > 0.0 && self.time_ratio <= 5.0,
            "time_ratio",
            format_args!("invalid value: {}, must be in (0, 5]", self.time_ratio),
        );
        validation.bounded("max_retry_after", self.max_retry_after);
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }
}

impl Validate for LearnedDelay {
    fn check(&self, validation: &mut Validation) {
        validation.check(
            self.quantile > 0.0 && self.quantile < 1.0,
            "quantile",
            format_args!("invalid value: {}, must be in (0, 1)", self.quantile),
        );
        validation.at_least_one("min_samples", self.min_samples.into());
        validation.check(
            (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.half_life),
            "half_life",
            format_args!("invalid value: {:?}, must be in [1s, 1h]", self.half_life),
        );
        validation.check(self.min >= Duration::from_millis(1), "min", format_args!("{:?} is less than 1ms", self.min));
        validation.check_against(
            self.max >= self.min,
            "max",
            &["min"],
            format_args!("{:?} is less than min", self.max),
        );
        validation.check(
            self.max <= Duration::from_secs(60),
            "max",
            format_args!("{:?} is more than one minute", self.max),
        );
    }
}
