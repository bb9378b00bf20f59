use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::balancer::Balancer;
use super::endpoint_state::EndpointState;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::layers::core::observed;

/// A call in flight at an endpoint. It is settled once, with the verdict on the call; if it is dropped instead, the call was abandoned.
pub struct EndpointCall {
    /// `None` once it is settled.
    endpoint: Option<Arc<EndpointState>>,
    balancer: Arc<Balancer>,
    since: Instant,
    /// How long the endpoint took for the head of its response, or for one frame of the body if that was longer.
    took: Option<Duration>,
    /// A call that was never polled says nothing about the endpoint, however long it was kept.
    polled: bool,
    /// Later than the bounds of the endpoint's breaker and bulkhead.
    bound: CallDeadline,
}

impl EndpointCall {
    #[inline]
    pub(super) fn new(
        endpoint: Arc<EndpointState>,
        balancer: Arc<Balancer>,
        now: Instant,
        bound: CallDeadline,
    ) -> Self {
        endpoint.load.begin(now);
        Self { endpoint: Some(endpoint), balancer, since: now, took: None, polled: false, bound }
    }

    pub(super) fn polled(&mut self) {
        self.polled = true;
    }

    pub(super) fn is_polled(&self) -> bool {
        self.polled
    }

    /// The head of the response has arrived, after so much time at the endpoint.
    pub(super) fn answered(&mut self, took: Duration) {
        self.took = Some(took);
    }

    /// The call has ended at `now`.
    pub(super) fn end(&mut self, verdict: Verdict, now: Instant) {
        let Some(endpoint) = self.endpoint.take() else { return };
        let verdict = if self.polled { verdict } else { Verdict::Ignored };
        let took = self.took.unwrap_or_else(|| now.since(self.since));
        endpoint.record(verdict, took, now, self.balancer.load());
        if self.polled {
            observed::record(self.balancer.instruments(), verdict, took);
        }
    }
}

impl SealedGuard for EndpointCall {}

impl Guard for EndpointCall {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        // An inner layer hands over its clock read for the response.
        self.end(verdict, scope::call_start());
    }

    /// The longest wait counts: a stream is not slow because it is long.
    fn waited(&mut self, time: Duration) {
        self.took = self.took.map(|took| took.max(time));
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.balancer.instruments().layer_id(), &self.bound)
    }
}

impl Drop for EndpointCall {
    #[inline]
    fn drop(&mut self) {
        if self.endpoint.is_some() {
            let now = time::now();
            // Cut by an outer layer at the deadline. After the head, the time was that of the reader too.
            let is_late = self.took.is_none() && self.bound.at() <= now;
            self.end(if is_late { Verdict::TimedOut } else { Verdict::Abandoned }, now);
        }
    }
}

impl fmt::Debug for EndpointCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointCall").field("took", &self.took).finish_non_exhaustive()
    }
}
