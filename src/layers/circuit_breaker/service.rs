use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower::{BoxError, Service};

use super::breakers::Breakers;
use super::future::ResponseFuture;
use super::terms::Entrance;
use super::ticket::Ticket;
use super::visits;
use super::waiting::Waiting;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::bound::Bound;
use crate::layers::call::inner::{BoundedCall, Inner};

/// A service behind a circuit breaker. See the [module](super).
#[derive(Debug)]
pub struct CircuitBreaker<S, C = AtResponse, K: Keying = OneKey> {
    inner: Inner<S>,
    breakers: Arc<Breakers<K>>,
    entrance: Cached<Entrance>,
    classifier: C,
    /// For its turn, where an open breaker is not ready.
    waiting: Waiting,
}

impl<S, C, K: Keying> CircuitBreaker<S, C, K> {
    pub(super) fn new(inner: S, breakers: Arc<Breakers<K>>, classifier: C) -> Self {
        let entrance = breakers.cached_entrance();
        Self { inner: Inner::new(inner), breakers, entrance, classifier, waiting: Waiting::default() }
    }
}

accessors!([S, C, K: Keying] CircuitBreaker<S, C, K>);

/// By hand: the keying need not be `Clone` for it, being shared.
impl<S: Clone, C: Clone, K: Keying> Clone for CircuitBreaker<S, C, K> {
    fn clone(&self) -> Self {
        let (breakers, classifier) = (Arc::clone(&self.breakers), self.classifier.clone());
        let waiting = Waiting::default();
        Self { inner: self.inner.clone(), breakers, entrance: self.entrance, classifier, waiting }
    }
}

impl<S, C, K, Req> Service<Req> for CircuitBreaker<S, C, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    K: KeyBy<Req>,
{
    type Response = C::Held<Ticket>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.breakers.is_unready_while_open() {
            ready!(self.waiting.poll(cx, self.breakers.common()));
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = scope::call_start();
        let breaker = self.breakers.breaker(&request);
        let entrance = self.breakers.entrance(&mut self.entrance);
        let bound = Bound::within(now, &scope::current(), entrance.max_hold);
        let admitted = if scope::current().has_expired(now) {
            // It would not be sent in time, and its end would be held against the callee.
            Err(breaker.instruments().refuse(Reason::DeadlineExpired))
        } else {
            let left = bound.deadline().at().since(now);
            breaker.admit(&entrance.pace, left, now).map_err(|wait| breaker.refusal(wait, now))
        };
        let (pass, refusal) = match admitted {
            Ok(pass) => {
                visits::keep(&breaker, &pass, now);
                (Some(pass), None)
            }
            Err(refusal) => (None, Some(refusal)),
        };
        let ticket = Ticket::new(breaker, pass, now, bound.deadline());
        let call = match refusal {
            None => BoundedCall::new(self.inner.call(request, now, self.breakers.unready()), bound),
            Some(refusal) => {
                self.inner.let_go();
                BoundedCall::refused(refusal)
            }
        };
        ResponseFuture::new(call, ticket, self.classifier.clone())
    }
}
