//! The calls that wait for a permit: one queue for all endpoints, so that a call takes whichever endpoint is free first.
//!
//! It has the order, the bounds and the refusals of a bulkhead's queue. A permit that is released while calls wait goes to the call at
//! the head, with its endpoint. A call that arrives meanwhile joins the queue and overtakes none.

use std::sync::Arc;
use std::task::Waker;

use super::endpoint_set::EndpointSet;
use super::endpoint_state::{EndpointState, SetState};
use super::permit::Permit;
use crate::admission::gate::{GateQueue, GateQueuePosition, Outcome, PermitRequest, Turns, wake};
use crate::algorithm::queue::{self, Refusal, Until, Wait};
use crate::ground::error::{Numbers, Reason};
use crate::ground::scope::Priority;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};

/// What a waiting call is granted: an endpoint at which it is counted, and how many calls are in flight there with it.
type Grant = (Arc<EndpointState>, u32);

type Queue = GateQueue<Grant>;

/// See the module.
#[derive(Debug)]
pub(super) struct WaitQueue {
    common: Arc<SetState>,
    queue: Mutex<Queue>,
}

impl WaitQueue {
    pub(super) fn new(common: Arc<SetState>, turns: Turns) -> Self {
        Self { common, queue: Mutex::new(Queue::new(turns)) }
    }

    pub(super) fn len(&self) -> u32 {
        self.common.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn set_turns(&self, turns: Turns) {
        lock(&self.queue).set_turns(turns);
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

    /// The priority of the call at the head.
    pub(super) fn highest_priority(&self) -> Option<Priority> {
        if self.len() == 0 { None } else { lock(&self.queue).head().map(|head| head.priority) }
    }

    /// Wakes all waiting calls, which look at the endpoints again.
    pub(super) fn wake_all(&self) {
        let woken = lock(&self.queue).take_wakers();
        wake(woken);
    }

    fn serve_all_locked(&self, queue: &mut Queue, set: &EndpointSet, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        for member in set.serving() {
            if queue.len() == 0 {
                break;
            }
            woken.extend(self.serve_locked(queue, &member.state, set.limits.max_concurrent, now));
        }
        woken
    }

    fn serve_locked(&self, queue: &mut Queue, endpoint: &Arc<EndpointState>, limit: u32, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        let service = self.common.service.read(now);
        while queue.len() > 0 {
            if !queue.head_fits(now, service) {
                self.common.waiting.fetch_sub(1, Ordering::SeqCst);
                woken.extend(queue.refuse_head(Reason::NotInTime));
                continue;
            }
            let Some(level) = endpoint.begin(limit, now) else { break };
            self.common.waiting.fetch_sub(1, Ordering::SeqCst);
            woken.extend(queue.grant_head((Arc::clone(endpoint), level)));
        }
        woken
    }

    /// A position for a new call and the end of its wait, or its refusal. Wake the wakers once the position has an owner.
    pub(super) fn enter(
        &self,
        set: &EndpointSet,
        wanted: PermitRequest,
        now: Instant,
    ) -> Result<(GateQueuePosition, Until, Vec<Waker>), Refusal> {
        // It looks at all endpoints: not under the lock.
        let capacity = set.capacity();
        let mut queue = lock(&self.queue);
        let service = self.common.service.read(now);
        let predicted = queue.ahead(&wanted).wait(1, capacity, service.mean);
        let wait = Wait { now, deadline: wanted.deadline, max_wait: set.limits.max_wait, predicted, service };
        let entered = wait.decide(&mut queue.standing).and_then(|until| {
            let (position, last) =
                queue.enter(wanted, 1, wanted.cost(1, capacity, service.mean), set.limits.max_waiting)?;
            let mut woken = self.entered(&mut queue, last.is_none(), set, now);
            woken.extend(last.flatten());
            Ok((position, until, woken))
        });
        drop(queue);
        entered.map_err(|refusal| self.numbered(wait.explain(refusal), set))
    }

    /// A position for a call that was granted a permit and cannot use it. It is never refused for want of room.
    pub(super) fn enter_again(
        &self,
        set: &EndpointSet,
        wanted: PermitRequest,
        now: Instant,
    ) -> Option<(GateQueuePosition, Vec<Waker>)> {
        let mut queue = lock(&self.queue);
        let (position, _) = queue.enter(PermitRequest { returning: true, ..wanted }, 1, 1, u32::MAX).ok()?;
        let woken = self.entered(&mut queue, true, set, now);
        Some((position, woken))
    }

    /// A call has entered. A permit that was released before it was counted went to no call, so the first one looks for it.
    fn entered(&self, queue: &mut Queue, is_more: bool, set: &EndpointSet, now: Instant) -> Vec<Waker> {
        let before = if is_more { self.common.waiting.fetch_add(1, Ordering::SeqCst) } else { self.len() };
        if before == 0 { self.serve_all_locked(queue, set, now) } else { Vec::new() }
    }

    /// The outcome of a call, once. If there is none yet, the waker is registered.
    pub(super) fn take_outcome(&self, position: GateQueuePosition, waker: Waker) -> Option<Outcome<Permit>> {
        let mut queue = lock(&self.queue);
        let outcome = queue.take_outcome(position);
        let unused = if outcome.is_none() { queue.register(position, waker) } else { Some(waker) };
        drop(queue);
        // The permit has an owner before the waker is dropped, which is foreign code: if that panics, the permit is released.
        let outcome = outcome.map(owned);
        foreign(|| drop(unused));
        outcome
    }

    /// A call leaves. Returns an outcome that was decided before.
    pub(super) fn leave(&self, position: GateQueuePosition) -> Option<Outcome<Permit>> {
        let mut queue = lock(&self.queue);
        let Some(left) = queue.leave(position) else {
            let outcome = queue.take_outcome(position);
            drop(queue);
            return outcome.map(owned);
        };
        self.common.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(queue);
        foreign(|| drop(left));
        None
    }

    /// The refusal of a call that has waited.
    pub(super) fn refuse(&self, reason: Reason, deadline: Option<Instant>, set: &EndpointSet) -> Refusal {
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

fn owned(outcome: Outcome<Grant>) -> Outcome<Permit> {
    match outcome {
        Outcome::Granted((endpoint, level)) => Outcome::Granted(Permit::counted(endpoint, level)),
        Outcome::Refused(reason) => Outcome::Refused(reason),
    }
}
