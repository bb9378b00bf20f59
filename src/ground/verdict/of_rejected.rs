//! The verdict of a call that a layer refused or ended.

use super::verdicts::Verdict;
use crate::ground::error::{Reason, Rejected};

impl Rejected {
    /// What this says about the dependency. A call that was cut while somebody waited for it timed out. A response that
    /// nobody waited for at that moment was abandoned: the pause is the reader's own time. A call that was never sent says nothing.
    pub fn verdict(&self) -> Verdict {
        match self.reason() {
            _ if self.is_paused() => Verdict::Abandoned,
            Reason::DeadlineExceeded
            | Reason::HeadTimeout
            | Reason::IdleTimeout
            | Reason::AttemptTimeout
            | Reason::HoldExceeded => Verdict::TimedOut,
            Reason::DeadlineExpired
            | Reason::NotReady
            | Reason::CircuitOpen
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::NotInTime
            | Reason::RateLimited
            | Reason::Displaced
            | Reason::RequestIdle => Verdict::Ignored,
        }
    }
}
