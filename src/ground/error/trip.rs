//! What opened a circuit breaker.

/// What opened a circuit breaker. In logs, snapshots and texts it is the word of the setting that decided, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TripCause {
    /// The share of failures in the window reached `failure_rate`.
    FailureRate,
    /// The share of slow calls in the window reached `slow_rate`.
    SlowRate,
    /// `consecutive_failures` calls failed, and no call was answered well in between.
    ConsecutiveFailures,
    /// Calls in flight are past the slow threshold, and too few others are answered.
    Hanging,
    /// Calls ended without any answer, and none was answered for as long as the slow threshold: no connection, or callers that gave up.
    Unanswered,
    /// It was forced open by hand.
    ForcedOpen,
}

impl TripCause {
    /// The cause in one word, as logs and snapshots have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::Hanging => "hanging",
            Self::Unanswered => "unanswered",
            Self::ForcedOpen => "forced_open",
        }
    }

    /// The text of a refusal with this cause.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::FailureRate => "the circuit is open because too many calls failed (failure_rate)",
            Self::SlowRate => "the circuit is open because too many calls were slow (slow_rate)",
            Self::ConsecutiveFailures => "the circuit is open because of consecutive_failures",
            Self::Hanging => "the circuit is open because the dependency hangs",
            Self::Unanswered => "the circuit is open because no call was answered",
            Self::ForcedOpen => "the circuit was forced open by hand, and stays open until it is told to enforce",
        }
    }
}

/// The calls that opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) cause: TripCause,
    /// All that were judged. Zero if it was forced open.
    pub(crate) calls: u32,
    pub(crate) failures: u32,
    pub(crate) slow: u32,
    /// In flight past the slow threshold.
    pub(crate) overdue: u32,
    /// Ended without an answer.
    pub(crate) unanswered: u32,
}

impl Trip {
    /// No calls yet, or none at all.
    pub(crate) const fn by(cause: TripCause) -> Self {
        Self { cause, calls: 0, failures: 0, slow: 0, overdue: 0, unanswered: 0 }
    }
}
