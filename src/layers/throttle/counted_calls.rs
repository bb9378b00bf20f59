//! The counts of one key, and the part of a call in them.

use std::time::Duration;

use crate::algorithm::throttle::{AdaptiveThrottle, LocalRefusal, SentCall, ThrottleCounts, ThrottlePolicy};
use crate::ground::chance;
use crate::ground::scope::Priority;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::Instant;

/// The counts of one key. Nothing but arithmetic runs under the lock.
#[derive(Debug)]
pub(super) struct CountedCalls(Mutex<AdaptiveThrottle>);

impl CountedCalls {
    pub(super) fn new(window: Duration) -> Self {
        Self(Mutex::new(AdaptiveThrottle::new(window)))
    }

    pub(super) fn admit(
        &self,
        policy: &ThrottlePolicy,
        priority: Priority,
        now: Instant,
    ) -> Result<SentCall, LocalRefusal> {
        lock(&self.0).admit(policy, priority, now, chance::sample)
    }

    pub(super) fn refused(&self, sent: SentCall, retry_after: Option<Duration>, now: Instant) {
        lock(&self.0).refused(sent, retry_after, now);
    }

    pub(super) fn answered(&self, sent: SentCall) {
        lock(&self.0).answered(sent);
    }

    pub(super) fn withdraw(&self, sent: SentCall) {
        lock(&self.0).withdraw(sent);
    }

    pub(super) fn counts(&self, policy: &ThrottlePolicy, now: Instant) -> ThrottleCounts {
        lock(&self.0).counts(policy, now)
    }

    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        lock(&self.0).is_as_new(now)
    }

    /// Takes over the counts of `shared`.
    pub(super) fn inherit(&self, shared: &Self) {
        let counts = lock(&shared.0).clone();
        *lock(&self.0) = counts;
    }
}
