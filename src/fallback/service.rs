use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::answer::{FallbackAnswer, KeepRequest};
use super::call::FallbackCall;
use super::future::{Attempted, ResponseFuture};
use super::mark::{AsIs, Mark};
use super::state::{FallbackSettings, FallbackState};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::{Call, Inner};
use crate::layers::call::upload_waits;

/// A service with a fallback. See the [module](super).
#[derive(Clone, Debug)]
pub struct Fallback<S, A, C = AtResponse, M = AsIs> {
    inner: Inner<S>,
    state: Arc<FallbackState>,
    settings: Cached<FallbackSettings>,
    answer: A,
    classifier: C,
    mark: M,
}

impl<S, A, C, M> Fallback<S, A, C, M> {
    pub(super) fn new(inner: S, state: Arc<FallbackState>, answer: A, classifier: C, mark: M) -> Self {
        let settings = state.settings.cached(FallbackSettings::of);
        Self { inner: Inner::new(inner), state, settings, answer, classifier, mark }
    }
}

accessors!([S, A, C, M] Fallback<S, A, C, M>);

impl<S, A, C, M, Req> Service<Req> for Fallback<S, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    M: Mark<C::Settled, A::Answer>,
{
    type Response = M::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, A, C, M>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let FallbackSettings { enabled, max_hold } =
            *self.state.settings.refresh(&mut self.settings, FallbackSettings::of);
        let inherited = scope::current();
        let deadline = CallDeadline::within(now, &inherited, max_hold);
        let call = FallbackCall::new(inherited, deadline, self.state.instruments.clone());
        let (classifier, mark) = (self.classifier.clone(), self.mark.clone());
        if inherited.has_expired(now) {
            self.inner.release();
            let refused = Call::Refused(Some(self.state.instruments.refuse(Reason::DeadlineExpired)));
            return ResponseFuture::new(refused, call, None, classifier, mark);
        }
        let (attempt, kept) = self.answer.first(request);
        let sending = A::sending(&kept);
        let inner = {
            let _sending = upload_waits::enter(sending.as_ref());
            self.inner.call(attempt, now, &self.state.readiness_limit)
        };
        let attempted = enabled.then(|| Attempted { answer: self.answer.clone(), kept });
        ResponseFuture::new(inner, call.sending(sending), attempted, classifier, mark)
    }
}
