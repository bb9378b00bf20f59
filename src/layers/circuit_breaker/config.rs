use std::time::Duration;

use crate::admission::keyed::DEFAULT_MAX_KEYS;
use crate::algorithm::breaker::{BreakerPolicy, MAX_CALLS, Mode, SlowAfter, Span};
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// The shortest time window. Its bucket numbers wrap within days at this length, and within a moment at nanoseconds, which are a
/// mistaken unit.
const SHORTEST: Duration = Duration::from_millis(10);

/// The window of calls that a breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Window {
    /// The calls of the last so much time, at least 10 ms. A result expires after 0.9 to 1.0 of that time.
    Time(#[cfg_attr(feature = "config", serde(with = "HumanTime"))] Duration),
    /// The last so many calls, at most 100,000, however old they are.
    Calls(#[cfg_attr(all(test, feature = "config"), schemars(range(min = 1, max = 100_000)))] u32),
}

/// When a circuit breaker opens, and how it closes again. The defaults are meant for production.
///
/// ```
/// use std::time::Duration;
/// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// let config = CircuitBreakerConfig { failure_rate: 0.3, slow_after: Some(Duration::from_secs(2)), ..Default::default() };
/// assert!(CircuitBreakerLayer::new(config).is_ok());
///
/// let config = CircuitBreakerConfig { failure_rate: 30.0, max_break: Duration::ZERO, ..Default::default() };
/// let error = CircuitBreakerLayer::new(config).expect_err("a rate is not a percentage");
/// assert_eq!(error.faults().len(), 2);
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct CircuitBreakerConfig {
    /// Whether the breaker is enabled. `false` lets all calls pass and counts nothing, as
    /// [`disable`](super::CircuitBreakerHandle::disable) does. Default: `true`.
    pub enabled: bool,
    /// The window of calls for the rates. Default: the last 10 s.
    pub window: Window,
    /// The number of calls in the window below which no rate is evaluated: at least 1, and at most the size of a window of calls.
    /// Default: 10.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub minimum_calls: u32,
    /// The share of failures that opens the breaker, above 0 and up to 1. Default: 0.9. While some calls succeed, callers are better
    /// off with these responses than with none, and retries cover the rest. A breaker that opens at half refuses the successful half
    /// too. Lower it where a failing call costs more than a refused one.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
    pub failure_rate: f64,
    /// The share of slow calls that opens the breaker, above 0 and up to 1; `None`: slowness never opens it. Calls in flight past
    /// the threshold count as slow calls, and so do calls that were abandoned late. Default: 0.8.
    #[cfg_attr(feature = "config", serde(with = "Off::<f64>"))]
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
    pub slow_rate: Option<f64>,
    /// The duration from which on a call is slow; `None`: relative to the median success, see [`slow_factor`](Self::slow_factor).
    /// More than zero. Default: `None`.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub slow_after: Option<Duration>,
    /// A call is slow if it takes this many times the median success, unless [`slow_after`](Self::slow_after) is set; at least 1.
    /// The median follows the dependency. So a dependency that answers several times slower under load does not open the breaker,
    /// while one that does not answer does. Default: 10.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1.0)))]
    pub slow_factor: f64,
    /// The minimum of a relative threshold; more than zero. A lost packet costs 200 ms and more before TCP retransmits it, and is no
    /// sign of a dependency that hangs. Default: 500 ms.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub slow_floor: Duration,
    /// The number of consecutive failures that opens the breaker, whatever the rates, at least 1; `None`: never. Default: 30, which
    /// a dependency with half of its calls successful reaches less than once in a thousand million calls.
    #[cfg_attr(feature = "config", serde(with = "Off::<u32>"))]
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub consecutive_failures: Option<u32>,
    /// The length of a break; more than zero. Default: 1 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub break_duration: Duration,
    /// How many consecutive breaks have that length before they grow: at least 1. Default: 3. A break counts if
    /// no probe after the one before it was answered in time. An answer, even a failure, makes the next break a short one again.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub short_breaks: u32,
    /// The factor by which each further break grows, at least 1. Default: 2.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1.0)))]
    pub break_growth: f64,
    /// The longest break, at least `break_duration`. Default: 30 s. After `break_duration`, a break also ends as soon as 300 calls
    /// were refused in it. So a client with many calls recovers soon, and a dependency that does not answer gets three probes per
    /// break at most.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_break: Duration,
    /// The share by which a break may be shortened at random, so that the instances of a fleet do not probe in step: within `0..=1`.
    /// Default: 0.2.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 1.0)))]
    pub jitter: f64,
    /// The number of rounds of probes that it takes to close: 1 probe with one round, 1 + 2 with two, 1 + 2 + 4 with three, and so
    /// on; 1 to 10. Default: 4, which is 15 probes. They are judged together, by the same rates as calls of a closed breaker.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1, max = 10)))]
    pub half_open_rounds: u32,
    /// Whether the breaker only observes: it counts, changes its state and reports, but refuses nothing. Default: `false`.
    pub observe_only: bool,
    /// Whether the service is unready while no call would pass, until the next probe is due. Only for a load balancer around one
    /// breaker per endpoint. Default: `false`.
    ///
    /// A breaker that is always ready and refuses at once looks idle to a balancer that goes by readiness and pending calls, and
    /// attracts the traffic of its endpoint. Without a balancer that has other endpoints, callers wait in `poll_ready`, where no
    /// deadline applies. It has no effect on keyed breakers, since the key is not known before the call.
    pub unready_while_open: bool,
    /// The bound of a call that has no deadline; more than zero. Default: 60 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// How many keys have a breaker of their own, if the layer is keyed: at least 1. Default: 1024. See [`keyed`](crate::keyed) for
    /// what happens beyond the limit.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Window::Time(Duration::from_secs(10)),
            minimum_calls: 10,
            failure_rate: 0.9,
            slow_rate: Some(0.8),
            slow_after: None,
            slow_factor: 10.0,
            slow_floor: Duration::from_millis(500),
            consecutive_failures: Some(30),
            break_duration: Duration::from_secs(1),
            short_breaks: 3,
            break_growth: 2.0,
            max_break: Duration::from_secs(30),
            jitter: 0.2,
            half_open_rounds: 4,
            observe_only: false,
            unready_while_open: false,
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: DEFAULT_MAX_KEYS,
        }
    }
}

impl Validate for CircuitBreakerConfig {
    fn check(&self, validation: &mut Validation) {
        match self.window {
            Window::Time(length) => validation.at_least("window", length, SHORTEST),
            Window::Calls(calls) => {
                let possible = (1..=MAX_CALLS as u32).contains(&calls);
                validation.check(
                    possible,
                    "window",
                    format_args!("invalid value: {calls} calls, must be in [1, {MAX_CALLS}]"),
                );
                let reachable = self.minimum_calls <= calls;
                validation.check_against(
                    reachable,
                    "minimum_calls",
                    &["window"],
                    format_args!(
                        "invalid value: {}, must be at most the {calls} calls of `window`",
                        self.minimum_calls
                    ),
                );
            }
        }
        validation.at_least_one("minimum_calls", self.minimum_calls.into());
        rate(validation, "failure_rate", self.failure_rate);
        if let Some(slow_rate) = self.slow_rate {
            rate(validation, "slow_rate", slow_rate);
        }
        if let Some(slow_after) = self.slow_after {
            validation.positive("slow_after", slow_after);
        }
        factor(validation, "slow_factor", self.slow_factor);
        validation.positive("slow_floor", self.slow_floor);
        if let Some(calls) = self.consecutive_failures {
            validation.at_least_one("consecutive_failures", calls.into());
        }
        validation.positive("break_duration", self.break_duration);
        validation.at_least_one("short_breaks", self.short_breaks.into());
        factor(validation, "break_growth", self.break_growth);
        validation.bounded("max_break", self.max_break);
        validation.check_against(
            self.break_duration <= self.max_break,
            "max_break",
            &["break_duration"],
            format_args!("invalid value: {:?}, must be at least `break_duration`", self.max_break),
        );
        validation.ratio("jitter", self.jitter);
        let rounds = self.half_open_rounds;
        validation.check(
            (1..=10).contains(&rounds),
            "half_open_rounds",
            format_args!("invalid value: {rounds}, must be in [1, 10]"),
        );
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }
}

impl CircuitBreakerConfig {
    pub(super) fn policy(&self) -> BreakerPolicy {
        BreakerPolicy {
            failure_rate: self.failure_rate,
            slow_rate: self.slow_rate,
            bad_in_a_row: self.consecutive_failures,
            minimum_calls: self.minimum_calls,
            slow_after: match self.slow_after {
                Some(after) => SlowAfter::Fixed(after),
                None => SlowAfter::Relative { factor: self.slow_factor, floor: self.slow_floor },
            },
            break_for: self.break_duration,
            short_breaks: self.short_breaks,
            break_growth: self.break_growth,
            max_break: self.max_break,
            jitter: self.jitter,
            rounds: self.half_open_rounds,
        }
    }

    pub(super) fn span(&self) -> Span {
        match self.window {
            Window::Time(length) => Span::Time(length),
            Window::Calls(calls) => Span::Calls(calls),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match (self.enabled, self.observe_only) {
            (false, _) => Mode::Disabled,
            (true, true) => Mode::Observing,
            (true, false) => Mode::Enforcing,
        }
    }
}

fn rate(validation: &mut Validation, field: &str, rate: f64) {
    validation.check(rate > 0.0 && rate <= 1.0, field, format_args!("invalid value: {rate}, must be in (0, 1]"));
}

fn factor(validation: &mut Validation, field: &str, factor: f64) {
    validation.check(
        factor >= 1.0 && factor.is_finite(),
        field,
        format_args!("invalid value: {factor}, must be finite and at least 1"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(config: CircuitBreakerConfig) -> Vec<String> {
        match config.validate() {
            Ok(()) => Vec::new(),
            Err(error) => error.faults().iter().map(|fault| fault.path().to_owned()).collect(),
        }
    }

    #[test]
    fn defaults_are_valid() {
        assert!(faults(CircuitBreakerConfig::default()).is_empty());
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let config = CircuitBreakerConfig {
            enabled: true,
            window: Window::Time(Duration::ZERO),
            minimum_calls: 0,
            failure_rate: 0.0,
            slow_rate: Some(f64::NAN),
            slow_after: Some(Duration::MAX),
            slow_factor: f64::INFINITY,
            slow_floor: Duration::ZERO,
            consecutive_failures: Some(0),
            break_duration: Duration::ZERO,
            short_breaks: 0,
            break_growth: 0.5,
            max_break: Duration::MAX,
            jitter: 1.5,
            half_open_rounds: 0,
            observe_only: false,
            unready_while_open: false,
            max_hold: Duration::ZERO,
            max_keys: 0,
        };
        let expected = [
            "window",
            "minimum_calls",
            "failure_rate",
            "slow_rate",
            "slow_after",
            "slow_factor",
            "slow_floor",
            "consecutive_failures",
            "break_duration",
            "short_breaks",
            "break_growth",
            "max_break",
            "jitter",
            "half_open_rounds",
            "max_hold",
            "max_keys",
        ];
        assert_eq!(faults(config), expected);
    }

    #[test]
    fn contradicting_settings_are_refused() {
        let valid = CircuitBreakerConfig::default;
        let table = [
            (
                CircuitBreakerConfig { window: Window::Calls(0), minimum_calls: 1, ..valid() },
                vec!["window", "minimum_calls"],
            ),
            (CircuitBreakerConfig { window: Window::Calls(100_001), ..valid() }, vec!["window"]),
            (CircuitBreakerConfig { window: Window::Time(Duration::from_micros(9_999)), ..valid() }, vec!["window"]),
            (CircuitBreakerConfig { window: Window::Calls(5), minimum_calls: 6, ..valid() }, vec!["minimum_calls"]),
            (CircuitBreakerConfig { max_break: Duration::from_millis(999), ..valid() }, vec!["max_break"]),
            (CircuitBreakerConfig { failure_rate: 1.01, ..valid() }, vec!["failure_rate"]),
            (CircuitBreakerConfig { half_open_rounds: 11, ..valid() }, vec!["half_open_rounds"]),
            (CircuitBreakerConfig { failure_rate: 1.0, window: Window::Calls(100_000), ..valid() }, vec![]),
        ];
        for (config, expected) in table {
            assert_eq!(faults(config.clone()), expected, "{config:?}");
        }
    }
}
