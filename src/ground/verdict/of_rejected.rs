//! The verdict of a call that a layer refused or ended.

use super::verdicts::Verdict;
use crate::ground::error::{Reason, Rejected};

impl Rejected {
    /// The verdict on the dependency. A call that was cut while its caller waited timed out. A response that was cut in a pause
    /// of its reader was abandoned: the pause is the reader's own time. A call that was never sent is no evidence.
    pub fn verdict(&self) -> Verdict {
        if self.is_paused() { Verdict::Abandoned } else { self.reason().verdict() }
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
            // It was sent, and failed at so many endpoints that the dependency as a whole has.
            Self::NoQuorum => Verdict::Transient,
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
            | Self::NoEndpoints => Verdict::Ignored,
        }
    }
}
