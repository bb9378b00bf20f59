//! A lost call, and what it has to do with others at the same endpoint.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::ground::instant::Instant;

/// A call that is sent so soon after a crash may be lost to it: its connection is dead, and the client does not know it yet.
const AFTERMATH: Duration = Duration::from_millis(10);

/// An endpoint that answers so soon after a loss has not crashed: few restart as fast.
pub(crate) const ALIVE: Duration = Duration::from_secs(1);

/// The endpoint of a call; `None` if it is unknown. All unknown endpoints count as one.
pub(crate) type At = Option<NonZeroU64>;

/// A call that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) fingerprint: u64,
    pub(crate) endpoint: At,
    pub(crate) sent: Instant,
    pub(crate) at: Instant,
}

impl Loss {
    /// Whether the crash in which this call was lost may be that of `other`, too: `other` was in flight when this one was lost, or
    /// was sent in the aftermath.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.sent <= other.at && other.sent <= self.at + AFTERMATH
    }

    /// Whether both are of one fingerprint, and were lost in one crash.
    pub(super) fn is_of_crash_of(&self, other: &Self) -> bool {
        let apart = self.at.max(other.at).since(self.at.min(other.at));
        self.fingerprint == other.fingerprint && self.endpoint == other.endpoint && apart <= AFTERMATH
    }

    /// Whether the endpoint has survived this loss: it answers, at `now`, a call that was sent there soon after.
    pub(super) fn is_survived(&self, endpoint: At, sent: Instant, now: Instant) -> bool {
        endpoint.is_some() && self.endpoint == endpoint && self.at <= sent && now <= self.at + ALIVE
    }
}
