use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{BoxError, Service};

use super::balancer::Balancer;
use super::connections::Connections;
use super::endpoint_call::EndpointCall;
use super::endpoint_set::EndpointSet;
use super::future::ResponseFuture;
use super::pick::Picked;
use super::waiter::Waiter;
use super::waiting_call::{Placed, WaitingCall};
use crate::admission::gate::PermitRequest;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::circuit_breaker::Ticket;
use crate::layers::core::clone_fields;
use crate::telemetry::Unreported;

/// One service over all endpoints. See the [module](super).
#[derive(Debug)]
pub struct Balance<S, C = AtResponse> {
    balancer: Arc<Balancer>,
    connections: Arc<Connections<S>>,
    classifier: C,
}

clone_fields!([S, C: Clone] Balance<S, C> { balancer, connections, classifier });

impl<S: Clone, C> Balance<S, C> {
    pub(super) fn new(balancer: Arc<Balancer>, connections: Connections<S>, classifier: C) -> Self {
        Self { balancer, connections: Arc::new(connections), classifier }
    }

    /// A call that has to wait for a permit.
    #[cold]
    fn wait<Req>(
        &self,
        set: &EndpointSet,
        request: Req,
        context: scope::Context,
        now: Instant,
    ) -> Result<WaitingCall<S, Req>, Unreported> {
        let (priority, deadline) = (context.priority(), context.deadline);
        let wanted = PermitRequest { weight: 1, priority, deadline, returning: false };
        let waiter = Waiter::enter(&self.balancer, set, wanted, now)
            .map_err(|refusal| refusal.by(self.balancer.instruments()))?;
        Ok(WaitingCall::new(waiter, Arc::clone(&self.connections), request, context))
    }
}

impl<S, C, Req> Service<Req> for Balance<S, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response> + Classify<<C as Classify<S::Response>>::Held<Ticket>>,
{
    type Response = <C as Classify<<C as Classify<S::Response>>::Held<Ticket>>>::Held<EndpointCall>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    /// Always ready: a call waits where its wait has a bound.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let context = scope::current();
        let classifier = self.classifier.clone();
        if context.has_expired(now) {
            return ResponseFuture::refused(self.balancer.instruments().refuse(Reason::DeadlineExpired), classifier);
        }
        self.balancer.sweep_if_due(now);
        let mut set = self.balancer.set.load();
        loop {
            let bound = CallDeadline::within(now, &context, set.limits.max_hold);
            match self.balancer.pick(&set, bound, now) {
                Picked::At(place) => {
                    if let Some(client) = self.connections.client(&set, place.member) {
                        return ResponseFuture::at(Placed { place, client, request }, classifier);
                    }
                }
                Picked::Full => {
                    return match self.wait(&set, request, context, now) {
                        Ok(call) => ResponseFuture::waiting(call, classifier),
                        Err(refusal) => ResponseFuture::refused(refusal, classifier),
                    };
                }
                Picked::NoEndpoints => {}
            }
            // The endpoints of a set that was replaced meanwhile may have left.
            if !self.balancer.is_replaced(&set) {
                return ResponseFuture::refused(self.balancer.no_endpoints(&set, now), classifier);
            }
            set = self.balancer.set.load();
        }
    }
}
