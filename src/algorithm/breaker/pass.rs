//! The decisions for calls, and what an admitted call holds.

use std::time::Duration;

use super::ages::Age;
use super::detect::Detection;

/// The decision for a call of a closed breaker.
#[derive(Debug)]
#[must_use]
pub(crate) enum Entry {
    /// The call passes and is counted.
    Closed(ClosedCall),
    /// The dependency hangs: trip the machine, and admit the call again.
    Trip(Detection),
    /// The breaker is not closed.
    NotClosed,
}

/// A call that was admitted while closed. It must be returned once, to [`Machine::leave`](super::Machine::leave).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct ClosedCall {
    pub(super) generation: u64,
    /// `None` while it does not age.
    pub(super) age: Option<Age>,
}

impl ClosedCall {
    /// Whether the dependency is processing it, as far as is known.
    #[inline]
    pub(crate) fn ages(&self) -> bool {
        self.age.is_some()
    }
}

/// The decision for a call of a breaker that is not closed.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    /// The breaker has closed: the call passes and is counted.
    Closed(ClosedCall),
    /// The call passes as a probe, and its end has to be recorded.
    Probe(Probe),
    /// The call passes, and its end is not recorded.
    Free,
    /// The call does not pass. `retry_after` is set if the wait is known.
    Refused { retry_after: Option<Duration> },
}

/// A slot among the probes. It must be returned through [`Machine::record`](super::Machine::record).
///
/// Its number is never reused, so the end of a stale probe cannot count in a later half-open phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe(pub(super) u64);

/// A call that passes although no call should, since connections are refused here and there is no other endpoint. It must be returned
/// through [`Machine::record_last_resort`](super::Machine::record_last_resort).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastResort {
    pub(super) generation: u64,
}

/// The pass of an admitted call. It must be returned once.
#[derive(Debug)]
#[must_use]
pub(crate) enum Pass {
    Closed(ClosedCall),
    Probe(Probe),
    LastResort(LastResort),
    /// The end of the call is not recorded.
    Free,
}
