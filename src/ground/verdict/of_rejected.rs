//! The verdict of a call that a layer refused or ended.

use super::verdicts::Verdict;
use crate::ground::error::{FailedVotes, Reason, Rejected};

impl Rejected {
    /// The verdict on the dependency. A call that was cut while its caller waited timed out. A response that was cut in a pause
    /// of its reader was abandoned: the pause is the reader's own time. A call that was never sent is no evidence. A call without a
    /// quorum has the verdict of its failed votes.
    pub fn verdict(&self) -> Verdict {
        match self.reason() {
            _ if self.is_paused() => Verdict::Abandoned,
            Reason::NoQuorum => self.failed_votes().verdict(),
            reason => reason.verdict(),
        }
    }
}

impl Reason {
    /// The verdict on the dependency of a call that was refused or cut for this reason.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::DeadlineExceeded
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::AttemptTimeout
            | Self::HoldExceeded => Verdict::TimedOut,
            Self::NoQuorum => FailedVotes::Temporary.verdict(),
            Self::DeadlineExpired
            | Self::NotReady
            | Self::CircuitOpen
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::NotInTime
            | Self::RateLimited
            | Self::Displaced
            | Self::RequestIdle
            | Self::Injected
            | Self::NoEndpoints
            | Self::Quarantined
            | Self::Throttled
            | Self::RuntimeLag => Verdict::Ignored,
        }
    }
}

impl FailedVotes {
    /// What votes with these verdicts prove together, of so many endpoints. If one of the others has answered, or may, something was sent.
    pub(crate) fn of(failed: &[Verdict], endpoints: usize) -> Self {
        match failed {
            failed if failed.len() >= endpoints && failed.iter().all(|verdict| *verdict == Verdict::Ignored) => {
                Self::Ignored
            }
            failed if failed.contains(&Verdict::Lost) => Self::Lost,
            failed if failed.contains(&Verdict::DoNotRetry) => Self::DoNotRetry,
            _ => Self::Temporary,
        }
    }

    const fn verdict(self) -> Verdict {
        match self {
            // It was sent, and failed at so many endpoints that the dependency as a whole has.
            Self::Temporary => Verdict::Transient,
            Self::Ignored => Verdict::Ignored,
            Self::Lost => Verdict::Lost,
            Self::DoNotRetry => Verdict::DoNotRetry,
        }
    }
}
