use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{BoxError, Service};

use super::balancer::Balancer;
use super::connections::{Connected, Connections, Guarded};
use super::endpoint_call::EndpointCall;
use super::endpoint_set::{EndpointSet, Wanted};
use super::future::ResponseFuture;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time::Instant;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;
use crate::layers::core::clone_fields;

/// One service over all endpoints. See the [module](super).
#[derive(Debug)]
pub struct Balance<S, C = AtResponse> {
    balancer: Arc<Balancer>,
    connections: Arc<Connections<S, C>>,
    max_hold: Cached<Duration>,
    classifier: C,
}

clone_fields!([S, C: Clone] Balance<S, C> { balancer, connections, max_hold, classifier });

impl<S: Clone, C: Clone> Balance<S, C> {
    pub(super) fn new(balancer: Arc<Balancer>, connections: Connections<S, C>, classifier: C) -> Self {
        let max_hold = balancer.cached_max_hold();
        Self { balancer, connections: Arc::new(connections), max_hold, classifier }
    }

    /// An endpoint for the call, and its service. See [`Wanted`] for the order of preference.
    fn pick(&self, set: &EndpointSet, now: Instant) -> Option<(usize, Guarded<S, C>)> {
        let attempted = AttemptedEndpoints::current();
        let pick = |services: &Connected<S, C>, wanted| {
            let chosen = set.choose(wanted, self.balancer.load(), now, attempted.as_deref())?;
            // A half-open breaker without a free probe slot looks usable until it is asked.
            let others = set.others(chosen).filter(|other| set.has(*other, wanted, false, now));
            iter::once(chosen).chain(others).find_map(|i| Some((i, services.admit(i, now)?)))
        };
        self.connections.with(set, |services| Wanted::ALL.into_iter().find_map(|wanted| pick(services, wanted)))
    }
}

impl<S, C, Req> Service<Req> for Balance<S, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    Guarded<S, C>: Service<Req, Error = BoxError>,
    C: Classify<<Guarded<S, C> as Service<Req>>::Response>,
{
    type Response = <C as Classify<<Guarded<S, C> as Service<Req>>::Response>>::Held<EndpointCall>;
    type Error = BoxError;
    type Future = ResponseFuture<<Guarded<S, C> as Service<Req>>::Future, C>;

    /// Always ready: a call waits where its wait has a bound.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = scope::call_start();
        let context = scope::current();
        if context.has_expired(now) {
            let refusal = self.balancer.instruments().refuse(Reason::DeadlineExpired);
            return ResponseFuture::refused(refusal, self.classifier.clone());
        }
        self.balancer.sweep_if_due(now);
        let set = self.balancer.set.load();
        let picked = self.pick(&set, now);
        let Some((member, mut service)) = picked.and_then(|(i, service)| Some((set.get(i)?, service))) else {
            let numbers = set.numbers(now);
            let refusal = self.balancer.instruments().refuse(Reason::NoEndpoints);
            let refusal = refusal.with_numbers(numbers).with_retry_after(numbers.next_probe());
            return ResponseFuture::refused(refusal, self.classifier.clone());
        };
        scope::note_endpoint(member.state.id);
        let bound = CallDeadline::within(now, &context, self.balancer.max_hold(&mut self.max_hold));
        let endpoint_call = EndpointCall::new(Arc::clone(&member.state), Arc::clone(&self.balancer), now, bound);
        let future = scope::with_start(now, || service.call(request));
        ResponseFuture::new(future, endpoint_call, now, self.classifier.clone())
    }
}
