//! How a call starts: at an endpoint, in the queue, or with its refusal.

use std::sync::Arc;

use super::endpoint_set::EndpointSet;
use super::pick::Picked;
use super::service_parts::{CallStart, ServiceParts};
use super::waiter::Waiter;
use super::waiting_call::{Placed, WaitingCall};
use crate::admission::gate::PermitRequest;
use crate::telemetry::Unreported;

/// What becomes of a call.
pub(super) enum StartedCall<S, Req> {
    At(Placed<S, Req>),
    Waiting(Box<WaitingCall<S, Req>>),
    Refused(Unreported),
    /// It is an attempt beside others, and no other endpoint takes it.
    NoOther(Unreported),
}

impl<S: Clone> ServiceParts<S> {
    /// A place for this call, or in the queue, or its refusal.
    #[inline]
    pub(super) fn start<Req>(self: &Arc<Self>, request: Req, start: CallStart) -> StartedCall<S, Req> {
        let now = start.now;
        let mut set = self.balancer.set.load();
        loop {
            match self.balancer.pick(&set, start.bound(&set, now), now) {
                Picked::At(place) => {
                    if let Some(client) = self.connections.client(&set, place.member, place.permit.endpoint()) {
                        return StartedCall::At(Placed { place, client, request });
                    }
                }
                Picked::Full => return self.wait(&set, request, start),
                Picked::NoEndpoints => {}
                Picked::NoOther => return StartedCall::NoOther(self.balancer.no_endpoints(&set, now)),
            }
            // The endpoints of a set that was replaced meanwhile may have left.
            if !self.balancer.is_replaced(&set) {
                return StartedCall::Refused(self.balancer.no_endpoints(&set, now));
            }
            set = self.balancer.set.load();
        }
    }

    /// A call that has to wait for a permit.
    #[cold]
    fn wait<Req>(self: &Arc<Self>, set: &EndpointSet, request: Req, start: CallStart) -> StartedCall<S, Req> {
        let wanted = PermitRequest::new(1, &start.context);
        match Waiter::enter(&self.balancer, set, wanted, start.now) {
            Ok(waiter) => StartedCall::Waiting(Box::new(WaitingCall::new(waiter, Arc::clone(self), request, start))),
            Err(refusal) => StartedCall::Refused(refusal.by(self.balancer.instruments())),
        }
    }
}
