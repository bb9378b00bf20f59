use crate::algorithm::breaker::State;

/// The state and counts of a breaker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// The state.
    pub state: State,
    /// How many calls of the window have ended.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How many of them were slow, or were abandoned late.
    pub slow: u64,
    /// How many calls are in flight: counted calls and probes.
    pub in_flight: u64,
    /// How many of the counted calls in flight are past the slow threshold.
    pub overdue: u64,
}
