//! How a call starts: at an endpoint, in the queue, or with its refusal.

use std::sync::Arc;

use super::endpoint_set::EndpointSet;
use super::pick::Picked;
use super::retry_queue::RetryRequest;
use super::retry_waiter::RetryWaiter;
use super::service_parts::{CallStart, ServiceParts};
use super::waiter::Waiter;
use super::waiting_call::{Placed, StartedCall, Wait, WaitingCall};
use crate::admission::gate::PermitRequest;
use crate::ground::sync::foreign;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

impl<S: Clone> ServiceParts<S> {
    /// A place for this call, or in the queue, or its refusal.
    #[inline]
    pub(super) fn start<Req>(self: &Arc<Self>, request: Req, mut start: CallStart) -> StartedCall<S, Req> {
        let now = start.now;
        loop {
            let connected = self.connections.current(&self.balancer);
            let set = &connected.set;
            match self.balancer.pick(set, start.bound(set, now), start.avoids, now) {
                Picked::At(place) => {
                    if let Some(client) = self.connections.client(&connected, place.member) {
                        let placed = Placed { place, client, request };
                        // It may be the last owner of clients. If the drop of one panics, the permit has an owner.
                        foreign(|| drop(connected));
                        return StartedCall::At(placed);
                    }
                }
                picked @ (Picked::Full | Picked::OthersFull) => {
                    if let Some(wait) = self.wait_for_other(set, &start) {
                        return StartedCall::Waiting(Box::new(WaitingCall::new(
                            wait,
                            Arc::clone(self),
                            request,
                            start,
                        )));
                    }
                    start.avoids = false;
                    if let Picked::Full = picked {
                        return self.wait(set, request, start);
                    }
                    continue;
                }
                Picked::NoEndpoints => {}
                Picked::NoOther => return StartedCall::NoOther(self.balancer.no_endpoints(set, now)),
            }
            // The endpoints of a set that was replaced meanwhile may have left.
            if !self.balancer.is_replaced(set) {
                return StartedCall::Refused(self.balancer.no_endpoints(set, now));
            }
        }
    }

    /// A further attempt that waits for an endpoint that has not failed the call.
    #[cold]
    fn wait_for_other(&self, set: &EndpointSet, start: &CallStart) -> Option<Wait> {
        let attempted = AttemptedEndpoints::current().filter(|_| start.avoids)?;
        let CallStart { now, context, .. } = *start;
        let request = RetryRequest { attempted, priority: context.priority(), deadline: context.deadline, now };
        RetryWaiter::enter(&self.balancer, set, request).map(Wait::ForOther)
    }

    /// A call that waits for a permit of any endpoint.
    #[cold]
    fn wait<Req>(self: &Arc<Self>, set: &EndpointSet, request: Req, start: CallStart) -> StartedCall<S, Req> {
        let wanted = PermitRequest::new(1, &start.context);
        match Waiter::enter(&self.balancer, set, wanted, start.now) {
            Ok(waiter) => {
                let wait = Wait::ForAny(waiter);
                StartedCall::Waiting(Box::new(WaitingCall::new(wait, Arc::clone(self), request, start)))
            }
            Err(refusal) => StartedCall::Refused(refusal.by(self.balancer.instruments())),
        }
    }
}
