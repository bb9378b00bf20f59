use std::sync::Arc;
use std::task::{Context, Poll};

use super::balancer::Balancer;
use super::endpoint_set::EndpointSet;
use super::permit::Permit;
use super::retry_queue::{RetryPlace, RetryRequest};
use crate::admission::gate::wake;
use crate::admission::timer::Timer;
use crate::ground::sync::foreign;
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

/// A further attempt in the queue of those, which it leaves on drop.
#[derive(Debug)]
#[must_use]
pub(super) struct RetryWaiter {
    balancer: Arc<Balancer>,
    attempted: Arc<AttemptedEndpoints>,
    /// `None` once it has a permit.
    id: Option<u64>,
    until: Instant,
    timer: Timer,
}

impl RetryWaiter {
    /// A place for an attempt, unless the wait is of no use.
    pub(super) fn enter(balancer: &Arc<Balancer>, set: &EndpointSet, request: RetryRequest) -> Option<Self> {
        let attempted = Arc::clone(&request.attempted);
        let RetryPlace { id, until, woken } = balancer.retries.enter(set, request)?;
        // The place has an owner before foreign code runs.
        let waiter = Self { balancer: Arc::clone(balancer), attempted, id: Some(id), until, timer: Timer::new() };
        wake(woken);
        // The set was replaced before the attempt was in the queue: nobody has served it from the new one.
        if balancer.is_replaced(set) {
            balancer.serve_all();
        }
        Some(waiter)
    }

    /// Ready with a permit, or with `None` if the attempt is to take what there is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        let Some(id) = self.id else { return Poll::Pending };
        let waker = foreign(|| cx.waker().clone());
        if let Some(permit) = self.balancer.retries.take_permit(id, waker) {
            self.id = None;
            return Poll::Ready(Some(permit));
        }
        // The waker is registered by now, so no change of the set is missed.
        if !self.balancer.set.load().serves_others(&self.attempted) {
            return Poll::Ready(self.leave());
        }
        match self.timer.poll_until(cx, self.until) {
            Poll::Ready(()) => Poll::Ready(self.leave()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn leave(&mut self) -> Option<Permit> {
        self.balancer.retries.leave(self.id.take()?)
    }
}

impl Drop for RetryWaiter {
    fn drop(&mut self) {
        // A permit that was granted is released.
        drop(self.leave());
    }
}
