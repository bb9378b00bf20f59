//! A call that waits for a permit of any endpoint.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::client::CallClient;
use super::permit::Permit;
use super::pick::{Place, admit};
use super::service_parts::{CallStart, ServiceParts};
use super::standing::Wanted;
use super::waiter::Waiter;
use crate::algorithm::queue::Refusal;
use crate::ground::scope;
use crate::ground::time;
use crate::telemetry::Unreported;

/// See the module.
pub(super) struct WaitingCall<S, Req> {
    waiter: Waiter,
    parts: Arc<ServiceParts<S>>,
    request: Option<Req>,
    start: CallStart,
}

/// A call that has its place, with the client and the request.
pub(super) struct Placed<S, Req> {
    pub(super) place: Place,
    pub(super) client: CallClient<S>,
    pub(super) request: Req,
}

impl<S: Clone, Req> WaitingCall<S, Req> {
    pub(super) fn new(waiter: Waiter, parts: Arc<ServiceParts<S>>, request: Req, start: CallStart) -> Self {
        Self { waiter, parts, request: Some(request), start }
    }

    /// Ready when the call has a place, or is refused.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Placed<S, Req>, Unreported>> {
        loop {
            let outcome = match self.waiter.poll(cx) {
                Poll::Ready(outcome) => Some(outcome),
                // The waker is registered by now, so no change is missed.
                Poll::Pending => {
                    let (set, now) = (Arc::clone(&self.waiter.balancer().set.load()), time::now());
                    let bound = self.start.bound(&set, now);
                    if let Some(place) = self.waiter.balancer().pick_probe(&set, bound, now) {
                        let client = self.parts.connections.client(&set, place.member, place.permit.endpoint());
                        if let Some(placed) = self.placed(place, client) {
                            return Poll::Ready(Ok(placed));
                        }
                    }
                    if !self.waiter.balancer().may_serve(&set) {
                        if self.waiter.balancer().is_replaced(&set) {
                            continue;
                        }
                        return Poll::Ready(Err(self.waiter.balancer().no_endpoints(&set, now)));
                    }
                    match self.waiter.poll_end(cx, set.next_probe(now)) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => {
                            scope::mark_local_wait();
                            return Poll::Pending;
                        }
                    }
                }
            };
            match outcome {
                // A break is over, and the call may be the probe.
                None => {}
                Some(Ok(permit)) => match self.admit(permit) {
                    Some(placed) => return Poll::Ready(Ok(placed)),
                    None => self.waiter.enter_again(),
                },
                Some(Err(refusal)) => return Poll::Ready(Err(self.refuse(refusal))),
            }
        }
    }

    /// `None` if the endpoint has left the set, or its breaker has opened meanwhile.
    fn admit(&mut self, permit: Permit) -> Option<Placed<S, Req>> {
        let (set, now) = (Arc::clone(&self.waiter.balancer().set.load()), time::now());
        let client = self.parts.connections.client_of(&set, permit.endpoint().id);
        let bound = self.start.bound(&set, now);
        let wanted = set.serves_best().unwrap_or(Wanted::Any);
        let place = client.is_some().then(|| admit(0, permit, bound, wanted, now))??;
        self.placed(place, client)
    }

    fn placed(&mut self, place: Place, client: Option<CallClient<S>>) -> Option<Placed<S, Req>> {
        Some(Placed { place, client: client?, request: self.request.take()? })
    }

    fn refuse(&self, refusal: Refusal) -> Unreported {
        refusal.by(self.waiter.balancer().instruments())
    }
}

impl<S, Req> fmt::Debug for WaitingCall<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingCall").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}
