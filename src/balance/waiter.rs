use std::sync::Arc;
use std::task::{Context, Poll};

use super::balancer::Balancer;
use super::endpoint_set::EndpointSet;
use super::permit::Permit;
use crate::admission::gate::{GateQueuePosition, Outcome, PermitRequest, wake};
use crate::admission::timer::Timer;
use crate::algorithm::queue::{Refusal, Until};
use crate::ground::error::Reason;
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};

/// A position in the queue of a balancer, released on drop.
#[derive(Debug)]
#[must_use]
pub(super) struct Waiter {
    balancer: Arc<Balancer>,
    wanted: PermitRequest,
    /// `None` once the outcome is known.
    position: Option<GateQueuePosition>,
    until: Until,
    timer: Timer,
}

impl Waiter {
    /// A position for a new call, or its refusal.
    pub(super) fn enter(
        balancer: &Arc<Balancer>,
        set: &EndpointSet,
        wanted: PermitRequest,
        now: Instant,
    ) -> Result<Self, Refusal> {
        let (position, until, woken) = balancer.queue.enter(set, wanted, now)?;
        // The position has an owner before foreign code runs: if that panics, the position is released.
        let balancer = Arc::clone(balancer);
        let waiter = Self { balancer, wanted, position: Some(position), until, timer: Timer::new() };
        wake(woken);
        waiter.serve_if_replaced(set);
        Ok(waiter)
    }

    /// The set was replaced before the call was in the queue: nobody has served it from the new one.
    fn serve_if_replaced(&self, set: &EndpointSet) {
        if self.balancer.is_replaced(set) {
            self.balancer.serve_all();
        }
    }

    /// Waits again, ahead of all new calls, because the endpoint does not take the call after all. The bound of the wait stays.
    pub(super) fn enter_again(&mut self) {
        let set = Arc::clone(&self.balancer.set.load());
        let Some((position, woken)) = self.balancer.queue.enter_again(&set, self.wanted, time::now()) else { return };
        self.position = Some(position);
        wake(woken);
        self.serve_if_replaced(&set);
    }

    /// Ready with the outcome. If there is none yet, the waker is registered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Refusal>> {
        let Some(position) = self.position else { return Poll::Pending };
        let waker = foreign(|| cx.waker().clone());
        match self.balancer.queue.take_outcome(position, waker) {
            None => Poll::Pending,
            Some(outcome) => Poll::Ready(self.end(outcome)),
        }
    }

    /// Ready with the outcome at the end of the wait, and with `None` if that is not `sooner`.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, sooner: Instant) -> Poll<Option<Result<Permit, Refusal>>> {
        let at = sooner.min(self.until.at);
        if self.timer.poll_until(cx, at).is_pending() {
            return Poll::Pending;
        }
        // If it is too early, the runtime has shut down, and no timer works any more: the call would look at the endpoints all the time.
        if at < self.until.at && time::now() >= at {
            return Poll::Ready(None);
        }
        let outcome = self.leave().unwrap_or(Outcome::Refused(self.until.reason));
        Poll::Ready(Some(self.end(outcome)))
    }

    fn end(&mut self, outcome: Outcome<Permit>) -> Result<Permit, Refusal> {
        self.position = None;
        let result = match outcome {
            Outcome::Granted(permit) => Ok(permit),
            Outcome::Refused(reason) => Err(self.refusal(reason)),
        };
        // Disarming drops a waker, which is foreign code. By now the permit has an owner, even if that panics.
        self.timer.disarm();
        result
    }

    /// The refusal of a call that has waited. If no set of endpoints has come in all that time, no permit was missing.
    fn refusal(&self, reason: Reason) -> Refusal {
        let set = self.balancer.set.load();
        if set.members.is_empty() && matches!(reason, Reason::QueueTimeout | Reason::NotInTime) {
            return Refusal { numbers: set.numbers(time::now()), ..Refusal::new(Reason::NoEndpoints) };
        }
        self.balancer.queue.refuse(reason, self.wanted.deadline, &set)
    }

    fn leave(&mut self) -> Option<Outcome<Permit>> {
        self.balancer.queue.leave(self.position.take()?)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A permit that was granted is released.
        drop(self.leave());
    }
}
