//! What the clones of a service share, and how a call starts there.

use std::fmt;
use std::sync::Arc;

use super::balancer::Balancer;
use super::connections::Connections;
use super::endpoint_set::EndpointSet;
use super::pick::Picked;
use super::waiter::Waiter;
use super::waiting_call::{Placed, WaitingCall};
use crate::admission::gate::PermitRequest;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::scope;
use crate::ground::time::Instant;
use crate::telemetry::Unreported;

/// See the module.
pub(super) struct Shared<S> {
    pub(super) balancer: Arc<Balancer>,
    pub(super) connections: Connections<S>,
}

/// What becomes of a call.
pub(super) enum Started<S, Req> {
    At(Placed<S, Req>),
    Waiting(Box<WaitingCall<S, Req>>),
    Refused(Unreported),
}

/// A call that is to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) now: Instant,
    pub(super) context: scope::Context,
    /// The bound of a call that has been at another endpoint, where nothing was sent.
    pub(super) kept: Option<CallDeadline>,
}

impl Start {
    /// The bound of the call if it starts now at an endpoint.
    #[inline]
    pub(super) fn bound(&self, set: &EndpointSet, now: Instant) -> CallDeadline {
        match self.kept {
            None => CallDeadline::within(now, &self.context, set.limits.max_hold),
            Some(kept) => kept.restarted(now),
        }
    }
}

impl<S: Clone> Shared<S> {
    /// A place for this call, or in the queue, or its refusal.
    #[inline]
    pub(super) fn start<Req>(self: &Arc<Self>, request: Req, start: Start) -> Started<S, Req> {
        let now = start.now;
        let mut set = self.balancer.set.load();
        loop {
            match self.balancer.pick(&set, start.bound(&set, now), now) {
                Picked::At(place) => {
                    if let Some(client) = self.connections.client(&set, place.member) {
                        return Started::At(Placed { place, client, request });
                    }
                }
                Picked::Full => return self.wait(&set, request, start),
                Picked::NoEndpoints => {}
            }
            // The endpoints of a set that was replaced meanwhile may have left.
            if !self.balancer.is_replaced(&set) {
                return Started::Refused(self.balancer.no_endpoints(&set, now));
            }
            set = self.balancer.set.load();
        }
    }

    /// A call that has to wait for a permit.
    #[cold]
    fn wait<Req>(self: &Arc<Self>, set: &EndpointSet, request: Req, start: Start) -> Started<S, Req> {
        let (priority, deadline) = (start.context.priority(), start.context.deadline);
        let wanted = PermitRequest { weight: 1, priority, deadline, returning: false };
        match Waiter::enter(&self.balancer, set, wanted, start.now) {
            Ok(waiter) => Started::Waiting(Box::new(WaitingCall::new(waiter, Arc::clone(self), request, start))),
            Err(refusal) => Started::Refused(refusal.by(self.balancer.instruments())),
        }
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { balancer, connections } = self;
        f.debug_struct("Shared").field("balancer", balancer).field("connections", connections).finish()
    }
}
