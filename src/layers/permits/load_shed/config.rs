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

/// How many calls a service accepts.
///
/// ```
/// use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
///
/// let config = LoadShedConfig { max_in_flight: 10, ..Default::default() };
/// assert!(LoadShedLayer::new(config).is_ok());
///
/// let endless = LoadShedConfig { queue_ratio: f64::INFINITY, ..Default::default() };
/// assert_eq!(LoadShedLayer::new(endless).unwrap_err().faults()[0].path(), "queue_ratio");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct LoadShedConfig {
    /// Whether the load shedder is enabled. If not, every call passes, and none waits or is counted. Default: true.
    pub enabled: bool,
    /// How many calls are served at once: as many as the service can serve without slowing down, such as the number of its workers
    /// or of its database connections. With a [`limit`](Self::limit) that learns: at most. At least 1. Default: 256.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_in_flight: u32,
    /// Whether as many calls are served, or fewer, as learned. Default: [`Limit::Learned`].
    pub limit: Limit,
    /// For [`Limit::Learned`]: the longest that most calls should take; more than zero. While they take longer, the limit is lowered, if
    /// that helps. Default: `None`: only calls that are cut without an answer take too long.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub objective: Option<Duration>,
    /// How many calls may wait for each call that is served, within `0..=1000`. Default: 4.5.
    ///
    /// This is also the longest wait, in service times. At nine tenths of capacity, fewer than one call in a hundred would wait
    /// longer. Above capacity, the slowest response in a hundred takes less than ten service times, if these are exponentially
    /// distributed.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 1000.0)))]
    pub queue_ratio: f64,
    /// The longest a call may wait; more than zero. Default: 10 s, for calls without a deadline; otherwise the length of the queue
    /// bounds the wait.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_wait: Duration,
    /// The order of waiting calls of one priority. Default: [`Order::Fifo`].
    pub order: Order,
    /// The share of the permits, of those that waiting calls get, that goes to calls of lower priority while others wait, so that none
    /// starves; within `0.0..=0.5`. With 0 calls of higher priority always come first. Default: 0.02.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 0.5)))]
    pub low_priority_share: f64,
    /// How long a call without a deadline may be served; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// With [`keyed_by`](super::LoadShedLayer::keyed_by): how many keys have a limit of their own, at least 1. Default: 1024. See
    /// [`keyed`](crate::keyed) for what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
    /// How late the runtime may poll tasks that are ready; at least 1 ms. While it is later for longer than some hundred milliseconds, a
    /// share of the calls is refused, the lowest priorities first: see [runtime lag](super#runtime-lag). Default: `None`: it is not measured.
    ///
    /// For handlers that compute on the runtime. A good value is a tenth of what a call may take, and not less than the longest that one
    /// handler computes without a pause: `50ms` suits most services. The runtime needs its timers (`enable_time`).
    /// Not for a process that gets no CPU time between its requests, as on some serverless platforms: each pause looks like lag.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub max_lag: Option<Duration>,
}

/// The resolution of the runtime's timers.
const SHORTEST_MAX_LAG: Duration = Duration::from_millis(1);

impl Default for LoadShedConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_in_flight: 256,
            limit: Limit::Learned,
            objective: None,
            queue_ratio: 4.5,
            max_wait: Duration::from_secs(10),
            order: Order::Fifo,
            low_priority_share: DEFAULT_LOW_PRIORITY_SHARE,
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: 1024,
            max_lag: None,
        }
    }
}

impl Validate for LoadShedConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least_one("max_in_flight", self.max_in_flight.into());
        if let Some(objective) = self.objective {
            validation.positive("objective", objective);
        }
        if let Some(max_lag) = self.max_lag {
            validation.at_least("max_lag", max_lag, SHORTEST_MAX_LAG);
        }
        let ratio = self.queue_ratio;
        validation.check(
            (0.0..=1000.0).contains(&ratio),
            "queue_ratio",
            format_args!("invalid value: {ratio}, must be in [0, 1000]"),
        );
        self.gates().check(validation);
    }
}

impl PermitsConfig for LoadShedConfig {
    fn gates(&self) -> GatesConfig {
        let queue_limit = if self.enabled { QueueLimit::PerPermit(self.queue_ratio) } else { QueueLimit::Off };
        let law = self.limit.law(self.objective);
        let turns = Turns { order: self.order, low_priority_share: self.low_priority_share };
        let settings = GateSettings { law, turns, queue_limit, max_wait: self.max_wait, max_hold: self.max_hold };
        let max_lag = self.max_lag.filter(|_| self.enabled);
        GatesConfig { limit: self.max_in_flight, max_keys: self.max_keys, max_lag, settings }
    }
}
