use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower::{BoxError, Service};

use super::breakers::Breakers;
use super::checks;
use super::future::ResponseFuture;
use super::ready_wait::ReadyWait;
use super::ticket::Ticket;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::{Call, Inner};

/// A service behind a circuit breaker. See the [module](super).
#[derive(Debug)]
pub struct CircuitBreaker<S, C = AtResponse, K: Keying = OneKey> {
    inner: Inner<S>,
    breakers: Arc<Breakers<K>>,
    max_hold: Cached<Duration>,
    classifier: C,
    /// The wait for readiness, with `unready_while_open`.
    ready_wait: ReadyWait,
}

impl<S, C, K: Keying> CircuitBreaker<S, C, K> {
    pub(super) fn new(inner: S, breakers: Arc<Breakers<K>>, classifier: C) -> Self {
        let max_hold = breakers.cached_max_hold();
        Self { inner: Inner::new(inner), breakers, max_hold, classifier, ready_wait: ReadyWait::default() }
    }
}

accessors!([S, C, K: Keying] CircuitBreaker<S, C, K>);

/// Written by hand because a clone waits for readiness anew.
impl<S: Clone, C: Clone, K: Keying> Clone for CircuitBreaker<S, C, K> {
    fn clone(&self) -> Self {
        let (breakers, classifier) = (Arc::clone(&self.breakers), self.classifier.clone());
        let ready_wait = ReadyWait::default();
        Self { inner: self.inner.clone(), breakers, max_hold: self.max_hold, classifier, ready_wait }
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
            ready!(self.ready_wait.poll(cx, self.breakers.common()));
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let breaker = self.breakers.breaker(&request);
        let context = scope::current();
        let deadline = CallDeadline::within(now, &context, self.breakers.max_hold(&mut self.max_hold));
        let admitted = if context.has_expired(now) {
            // It would not be sent in time, and its end would count against the dependency.
            Err(breaker.instruments().refuse(Reason::DeadlineExpired))
        } else {
            let left = deadline.at().since(now);
            breaker.admit(left, now).map_err(|refused| breaker.refusal(refused, now))
        };
        let (pass, refusal) = match admitted {
            Ok(pass) => {
                checks::ensure_for(&breaker, &pass, now);
                (Some(pass), None)
            }
            Err(refusal) => (None, Some(refusal)),
        };
        let ticket = Ticket::new(breaker, pass, now, deadline);
        let classifier = self.classifier.clone();
        match refusal {
            None => {
                let readiness_limit = self.breakers.readiness_limit();
                ResponseFuture::new(self.inner.call(request, now, readiness_limit), ticket, classifier)
            }
            Some(refusal) => {
                self.inner.release();
                ResponseFuture::new(Call::Refused(Some(refusal)), ticket, classifier)
            }
        }
    }
}
