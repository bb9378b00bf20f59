use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{BoxError, Service};

use super::balancer::Balancer;
use super::connections::Connections;
use super::endpoint_call::EndpointCall;
use super::future::ResponseFuture;
use super::service_parts::{CallStart, ServiceParts};
use super::waiting_call::StartedCall;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::circuit_breaker::Ticket;
use crate::layers::core::clone_fields;

/// One service over all endpoints. See the [module](super).
#[derive(Debug)]
pub struct Balance<S, C = AtResponse> {
    parts: Arc<ServiceParts<S>>,
    classifier: C,
}

clone_fields!([S, C: Clone] Balance<S, C> { parts, classifier });

impl<S: Clone, C> Balance<S, C> {
    pub(super) fn new(balancer: Arc<Balancer>, connections: Connections<S>, classifier: C) -> Self {
        Self { parts: Arc::new(ServiceParts { balancer, connections }), classifier }
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
        let balancer = &self.parts.balancer;
        let started = if context.has_expired(now) {
            StartedCall::Refused(balancer.instruments().refuse(Reason::DeadlineExpired))
        } else {
            balancer.sweep_if_due(now);
            self.parts.start(request, CallStart { now, context, kept: None, avoids: true })
        };
        ResponseFuture::new(started, Arc::clone(&self.parts), self.classifier.clone())
    }
}
