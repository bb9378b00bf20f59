//! The calls that wait for a permit: one queue for all endpoints, so that a call takes whichever endpoint is free first.
//!
//! It has the order, the bounds and the refusals of a bulkhead's queue. A permit that is released while calls wait goes to the call at
//! the head, with its endpoint. A call that arrives meanwhile joins the queue and overtakes none.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::balancer::Balancer;
use super::endpoint_set::EndpointSet;
use super::endpoint_state::EndpointState;
use super::permit::Permit;
use super::set_state::SetState;
use crate::admission::gate::{GateQueue, GateQueuePosition, Order, Outcome, PermitRequest, wake};
use crate::admission::timer::Timer;
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::queue::{self, Refusal, Until, Wait};
use crate::ground::error::{Numbers, Reason};
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};

type Queue = GateQueue<Arc<EndpointState>>;

/// See the module.
#[derive(Debug)]
pub(super) struct WaitQueue {
    common: Arc<SetState>,
    queue: Mutex<Queue>,
}

impl WaitQueue {
    pub(super) fn new(common: Arc<SetState>, order: Order) -> Self {
        Self { common, queue: Mutex::new(Queue::new(order)) }
    }

    pub(super) fn len(&self) -> u32 {
        self.common.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn set_order(&self, order: Order) {
        lock(&self.queue).set_order(order);
    }

    /// Gives the free permits of an endpoint to the calls at the head.
    pub(super) fn serve(&self, endpoint: &Arc<EndpointState>, limit: u32, now: Instant) {
        let woken = {
            let mut queue = lock(&self.queue);
            self.serve_locked(&mut queue, endpoint, limit, now)
        };
        wake(woken);
    }

    /// Gives the free permits of all endpoints to the calls at the head, and wakes the others to look at the endpoints again.
    pub(super) fn serve_all(&self, set: &EndpointSet, now: Instant) {
        let mut queue = lock(&self.queue);
        let mut woken = self.serve_all_locked(&mut queue, set, now);
        woken.extend(queue.take_wakers());
        drop(queue);
        wake(woken);
    }

    fn serve_all_locked(&self, queue: &mut Queue, set: &EndpointSet, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        for member in set.serving() {
            if queue.len() == 0 {
                break;
            }
            woken.extend(self.serve_locked(queue, &member.state, set.queue_limit(&member.state, now), now));
        }
        woken
    }

    fn serve_locked(&self, queue: &mut Queue, endpoint: &Arc<EndpointState>, limit: u32, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        let service = self.common.service.read(now);
        while let Some(head) = queue.head() {
            if !head.should_serve(now, service, queue.len() > 1) {
                self.common.waiting.fetch_sub(1, Ordering::SeqCst);
                woken.extend(queue.refuse_head(Reason::NotInTime));
                continue;
            }
            if !endpoint.load.begin(now, limit) {
                break;
            }
            self.common.waiting.fetch_sub(1, Ordering::SeqCst);
            woken.extend(queue.grant_head(Arc::clone(endpoint)));
        }
        woken
    }

    /// The refusal of a call that has waited.
    fn refuse(&self, reason: Reason, deadline: Option<Instant>, set: &EndpointSet) -> Refusal {
        let now = time::now();
        let service = self.common.service.read(now);
        let predicted = queue::predict(self.len().into(), 1, set.capacity(), service.mean);
        let mut numbers = Numbers::NONE.with_expected(predicted.saturating_add(service.mean));
        if let Some(deadline) = deadline {
            numbers = numbers.with_time_left(deadline.since(now));
        }
        self.numbered(Refusal { reason, retry_after: Some(predicted), numbers }, set)
    }

    fn numbered(&self, refusal: Refusal, set: &EndpointSet) -> Refusal {
        let numbers = refusal.numbers.with_waiting(self.len()).with_limit(set.capacity());
        Refusal { numbers, ..refusal }
    }
}

/// A position in the queue, released on drop.
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
        let waits = &balancer.queue;
        let unknown = (Duration::ZERO, ServiceTime::default());
        let mut wait = Wait {
            now,
            deadline: wanted.deadline,
            max_wait: set.limits.max_wait,
            predicted: unknown.0,
            service: unknown.1,
        };
        let mut queue = lock(&waits.queue);
        let service = waits.common.service.read(now);
        let predicted = queue::predict(queue.ahead(&wanted).weight, 1, set.capacity(), service.mean);
        wait = Wait { predicted, service, ..wait };
        let entered = wait.decide().and_then(|until| {
            let (position, last) = queue.enter(wanted, 1, set.limits.max_waiting)?;
            let woken = waits.entered(&mut queue, last.is_none(), set, now);
            Ok((position, until, last.flatten(), woken))
        });
        drop(queue);
        let (position, until, last, mut woken) =
            entered.map_err(|refusal| waits.numbered(wait.explain(refusal), set))?;
        woken.extend(last);
        // The position has an owner before foreign code runs: if that panics, the position is released.
        let waiter =
            Self { balancer: Arc::clone(balancer), wanted, position: Some(position), until, timer: Timer::new() };
        wake(woken);
        Ok(waiter)
    }

    pub(super) fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Waits again, ahead of all new calls, because the endpoint does not take the call after all. The bound of the wait stays.
    pub(super) fn enter_again(&mut self) {
        let (waits, set, now) = (&self.balancer.queue, self.balancer.set.load(), time::now());
        self.wanted.returning = true;
        let mut queue = lock(&waits.queue);
        // A returning call is never refused for want of room.
        let Ok((position, _)) = queue.enter(self.wanted, 1, u32::MAX) else { return };
        let woken = waits.entered(&mut queue, true, &set, now);
        drop(queue);
        self.position = Some(position);
        wake(woken);
    }

    /// Ready with the outcome. If there is none yet, the waker is registered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Refusal>> {
        let Some(position) = self.position else { return Poll::Pending };
        let waker = foreign(|| cx.waker().clone());
        let mut queue = lock(&self.balancer.queue.queue);
        let outcome = queue.take_outcome(position);
        let unused = if outcome.is_none() { queue.register(position, waker) } else { Some(waker) };
        drop(queue);
        foreign(|| drop(unused));
        match outcome {
            None => Poll::Pending,
            Some(outcome) => Poll::Ready(self.end(outcome)),
        }
    }

    /// Ready with a refusal at the end of the wait. `Ready(None)`: it is `sooner`.
    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        sooner: Option<Instant>,
    ) -> Poll<Option<Result<Permit, Refusal>>> {
        let at = sooner.map_or(self.until.at, |sooner| sooner.min(self.until.at));
        if self.timer.poll_until(cx, at).is_pending() {
            return Poll::Pending;
        }
        if at < self.until.at {
            return Poll::Ready(None);
        }
        let outcome = self.leave().unwrap_or(Outcome::Refused(self.until.reason));
        Poll::Ready(Some(self.end(outcome)))
    }

    fn end(&mut self, outcome: Outcome<Arc<EndpointState>>) -> Result<Permit, Refusal> {
        self.position = None;
        let result = match outcome {
            Outcome::Granted(endpoint) => Ok(Permit::counted(endpoint)),
            Outcome::Refused(reason) => {
                Err(self.balancer.queue.refuse(reason, self.wanted.deadline, &self.balancer.set.load()))
            }
        };
        // Disarming drops a waker, which is foreign code. By now the permit has an owner, even if that panics.
        self.timer.disarm();
        result
    }

    /// Leaves the queue. Returns an outcome that was decided before.
    fn leave(&mut self) -> Option<Outcome<Arc<EndpointState>>> {
        let position = self.position.take()?;
        let waits = &self.balancer.queue;
        let mut queue = lock(&waits.queue);
        let Some(left) = queue.leave(position) else {
            return queue.take_outcome(position);
        };
        waits.common.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(queue);
        foreign(|| drop(left));
        None
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(Outcome::Granted(endpoint)) = self.leave() {
            drop(Permit::counted(endpoint));
        }
    }
}

impl WaitQueue {
    /// A call has entered. A permit that was released before it was counted went to no call, so the first one looks for it.
    fn entered(&self, queue: &mut Queue, is_more: bool, set: &EndpointSet, now: Instant) -> Vec<Waker> {
        let before = if is_more { self.common.waiting.fetch_add(1, Ordering::SeqCst) } else { self.len() };
        if before == 0 { self.serve_all_locked(queue, set, now) } else { Vec::new() }
    }
}
