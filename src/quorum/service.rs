use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::agreement::{Agreement, Equal};
use super::flight::VoteFlight;
use super::future::ResponseFuture;
use super::state::QuorumState;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::inner::Taken;

/// A service that sends each call to several endpoints. See the [module](super).
#[derive(Clone, Debug)]
pub struct Quorum<S, C = AtResponse, A = Equal> {
    endpoints: VotingEndpoints<S>,
    state: Arc<QuorumState>,
    classifier: C,
    agreement: A,
}

/// Where calls are sent.
#[derive(Clone, Debug)]
pub(super) enum VotingEndpoints<S> {
    ClonesOf(S),
    Each(Vec<S>),
}

impl<S, C, A> Quorum<S, C, A> {
    pub(super) fn new(endpoints: VotingEndpoints<S>, state: Arc<QuorumState>, classifier: C, agreement: A) -> Self {
        Self { endpoints, state, classifier, agreement }
    }
}

impl<S, C, A, Req> Service<Req> for Quorum<S, C, A>
where
    Req: Clone,
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, C, A>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each endpoint becomes ready within the call, where the wait has a bound.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let state = &self.state;
        let config = state.settings.get();
        let inherited = scope::current();
        let deadline = CallDeadline::within(now, &inherited, config.max_hold);
        let (classifier, agreement) = (self.classifier.clone(), self.agreement.clone());
        if inherited.has_expired(now) {
            let refused = state.instruments.refuse(Reason::DeadlineExpired);
            return ResponseFuture::refused(refused, Arc::clone(state), deadline, classifier, agreement);
        }
        let services = match &self.endpoints {
            VotingEndpoints::ClonesOf(service) => (0..config.endpoints).map(|_| service.clone()).collect(),
            VotingEndpoints::Each(services) => services.clone(),
        };
        let flights: Vec<_> = services
            .into_iter()
            .map(|service| Taken::not_ready(service, state.readiness_limit.clone()).call(request.clone()))
            .map(|call| Box::pin(VoteFlight::new(call)))
            .collect();
        ResponseFuture::new(flights, config.agree as usize, Arc::clone(state), deadline, classifier, agreement)
    }
}
