use std::time::Duration;

use super::Order;
use crate::admission::gate::{DEFAULT_LOW_PRIORITY_SHARE, Turns};
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
use crate::layers::permits::config::PermitsConfig;
use crate::layers::permits::gates::{GateSettings, GatesConfig, QueueLimit};
use crate::layers::permits::limit::Limit;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// How many calls may run and wait, and for how long.
///
/// ```
/// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
///
/// let config = BulkheadConfig { max_concurrent: 8, ..Default::default() };
/// assert!(BulkheadLayer::new(config).is_ok());
///
/// let no_permits = BulkheadConfig { max_concurrent: 0, ..Default::default() };
/// assert_eq!(BulkheadLayer::new(no_permits).unwrap_err().faults()[0].path(), "max_concurrent");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct BulkheadConfig {
    /// Whether the bulkhead is enabled. If not, every call passes, and none waits or is counted. Default: true.
    pub enabled: bool,
    /// How many calls run at once; with weights, their total weight. With another [`limit`](Self::limit) than the fixed one: at most.
    /// At least 1. Default: 64.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_concurrent: u32,
    /// Whether as many calls run, or fewer, as learned. Default: [`Limit::Learned`].
    pub limit: Limit,
    /// For [`Limit::Learned`]: the longest that most calls should take; more than zero. While they take longer, the limit is lowered, if
    /// that helps. Default: `None`: only calls that are cut without an answer take too long.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub objective: Option<Duration>,
    /// How many calls may wait for a permit; with 0 none waits. Default: 1024. The queue is bounded mainly by time: a call is
    /// refused if its expected wait exceeds `max_wait` or its deadline.
    pub max_waiting: u32,
    /// The longest a call may wait; more than zero. Default: 10 s, for calls without a deadline; a deadline is usually earlier.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_wait: Duration,
    /// The order of waiting calls of one priority. Default: [`Order::Fifo`].
    pub order: Order,
    /// The share of the permits, of those that waiting calls get, that goes to calls of lower priority while others wait, so that none
    /// starves; within `0.0..=0.5`. With 0 calls of higher priority always come first. Default: 0.02.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 0.5)))]
    pub low_priority_share: f64,
    /// How long a call without a deadline may hold its permit; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// With [`keyed_by`](super::BulkheadLayer::keyed_by): how many keys have permits of their own, at least 1. Default: 1024. See
    /// [`keyed`](crate::keyed) for what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrent: 64,
            limit: Limit::Learned,
            objective: None,
            max_waiting: 1024,
            max_wait: Duration::from_secs(10),
            order: Order::Fifo,
            low_priority_share: DEFAULT_LOW_PRIORITY_SHARE,
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: 1024,
        }
    }
}

impl Validate for BulkheadConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least_one("max_concurrent", self.max_concurrent.into());
        if let Some(objective) = self.objective {
            validation.positive("objective", objective);
        }
        self.gates().check(validation);
    }
}

impl PermitsConfig for BulkheadConfig {
    fn gates(&self) -> GatesConfig {
        let queue_limit = if self.enabled { QueueLimit::AtMost(self.max_waiting) } else { QueueLimit::Off };
        let law = self.limit.law(self.objective);
        let turns = Turns { order: self.order, low_priority_share: self.low_priority_share };
        let settings = GateSettings { law, turns, queue_limit, max_wait: self.max_wait, max_hold: self.max_hold };
        GatesConfig { limit: self.max_concurrent, max_keys: self.max_keys, max_lag: None, settings }
    }
}
