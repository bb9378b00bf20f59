//! A call that waits for a permit: of any endpoint, or of one that has not failed it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::client::CallClient;
use super::permit::Permit;
use super::pick::{Place, admit};
use super::retry_waiter::RetryWaiter;
use super::service_parts::{CallStart, ServiceParts};
use super::standing::Wanted;
use super::waiter::Waiter;
use crate::algorithm::queue::Refusal;
use crate::ground::scope;
use crate::ground::sync::foreign;
use crate::ground::time;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;
use crate::telemetry::Unreported;

/// What becomes of a call that starts.
pub(super) enum StartedCall<S, Req> {
    At(Placed<S, Req>),
    Waiting(Box<WaitingCall<S, Req>>),
    Refused(Unreported),
    /// It is an attempt beside others, and no other endpoint takes it.
    NoOther(Unreported),
}

/// See the module.
pub(super) struct WaitingCall<S, Req> {
    wait: Wait,
    parts: Arc<ServiceParts<S>>,
    request: Option<Req>,
    start: CallStart,
    /// How many endpoints the attempts before it had used when it began to wait.
    attempted: usize,
}

#[derive(Debug)]
pub(super) enum Wait {
    ForAny(Waiter),
    ForOther(RetryWaiter),
}

/// How a wait ends.
enum Ended<S, Req> {
    Granted(Permit),
    /// The call is the probe of a breaker.
    Probe(Placed<S, Req>),
    Refused(Unreported),
    /// The other endpoints have stayed full. The call takes what there is.
    InVain,
}

/// A call that has its place, with the client and the request.
pub(super) struct Placed<S, Req> {
    pub(super) place: Place,
    pub(super) client: CallClient<S>,
    pub(super) request: Req,
}

impl<S: Clone, Req> WaitingCall<S, Req> {
    pub(super) fn new(wait: Wait, parts: Arc<ServiceParts<S>>, request: Req, start: CallStart) -> Self {
        Self { wait, parts, request: Some(request), start, attempted: count_attempted() }
    }

    /// Ready when the call has a place, or is refused.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Placed<S, Req>, Unreported>> {
        loop {
            let Poll::Ready(ended) = self.poll_wait(cx) else {
                scope::mark_local_wait();
                return Poll::Pending;
            };
            let started = match ended {
                Ended::Probe(placed) => Some(Ok(placed)),
                Ended::Refused(refusal) => Some(Err(refusal)),
                Ended::InVain => self.start_again(false),
                Ended::Granted(permit) if self.was_used_meanwhile(&permit) => {
                    drop(permit);
                    self.start_again(true)
                }
                Ended::Granted(permit) => match (self.admit(permit), &mut self.wait) {
                    (Some(placed), _) => Some(Ok(placed)),
                    (None, Wait::ForOther(_)) => self.start_again(false),
                    (None, Wait::ForAny(waiter)) => {
                        waiter.enter_again();
                        None
                    }
                },
            };
            if let Some(started) = started {
                return Poll::Ready(started);
            }
        }
    }

    /// The call starts anew. `None`: it waits again.
    fn start_again(&mut self, avoids: bool) -> Option<Result<Placed<S, Req>, Unreported>> {
        let request = self.request.take()?;
        match self.parts.start(request, CallStart { now: time::now(), avoids, ..self.start }) {
            StartedCall::At(placed) => Some(Ok(placed)),
            StartedCall::Refused(refusal) | StartedCall::NoOther(refusal) => Some(Err(refusal)),
            StartedCall::Waiting(call) => {
                *self = *call;
                None
            }
        }
    }

    /// Whether another attempt of the same call has got this endpoint since this one began to wait. Attempts beside each other, as those
    /// of a quorum, are to use different endpoints.
    fn was_used_meanwhile(&self, permit: &Permit) -> bool {
        let attempted = AttemptedEndpoints::current().filter(|attempted| attempted.len() > self.attempted);
        attempted.is_some_and(|attempted| attempted.contains(permit.endpoint().id))
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Ended<S, Req>> {
        match &mut self.wait {
            Wait::ForOther(waiter) => waiter.poll(cx).map(|permit| permit.map_or(Ended::InVain, Ended::Granted)),
            Wait::ForAny(_) => self.poll_any(cx),
        }
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<Ended<S, Req>> {
        let parts = Arc::clone(&self.parts);
        let balancer = &parts.balancer;
        let refused = |refusal: Refusal| Ended::Refused(refusal.by(balancer.instruments()));
        loop {
            let Wait::ForAny(waiter) = &mut self.wait else { return Poll::Pending };
            if let Poll::Ready(outcome) = waiter.poll(cx) {
                return Poll::Ready(outcome.map_or_else(refused, Ended::Granted));
            }
            // The waker is registered by now, so no change is missed.
            let (connected, now) = (parts.connections.latest(balancer), time::now());
            let set = &connected.set;
            if let Some(place) = balancer.pick_probe(set, self.start.bound(set, now), now) {
                let client = parts.connections.client(&connected, place.member);
                if let Some(placed) = self.placed(place, client) {
                    // It may be the last owner of clients. If the drop of one panics, the permit has an owner.
                    foreign(|| drop(connected));
                    return Poll::Ready(Ended::Probe(placed));
                }
            }
            if !balancer.may_serve(set) {
                if balancer.is_replaced(set) {
                    continue;
                }
                return Poll::Ready(Ended::Refused(balancer.no_endpoints(set, now)));
            }
            let Wait::ForAny(waiter) = &mut self.wait else { return Poll::Pending };
            // An ejection may be over then, or a break.
            let sooner = set.next_probe(now).map_or(balancer.next_sweep(), |at| at.min(balancer.next_sweep()));
            if let Some(outcome) = ready!(waiter.poll_end(cx, sooner)) {
                return Poll::Ready(outcome.map_or_else(refused, Ended::Granted));
            }
            balancer.sweep_if_due(time::now());
        }
    }

    /// `None` if the endpoint has left the set, or its breaker has opened meanwhile.
    fn admit(&mut self, permit: Permit) -> Option<Placed<S, Req>> {
        let (connected, now) = (self.parts.connections.latest(&self.parts.balancer), time::now());
        let set = &connected.set;
        let client = self.parts.connections.client_of(&connected, permit.endpoint().id);
        let bound = self.start.bound(set, now);
        let wanted = set.serves_best().unwrap_or(Wanted::Any);
        let place = client.is_some().then(|| admit(0, permit, bound, wanted, now))??;
        let placed = self.placed(place, client);
        foreign(|| drop(connected));
        placed
    }

    fn placed(&mut self, place: Place, client: Option<CallClient<S>>) -> Option<Placed<S, Req>> {
        Some(Placed { place, client: client?, request: self.request.take()? })
    }
}

fn count_attempted() -> usize {
    AttemptedEndpoints::current().map_or(0, |attempted| attempted.len())
}

impl<S, Req> fmt::Debug for WaitingCall<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingCall").field("wait", &self.wait).finish_non_exhaustive()
    }
}
