//! The further attempts of calls that wait for an endpoint that has not failed the call yet, while it is full and one that has is free.
//!
//! They are not in the queue of the other calls, which take any endpoint: those neither wait behind them nor count them. A permit that is
//! released goes to a further attempt first, as its call has begun, unless a call of higher priority waits. The wait has a bound: see
//! [`patience`](RetryQueue::patience). After that the attempt takes what there is.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::endpoint_set::EndpointSet;
use super::endpoint_state::{EndpointState, SetState};
use super::permit::Permit;
use crate::admission::gate::wake;
use crate::algorithm::queue;
use crate::ground::scope::Priority;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

/// See the module.
#[derive(Debug)]
pub(super) struct RetryQueue {
    common: Arc<SetState>,
    calls: Mutex<RetryCalls>,
}

#[derive(Debug, Default)]
struct RetryCalls {
    last_id: u64,
    /// In the order of their arrival.
    waiting: Vec<RetryCall>,
    /// Those that have a permit and have not taken it.
    granted: Vec<(u64, Arc<EndpointState>, u32)>,
}

#[derive(Debug)]
struct RetryCall {
    id: u64,
    attempted: Arc<AttemptedEndpoints>,
    priority: Priority,
    waker: Option<Waker>,
}

/// An attempt that wants to wait.
#[derive(Clone, Debug)]
pub(super) struct RetryRequest {
    pub(super) attempted: Arc<AttemptedEndpoints>,
    pub(super) priority: Priority,
    pub(super) deadline: Option<Instant>,
    pub(super) now: Instant,
}

/// A place among the waiting attempts. Wake the wakers once it has an owner.
pub(super) struct RetryPlace {
    pub(super) id: u64,
    pub(super) until: Instant,
    pub(super) woken: Vec<Waker>,
}

impl RetryQueue {
    pub(super) fn new(common: Arc<SetState>) -> Self {
        Self { common, calls: Mutex::default() }
    }

    pub(super) fn len(&self) -> u32 {
        self.common.waiting_retries.load(Ordering::SeqCst)
    }

    /// A place, unless the wait is of no use.
    pub(super) fn enter(&self, set: &EndpointSet, request: RetryRequest) -> Option<RetryPlace> {
        let RetryRequest { attempted, priority, now, .. } = request.clone();
        let capacity = set.capacity_of_others(&attempted)?;
        let mut calls = lock(&self.calls);
        let until = self.patience(&request, calls.waiting.len(), capacity, set.limits.max_wait)?;
        if calls.waiting.len() >= set.limits.max_waiting as usize {
            return None;
        }
        calls.last_id += 1;
        let id = calls.last_id;
        calls.waiting.push(RetryCall { id, attempted: Arc::clone(&attempted), priority, waker: None });
        // From here on a release serves it. What was released before is free now.
        self.common.waiting_retries.fetch_add(1, Ordering::SeqCst);
        let woken = self.serve_all_locked(&mut calls, set, now);
        Some(RetryPlace { id, until, woken })
    }

    /// Until when an attempt waits: for twice the time in which it should have a permit, if it can still go elsewhere after that. A vote
    /// waits as long as any call, because elsewhere it does not count. `None` if it is not expected to have one by then, or if no call has
    /// succeeded yet, so that nothing is known of that time.
    fn patience(&self, request: &RetryRequest, ahead: usize, capacity: u32, max_wait: Duration) -> Option<Instant> {
        let service = self.common.service.read(request.now);
        let expected = queue::predict(ahead as u64, 1, capacity, service.mean).saturating_add(service.mean);
        let spare = |deadline: Instant| deadline.since(request.now).saturating_sub(service.cautious);
        let most = request.deadline.map_or(Duration::MAX, spare).min(max_wait);
        let patience = if request.attempted.has_votes() { most } else { expected.saturating_mul(2).min(most / 2) };
        (!expected.is_zero() && expected <= patience).then(|| request.now + patience)
    }

    /// Gives the free permits of an endpoint to attempts that have not been there, of at least this priority.
    pub(super) fn serve(&self, endpoint: &Arc<EndpointState>, limit: u32, least: Priority, now: Instant) {
        let woken = self.serve_locked(&mut lock(&self.calls), endpoint, limit, least, now);
        wake(woken);
    }

    /// The same for all endpoints. All attempts are woken to look at the endpoints again.
    pub(super) fn serve_all(&self, set: &EndpointSet, now: Instant) {
        let woken = {
            let mut calls = lock(&self.calls);
            let mut woken = self.serve_all_locked(&mut calls, set, now);
            woken.extend(calls.waiting.iter_mut().filter_map(|call| call.waker.take()));
            woken
        };
        wake(woken);
    }

    fn serve_all_locked(&self, calls: &mut RetryCalls, set: &EndpointSet, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        for member in set.serving() {
            if calls.waiting.is_empty() {
                break;
            }
            woken.extend(self.serve_locked(calls, &member.state, set.limits.max_concurrent, Priority::Low, now));
        }
        woken
    }

    fn serve_locked(
        &self,
        calls: &mut RetryCalls,
        endpoint: &Arc<EndpointState>,
        limit: u32,
        least: Priority,
        now: Instant,
    ) -> Vec<Waker> {
        let mut woken = Vec::new();
        let wants = |call: &RetryCall| call.priority >= least && !call.attempted.contains(endpoint.id);
        while let Some(next) = calls.waiting.iter().position(wants) {
            let Some(level) = endpoint.begin(limit, now) else { break };
            let call = calls.waiting.remove(next);
            self.common.waiting_retries.fetch_sub(1, Ordering::SeqCst);
            calls.granted.push((call.id, Arc::clone(endpoint), level));
            woken.extend(call.waker);
        }
        woken
    }

    /// The permit of an attempt, once. If there is none yet, the waker is registered.
    pub(super) fn take_permit(&self, id: u64, waker: Waker) -> Option<Permit> {
        let mut calls = lock(&self.calls);
        let granted = calls.take_granted(id);
        let unused = match calls.waiting.iter_mut().find(|call| call.id == id) {
            Some(call) => call.waker.replace(waker),
            None => Some(waker),
        };
        drop(calls);
        // The permit has an owner before the waker is dropped, which is foreign code.
        let permit = granted.map(|(endpoint, level)| Permit::counted(endpoint, level));
        foreign(|| drop(unused));
        permit
    }

    /// An attempt leaves. Returns its permit, if it has one.
    pub(super) fn leave(&self, id: u64) -> Option<Permit> {
        let mut calls = lock(&self.calls);
        let granted = calls.take_granted(id);
        let left = calls.waiting.iter().position(|call| call.id == id).map(|position| calls.waiting.remove(position));
        if left.is_some() {
            self.common.waiting_retries.fetch_sub(1, Ordering::SeqCst);
        }
        drop(calls);
        foreign(|| drop(left));
        granted.map(|(endpoint, level)| Permit::counted(endpoint, level))
    }
}

impl RetryCalls {
    fn take_granted(&mut self, id: u64) -> Option<(Arc<EndpointState>, u32)> {
        let position = self.granted.iter().position(|(granted, ..)| *granted == id)?;
        let (_, endpoint, level) = self.granted.swap_remove(position);
        Some((endpoint, level))
    }
}
