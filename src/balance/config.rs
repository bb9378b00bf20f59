use std::time::Duration;

use crate::admission::gate::{DEFAULT_LOW_PRIORITY_SHARE, Turns};
use crate::algorithm::balance::{Outliers, Overprovisioning, SlowStart};
use crate::ground::validation::{Validate, Validation};
use crate::layers::circuit_breaker::CircuitBreakerConfig;
use crate::layers::permits::bulkhead::Order;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// How calls are spread over endpoints, and how a bad endpoint is kept from them. The defaults are meant for production.
///
/// ```
/// use seawall::balance::{BalanceConfig, BalanceLayer};
///
/// assert!(BalanceLayer::new(BalanceConfig { max_concurrent: 10, ..Default::default() }).is_ok());
///
/// let mut config = BalanceConfig::default();
/// config.ejection.max_percent = 101;
/// assert_eq!(BalanceLayer::new(config).unwrap_err().faults()[0].path(), "ejection.max_percent");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct BalanceConfig {
    /// The circuit breaker of each endpoint. Default: that of [`CircuitBreakerConfig`]. Its `max_hold` bounds a call without a deadline.
    /// `unready_while_open` must be `false`, and `max_keys` has no effect here.
    pub circuit_breaker: CircuitBreakerConfig,
    /// How many calls run at once at each endpoint, at least 1. Default: 64.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_concurrent: u32,
    /// How many calls may wait for a permit of any endpoint; with 0 none waits. Default: 1024. The queue is bounded mainly by time: a
    /// call is refused if its expected wait exceeds `max_wait` or its deadline.
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
    /// How a new or restored endpoint gets its full share of calls.
    pub slow_start: SlowStartConfig,
    /// When an endpoint that does worse than the others gets no calls for a while.
    pub ejection: EjectionConfig,
    /// How tiers share the calls.
    pub tiers: TierConfig,
    /// How many endpoints a set may have, at least 1. Default: 1024. A larger set is refused, which bounds the memory: an endpoint
    /// takes about 3 kB, and its service.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_endpoints: usize,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            circuit_breaker: CircuitBreakerConfig::default(),
            max_concurrent: 64,
            max_waiting: 1024,
            max_wait: Duration::from_secs(10),
            order: Order::Fifo,
            low_priority_share: DEFAULT_LOW_PRIORITY_SHARE,
            slow_start: SlowStartConfig::default(),
            ejection: EjectionConfig::default(),
            tiers: TierConfig::default(),
            max_endpoints: 1024,
        }
    }
}

impl BalanceConfig {
    pub(super) fn turns(&self) -> Turns {
        Turns { order: self.order, low_priority_share: self.low_priority_share }
    }
}

const ALWAYS_READY: &str =
    "must be false in a balancer, which is always ready, and sends no calls to an endpoint whose breaker is open";

impl Validate for BalanceConfig {
    fn check(&self, validation: &mut Validation) {
        validation.nested("circuit_breaker", |validation| {
            self.circuit_breaker.check(validation);
            validation.check(!self.circuit_breaker.unready_while_open, "unready_while_open", ALWAYS_READY);
        });
        validation.at_least_one("max_concurrent", self.max_concurrent.into());
        validation.positive("max_wait", self.max_wait);
        self.turns().check(validation);
        validation.nested("slow_start", |validation| self.slow_start.check(validation));
        validation.nested("ejection", |validation| self.ejection.check(validation));
        validation.nested("tiers", |validation| self.tiers.check(validation));
        validation.at_least_one("max_endpoints", self.max_endpoints as u64);
    }
}

/// How a new or restored endpoint gets its full share of calls: its weight is multiplied by
/// `max(min_weight, (age / window)^(1 / aggression))`, Envoy's formula. A cold endpoint under full load stays slow.
///
/// The endpoints of the first set start warm: all of them are equally cold. A tier that gets more calls than before, as after an outage, gets
/// them by the same factor, while the tiers that carried them are healthy.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct SlowStartConfig {
    /// How long an endpoint warms up; zero turns slow start off. Default: 10 s. Envoy has no default. Caches, pools and compilers
    /// are usually warm after some seconds of traffic, and a longer window keeps load on the others.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub window: Duration,
    /// How fast the weight grows at first: linearly with 1, faster with more. More than zero. Default: 1.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0)))]
    pub aggression: f64,
    /// The factor at the start, above 0 and up to 1. Default: 0.1, Envoy's.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
    pub min_weight: f64,
}

impl Default for SlowStartConfig {
    fn default() -> Self {
        let SlowStart { window, aggression, min_weight } = SlowStart::default();
        Self { window, aggression, min_weight }
    }
}

impl Validate for SlowStartConfig {
    fn check(&self, validation: &mut Validation) {
        validation.bounded("window", self.window);
        let aggression = self.aggression;
        let problem = format_args!("invalid value: {aggression}, must be finite and above 0");
        validation.check(aggression > 0.0 && aggression.is_finite(), "aggression", problem);
        let min_weight = self.min_weight;
        let problem = format_args!("invalid value: {min_weight}, must be in (0, 1]");
        validation.check(min_weight > 0.0 && min_weight <= 1.0, "min_weight", problem);
    }
}

/// When an endpoint that does worse than the others of its tier gets no calls for a while, after gRPC's outlier detection (A50): its
/// success rate is below those of the others, nearly all of its calls fail, or it is several times slower.
///
/// The success rates of at least five endpoints are compared, by a hundred calls of each in the interval. Of two to four, one is ejected that
/// fails half of fifty calls or more, while the others together fail at most a quarter of that. Latencies are compared from three endpoints on,
/// by twenty calls.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct EjectionConfig {
    /// Whether endpoints are ejected. Default: `true`.
    pub enabled: bool,
    /// How often endpoints are compared; more than zero. Default: 10 s, as in A50.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub interval: Duration,
    /// The length of the first ejection; each further one is longer by as much. More than zero. Default: 30 s, as in A50.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub base_time: Duration,
    /// The length of the longest ejection, unless `base_time` is longer. Default: 5 minutes, as in A50.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_time: Duration,
    /// The largest share of a tier that is ejected, in percent, up to 100. One of its endpoints always may be, and one always stays.
    /// Default: 50. A50 has 10, which protects nothing if a third of the set is bad.
    #[cfg_attr(all(test, feature = "config"), schemars(range(max = 100)))]
    pub max_percent: u32,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_percent: 50,
        }
    }
}

impl Validate for EjectionConfig {
    fn check(&self, validation: &mut Validation) {
        validation.positive("interval", self.interval);
        validation.positive("base_time", self.base_time);
        validation.bounded("max_time", self.max_time);
        let percent = self.max_percent;
        validation.check(percent <= 100, "max_percent", format_args!("invalid value: {percent}, must be at most 100"));
    }
}

/// How tiers share the calls, after Envoy's priority levels. Tier 0 comes first.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct TierConfig {
    /// In percent, at least 100: a tier gets all calls while this factor times its healthy share is at least 1. Default: 140, Envoy's:
    /// all calls down to 71.4 % of healthy endpoints.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 100)))]
    pub overprovisioning: u32,
    /// In percent, up to 100: while the tiers together have too few healthy endpoints, a tier with a smaller healthy share uses its
    /// ejected endpoints too. Zero turns that off. Default: 50, Envoy's.
    #[cfg_attr(all(test, feature = "config"), schemars(range(max = 100)))]
    pub panic_below: u32,
}

impl Default for TierConfig {
    fn default() -> Self {
        Self { overprovisioning: 140, panic_below: 50 }
    }
}

impl Validate for TierConfig {
    fn check(&self, validation: &mut Validation) {
        let factor = self.overprovisioning;
        validation.check(
            factor >= 100,
            "overprovisioning",
            format_args!("invalid value: {factor}, must be at least 100"),
        );
        let percent = self.panic_below;
        validation.check(percent <= 100, "panic_below", format_args!("invalid value: {percent}, must be at most 100"));
    }
}

/// The settings of the algorithms.
#[derive(Clone, Debug)]
pub(super) struct ChoiceSettings {
    pub(super) slow_start: SlowStart,
    pub(super) outliers: Outliers,
    pub(super) interval: Duration,
    pub(super) overprovisioning: Overprovisioning,
    pub(super) limits: CallLimits,
}

/// The bounds of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    /// Of each endpoint.
    pub(super) max_concurrent: u32,
    pub(super) max_waiting: u32,
    pub(super) max_wait: Duration,
    pub(super) max_hold: Duration,
}

impl BalanceConfig {
    pub(super) fn choice(&self) -> ChoiceSettings {
        let Self { slow_start: SlowStartConfig { window, aggression, min_weight }, ejection, tiers, .. } = self;
        let outliers = Outliers {
            base_ejection_time: ejection.base_time,
            max_ejection_time: ejection.max_time,
            max_ejection_percent: if ejection.enabled { ejection.max_percent } else { 0 },
            ..Outliers::default()
        };
        ChoiceSettings {
            slow_start: SlowStart { window: *window, aggression: *aggression, min_weight: *min_weight },
            outliers,
            interval: ejection.interval,
            overprovisioning: Overprovisioning { factor: tiers.overprovisioning, panic_below: tiers.panic_below },
            limits: CallLimits {
                max_concurrent: self.max_concurrent,
                max_waiting: self.max_waiting,
                max_wait: self.max_wait,
                max_hold: self.circuit_breaker.max_hold,
            },
        }
    }
}
