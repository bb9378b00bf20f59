//! The snapshot of a registry: plain data.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::balance_condition::BalanceCondition;
#[cfg(feature = "config")]
use super::seconds::{seconds, some_seconds};
use crate::algorithm::breaker::State;
use crate::ground::error::Numbers;

/// Event counts, by their names in logs and metrics. Events that never occurred are left out.
pub type Counts = BTreeMap<&'static str, u64>;

/// All named layers of a registry at one moment.
///
/// With the feature `config` it can be serialised: durations are numbers of seconds, in fields whose names end in `_s`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The layers, ordered by name; layers of one name are in no particular order.
    pub components: Vec<ComponentSnapshot>,
}

/// One named layer at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ComponentSnapshot {
    /// The name of the layer.
    pub name: String,
    /// The kind of the layer, in one word.
    pub layer: &'static str,
    /// The time since it was named, over which it has counted.
    #[cfg_attr(feature = "config", serde(rename = "age_s", serialize_with = "seconds"))]
    pub age: Duration,
    /// How many keys have a state of their own.
    pub keys: usize,
    /// The calls that ended, by verdict.
    pub calls: Counts,
    /// How long successes took, if there were any.
    pub latency: Option<Latency>,
    /// The calls that were refused or cut, by reason.
    pub refused: Counts,
    /// The last refused or cut call.
    pub last_refusal: Option<LastRefusal>,
    /// The bodies of responses that were cut, by reason.
    pub bodies_cut: Counts,
    /// How often it was reloaded.
    pub reloads: u64,
    /// The state that is specific to the kind of layer.
    pub condition: Condition,
}

/// The latency of successful calls since the layer was named. The durations are accurate to 6 %.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// The number of successful calls.
    pub count: u64,
    /// The median.
    #[cfg_attr(feature = "config", serde(rename = "p50_s", serialize_with = "seconds"))]
    pub p50: Duration,
    /// The 90th percentile.
    #[cfg_attr(feature = "config", serde(rename = "p90_s", serialize_with = "seconds"))]
    pub p90: Duration,
    /// The 99th percentile.
    #[cfg_attr(feature = "config", serde(rename = "p99_s", serialize_with = "seconds"))]
    pub p99: Duration,
    /// The slowest.
    #[cfg_attr(feature = "config", serde(rename = "max_s", serialize_with = "seconds"))]
    pub max: Duration,
}

/// The last call that was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastRefusal {
    /// The reason, in one word: see [`Reason`](crate::error::Reason).
    pub reason: &'static str,
    /// How long ago.
    #[cfg_attr(feature = "config", serde(rename = "ago_s", serialize_with = "seconds"))]
    pub ago: Duration,
    /// The numbers behind the decision.
    pub numbers: Numbers,
}

/// The state that is specific to a kind of layer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Condition {
    /// The state of a [`DeadlineLayer`](crate::deadline::DeadlineLayer).
    Deadline(DeadlineCondition),
    /// The state of a [`RetryLayer`](crate::retry::RetryLayer).
    Retry(RetryCondition),
    /// The state of a [`HedgeLayer`](crate::hedge::HedgeLayer).
    Hedge(HedgeCondition),
    /// The settings of a [`QuorumLayer`](crate::quorum::QuorumLayer).
    Quorum(QuorumCondition),
    /// The state of a [`BulkheadLayer`](crate::bulkhead::BulkheadLayer).
    Bulkhead(GateCondition),
    /// The state of a [`CircuitBreakerLayer`](crate::circuit_breaker::CircuitBreakerLayer).
    CircuitBreaker(BreakerCondition),
    /// The state of a [`RateLimitLayer`](crate::rate_limit::RateLimitLayer).
    RateLimit(RateLimitCondition),
    /// The state of a [`ThrottleLayer`](crate::throttle::ThrottleLayer).
    Throttle(ThrottleCondition),
    /// The state of a [`LoadShedLayer`](crate::load_shed::LoadShedLayer).
    LoadShed(GateCondition),
    /// The state of a [`QuarantineLayer`](crate::quarantine::QuarantineLayer).
    Quarantine(QuarantineCondition),
    /// The state of a [`FallbackLayer`](crate::fallback::FallbackLayer).
    Fallback(FallbackCondition),
    /// The state of a [`ChaosLayer`](crate::chaos::ChaosLayer).
    Chaos(ChaosCondition),
    /// The state of a [`BalanceLayer`](crate::balance::BalanceLayer).
    Balance(BalanceCondition),
    /// The state of the settings of all stacks: see `stack::Stacks`.
    Settings(SettingsCondition),
}

/// Whether the last settings that were loaded are in force.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SettingsCondition {
    /// The faults of these settings, by path: at most twenty. Empty if the settings were applied.
    pub faults: Vec<String>,
    /// How long ago they were rejected; `None` if they were applied.
    #[cfg_attr(feature = "config", serde(rename = "rejected_for_s", serialize_with = "some_seconds"))]
    pub rejected_for: Option<Duration>,
}

/// The settings of a deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeadlineCondition {
    /// The timeout of the whole call.
    #[cfg_attr(feature = "config", serde(rename = "timeout_s", serialize_with = "seconds"))]
    pub timeout: Duration,
    /// The timeout of the response head.
    #[cfg_attr(feature = "config", serde(rename = "head_timeout_s", serialize_with = "some_seconds"))]
    pub head_timeout: Option<Duration>,
    /// The timeout between two frames of the body.
    #[cfg_attr(feature = "config", serde(rename = "idle_timeout_s", serialize_with = "some_seconds"))]
    pub idle_timeout: Option<Duration>,
    /// The timeout of the body.
    #[cfg_attr(feature = "config", serde(rename = "body_timeout_s", serialize_with = "some_seconds"))]
    pub body_timeout: Option<Duration>,
}

/// The retries made so far, and what the budget allows.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryCondition {
    /// Whether retries are enabled.
    pub enabled: bool,
    /// The maximum number of attempts per call.
    pub max_attempts: u32,
    /// How many retries the budget could pay for now. With keys: the budget of calls without a key.
    pub budget_left: u32,
    /// The share of the wanted retries that the budget [grants](crate::retry::Budget::granted_share): less than 1 if recent retries
    /// have not helped. With keys: as above.
    pub granted_share: f64,
    /// The retries, by the verdict on the previous attempt.
    pub retries: Counts,
    /// The retries that were in order and not made, by reason.
    pub not_retried: Counts,
}

/// The hedges made so far, when the next are made, and what the budget allows.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HedgeCondition {
    /// Whether hedges are enabled.
    pub enabled: bool,
    /// The maximum number of attempts per call.
    pub max_attempts: u32,
    /// How long an attempt may take before it is hedged; `None` if slow attempts are not hedged now. With keys: that of calls
    /// without a key.
    #[cfg_attr(feature = "config", serde(rename = "delay_s", serialize_with = "some_seconds"))]
    pub delay: Option<Duration>,
    /// How many hedges the budget could pay for now. With keys: the budget of calls without a key.
    pub budget_left: u32,
    /// The share of the wanted hedges that the budget [grants](crate::retry::Budget::granted_share): less than 1 if recent retries
    /// and hedges have not helped. With keys: as above.
    pub granted_share: f64,
    /// How many seconds of the dependency's time [`time_ratio`](crate::hedge::HedgeConfig::time_ratio) leaves to hedges now: none starts
    /// below zero. With keys: as above.
    #[cfg_attr(feature = "config", serde(rename = "time_left_s"))]
    pub time_left: f64,
    /// The hedges, by what made them: `slow`, or the verdict on the attempt that failed.
    pub hedges: Counts,
    /// The hedges that were in order and not made, by reason.
    pub not_hedged: Counts,
    /// The calls that a hedge answered.
    pub won: u64,
}

/// How many endpoints a quorum has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QuorumCondition {
    /// To how many endpoints a call is sent.
    pub endpoints: u32,
    /// How many of them have to agree.
    pub agree: u32,
}

/// The requests that are suspected of killing instances, and those that are refused for it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QuarantineCondition {
    /// Whether losses are recorded and calls refused.
    pub enabled: bool,
    /// The fingerprints of which one call at a time is sent.
    pub suspects: usize,
    /// The fingerprints that are refused.
    pub quarantined: usize,
    /// The calls that wait for their turn.
    pub waiting: usize,
    /// How often a fingerprint was quarantined.
    pub quarantines: u64,
}

/// The faults that are injected.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ChaosCondition {
    /// Whether faults are injected now.
    pub is_on: bool,
    /// When they end by themselves; `None` if they are off, or have no end.
    #[cfg_attr(feature = "config", serde(rename = "ends_in_s", serialize_with = "some_seconds"))]
    pub ends_in: Option<Duration>,
    /// The faults in progress.
    pub active: u32,
    /// How many may be.
    pub max_active: u32,
    /// The calls that got a fault, by fault.
    pub injected: Counts,
    /// The calls that got none because of `max_active`.
    pub spared: u64,
}

/// The failed calls that a fallback has answered.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FallbackCondition {
    /// Whether the fallback is enabled.
    pub enabled: bool,
    /// The failed calls that it answered, by cause.
    pub answered: Counts,
    /// The failed calls that it did not answer, by reason.
    pub not_answered: Counts,
}

/// How full a bulkhead or a load shedder is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GateCondition {
    /// The permits in use, over all keys.
    pub in_flight: u64,
    /// The calls that wait for permits, over all keys.
    pub waiting: u64,
    /// The permits of each key.
    pub limit: u32,
    /// How long a permit is held on average; zero if unknown, as after a second without calls. With keys: the longest of all.
    #[cfg_attr(feature = "config", serde(rename = "service_time_s", serialize_with = "seconds"))]
    pub service_time: Duration,
    /// How late the runtime polls tasks that are ready; of several runtimes, the latest. `None` if it is not measured: see
    /// [`max_lag`](crate::load_shed::LoadShedConfig::max_lag).
    #[cfg_attr(feature = "config", serde(rename = "runtime_lag_s", serialize_with = "some_seconds"))]
    pub runtime_lag: Option<Duration>,
    /// The share of the calls that is refused because of the lag, within `0..=1`.
    pub refused_share: f64,
}

/// The state of a breaker, and the calls of its window. With keys: the window of the breaker for calls without a key; `open_keys`
/// counts the others.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BreakerCondition {
    /// The state. With keys: the worst of all.
    pub state: State,
    /// How long it has been in this state.
    #[cfg_attr(feature = "config", serde(rename = "since_s", serialize_with = "seconds"))]
    pub since: Duration,
    /// What opened it, how long ago, and when the next probe is due; none of these while it is closed or disabled. With keys: of the
    /// breaker in the worst state; of several, of the earliest.
    pub outage: Numbers,
    /// Whether it only observes and refuses nothing, whatever its state.
    pub observe_only: bool,
    /// The calls of the window.
    pub calls: u64,
    /// The failed calls of the window.
    pub failures: u64,
    /// The slow calls of the window.
    pub slow: u64,
    /// The calls in flight.
    pub in_flight: u64,
    /// The calls in flight past the slow threshold.
    pub overdue: u64,
    /// The keys whose breaker is not closed.
    pub open_keys: usize,
    /// The number of state transitions.
    pub transitions: u64,
    /// The last state transition.
    pub last_transition: Option<LastTransition>,
}

/// The last state transition of a breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastTransition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// How long ago.
    #[cfg_attr(feature = "config", serde(rename = "ago_s", serialize_with = "seconds"))]
    pub ago: Duration,
}

/// The rate of a rate limit, and the calls that wait for it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RateLimitCondition {
    /// The calls that may start in a second, in the long run.
    pub per_second: f64,
    /// The calls that may start at once after a pause.
    pub burst: u32,
    /// The calls that wait, over all keys.
    pub waiting: u64,
    /// The calls that have started.
    pub passed: u64,
}

/// The calls of a throttle's window, and how many of all calls it refuses. With keys: the calls of all keys, and the highest share.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThrottleCondition {
    /// Whether calls are counted and refused.
    pub enabled: bool,
    /// All calls, those that were refused locally included.
    pub requests: u64,
    /// The calls that were sent and not refused by the dependency.
    pub accepted: u64,
    /// The share of the calls that is refused locally, within `0..=1`.
    pub share: f64,
}

/// A change to a component by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Command {
    /// Forces a circuit breaker open: it refuses all calls until it is changed again. This isolates a dependency.
    ForceOpen,
    /// Disables a circuit breaker: it lets all calls pass and counts nothing until it is changed again.
    Disable,
    /// Makes a circuit breaker observe: it counts and changes its state, but refuses nothing.
    Observe,
    /// Makes a circuit breaker refuse calls again.
    Enforce,
    /// Clears the counts of a circuit breaker, and closes it if it opened by itself.
    Reset,
    /// Sets the number of permits for each key of a bulkhead or a load shedder.
    SetLimit(NonZeroU32),
}
