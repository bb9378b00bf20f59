use crate::algorithm::breaker::State;

/// What a breaker looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it does with calls.
    pub state: State,
    /// How many calls of the window were settled.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How many of them were slow, or were given up late.
    pub slow: u64,
    /// How many calls are with the callee: counted ones, or probes.
    pub in_flight: u64,
    /// How many of the counted ones are past the slow threshold.
    pub overdue: u64,
}
