//! What the registry shows: plain data, of one moment.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::algorithm::breaker::State;
use crate::ground::error::Numbers;

/// How often things happened, by the word that logs and metrics have for them. What never happened is left out.
pub type Counts = BTreeMap<&'static str, u64>;

/// All named layers of a registry at one moment.
///
/// With the feature `config` it can be serialised: durations are numbers of seconds, in fields whose names end in `_s`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The layers, by name, and of one name in no particular order.
    pub components: Vec<ComponentSnapshot>,
}

/// One named layer at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ComponentSnapshot {
    /// The name it was given.
    pub name: String,
    /// Which layer it is, in one word.
    pub layer: &'static str,
    /// How long it has had its name, and counted.
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
    /// The last of them.
    pub last_refusal: Option<LastRefusal>,
    /// The bodies of responses that were cut, by reason.
    pub bodies_cut: Counts,
    /// How often it has been given other settings.
    pub reloads: u64,
    /// What is particular to the layer.
    pub condition: Condition,
}

/// How long successful calls took since the layer was named. The times are right to 6 %.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer.
    #[cfg_attr(feature = "config", serde(rename = "p50_s", serialize_with = "seconds"))]
    pub p50: Duration,
    /// Nine in ten took no longer.
    #[cfg_attr(feature = "config", serde(rename = "p90_s", serialize_with = "seconds"))]
    pub p90: Duration,
    /// Ninety-nine in a hundred took no longer.
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
    /// Why, in one word: see [`Reason`](crate::error::Reason).
    pub reason: &'static str,
    /// How long ago.
    #[cfg_attr(feature = "config", serde(rename = "ago_s", serialize_with = "seconds"))]
    pub ago: Duration,
    /// The numbers that decided it.
    pub numbers: Numbers,
}

/// What is particular to a layer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Condition {
    /// Of a [`DeadlineLayer`](crate::deadline::DeadlineLayer).
    Deadline(DeadlineCondition),
    /// Of a [`RetryLayer`](crate::retry::RetryLayer).
    Retry(RetryCondition),
    /// Of a [`BulkheadLayer`](crate::bulkhead::BulkheadLayer).
    Bulkhead(GateCondition),
    /// Of a [`CircuitBreakerLayer`](crate::circuit_breaker::CircuitBreakerLayer).
    CircuitBreaker(BreakerCondition),
    /// Of a [`RateLimitLayer`](crate::rate_limit::RateLimitLayer).
    RateLimit(RateLimitCondition),
    /// Of a [`LoadShedLayer`](crate::load_shed::LoadShedLayer).
    LoadShed(GateCondition),
    /// Of the settings of all stacks: see `stack::Stacks`.
    Settings(SettingsCondition),
}

/// Whether the last settings that were offered are in force.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SettingsCondition {
    /// What was wrong with them, by path: at most twenty faults. Empty if they were applied.
    pub faults: Vec<String>,
    /// How long ago they were rejected, if they were.
    #[cfg_attr(feature = "config", serde(rename = "rejected_for_s", serialize_with = "some_seconds"))]
    pub rejected_for: Option<Duration>,
}

/// The settings of a deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeadlineCondition {
    /// For the whole call.
    #[cfg_attr(feature = "config", serde(rename = "timeout_s", serialize_with = "seconds"))]
    pub timeout: Duration,
    /// For the head of the response.
    #[cfg_attr(feature = "config", serde(rename = "head_timeout_s", serialize_with = "some_seconds"))]
    pub head_timeout: Option<Duration>,
    /// Between two pieces of the body.
    #[cfg_attr(feature = "config", serde(rename = "idle_timeout_s", serialize_with = "some_seconds"))]
    pub idle_timeout: Option<Duration>,
    /// For the body.
    #[cfg_attr(feature = "config", serde(rename = "body_timeout_s", serialize_with = "some_seconds"))]
    pub body_timeout: Option<Duration>,
}

/// What a retry has done and may do.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryCondition {
    /// Whether calls are tried again at all.
    pub enabled: bool,
    /// The most attempts a call gets.
    pub max_attempts: u32,
    /// How many retries the budget could pay for now; with keys, that of the calls without a key.
    pub budget_left: u32,
    /// The retries, by the verdict on the attempt before.
    pub retries: Counts,
    /// The retries that were wanted and not made, by why.
    pub not_retried: Counts,
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
    /// How long a permit is held on average, if anything is known; with keys, the longest of all.
    #[cfg_attr(feature = "config", serde(rename = "service_time_s", serialize_with = "seconds"))]
    pub service_time: Duration,
}

/// The state of a breaker, and the calls of its window; with keys, of the calls without a key, and `open_keys` counts the others.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BreakerCondition {
    /// What it does with calls; with keys, the worst of all.
    pub state: State,
    /// For how long it has been in it.
    #[cfg_attr(feature = "config", serde(rename = "since_s", serialize_with = "seconds"))]
    pub since: Duration,
    /// What opened it, how long ago, and when it probes next; none of these while it is closed or disabled. With keys, of the worst of all,
    /// and among these of the first.
    pub outage: Numbers,
    /// Whether it refuses nothing, whatever its state.
    pub observe_only: bool,
    /// The calls of the window.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow.
    pub slow: u64,
    /// The calls with the callee.
    pub in_flight: u64,
    /// Those of them past the slow threshold.
    pub overdue: u64,
    /// The keys whose breaker is not closed.
    pub open_keys: usize,
    /// How often a state has changed.
    pub transitions: u64,
    /// The last change.
    pub last_transition: Option<LastTransition>,
}

/// The last change of a breaker's state.
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

/// The rate of a rate limit, and who waits for it.
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
    /// The calls that were let start.
    pub passed: u64,
}

/// What can be done to a component by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Command {
    /// A circuit breaker refuses all calls, until told otherwise: isolates a dependency.
    ForceOpen,
    /// A circuit breaker lets all calls pass and counts nothing, until told otherwise.
    Disable,
    /// A circuit breaker moves and counts, and refuses nothing.
    Observe,
    /// A circuit breaker decides (again).
    Enforce,
    /// A circuit breaker forgets what it has seen, and closes if it had opened by itself.
    Reset,
    /// A bulkhead or a load shedder has so many permits for each key.
    SetLimit(NonZeroU32),
}

#[cfg(feature = "config")]
fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(feature = "config")]
fn some_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
