//! What opened a circuit breaker.

/// The cause that opened a circuit breaker. Logs, snapshots and texts use the name of the setting that decided, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TripCause {
    /// The failure rate of the window reached `failure_rate`.
    FailureRate,
    /// The rate of slow calls in the window reached `slow_rate`.
    SlowRate,
    /// `consecutive_failures` calls failed, without a good answer in between.
    ConsecutiveFailures,
    /// Calls in flight are past the slow threshold, and too few others are answered.
    Hanging,
    /// Calls ended without an answer, and none was answered for the slow threshold: no connections, or callers that gave up.
    Unanswered,
    /// An operator has forced it open.
    ForcedOpen,
}

impl TripCause {
    /// The cause in one word, for logs and snapshots.
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
            Self::FailureRate => "the circuit is open because too many calls failed: `failure_rate` reached",
            Self::SlowRate => "the circuit is open because too many calls were slow: `slow_rate` reached",
            Self::ConsecutiveFailures => {
                "the circuit is open because too many calls failed in a row: `consecutive_failures` reached"
            }
            Self::Hanging => "the circuit is open because the dependency hangs",
            Self::Unanswered => "the circuit is open because no call was answered",
            Self::ForcedOpen => "the circuit was forced open by hand, and stays open until it is set to enforce",
        }
    }
}

/// The calls that opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) cause: TripCause,
    /// All calls that were judged. Zero if it was forced open.
    pub(crate) calls: u32,
    pub(crate) failures: u32,
    pub(crate) slow: u32,
    /// In flight past the slow threshold.
    pub(crate) overdue: u32,
    /// Ended without an answer.
    pub(crate) unanswered: u32,
    /// The last of them was refused at once, before anything was sent.
    pub(crate) is_unreachable: bool,
}

impl Trip {
    /// Without calls.
    pub(crate) const fn by(cause: TripCause) -> Self {
        Self { cause, calls: 0, failures: 0, slow: 0, overdue: 0, unanswered: 0, is_unreachable: false }
    }
}
