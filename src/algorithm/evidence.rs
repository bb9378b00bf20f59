//! What the end of a call says about the dependency.
//!
//! Callers, queues and dependencies all end calls, and most of these ends say nothing about the dependency's health. This module
//! is the one place that decides which do.

use std::time::Duration;

/// What an ended call says about the dependency, as a circuit breaker uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the breaker and the classifiers come to them one by one")]
pub(crate) enum Evidence {
    /// It answered as it should; it took that long.
    Good(Duration),
    /// It is alive and its health was not tested: it refused by name (`Retry-After`, "do not retry"), or blamed the caller.
    /// Ends a row of failures and answers a probe, but is in no rate and no latency sample.
    Alive,
    /// It failed; it took that long.
    Bad(Duration),
    /// It was cut after at least the slow threshold: a failure, and slow.
    TimedOut,
    /// The caller gave up after at least the slow threshold: a slow call without an answer.
    GivenUpLate,
    /// It was cut or given up before the slow threshold, but had as long as a success usually takes. Counts only while no call at
    /// all is answered.
    Unanswered,
    /// The request never got there. Counts only while no call at all is answered.
    Unsent,
    /// It says nothing.
    Nothing,
}
