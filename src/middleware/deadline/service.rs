use std::task::{self, Poll};
use std::time::Duration;

use tower::{BoxError, Service};

use super::NAME;
use super::future::{Cut, ResponseFuture};
use crate::ground::context::{self, Context};
use crate::ground::error::{Reason, Rejected};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{AtResponse, Classify};
use crate::middleware::bound::Bound;
use crate::middleware::inner::{BoundedCall, Inner, Unready};

/// A service whose calls have a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct Deadline<S, C = AtResponse> {
    inner: Inner<S>,
    unready: Unready,
    timeout: Duration,
    classifier: C,
}

impl<S, C> Deadline<S, C> {
    pub(super) fn new(inner: S, unready: Unready, timeout: Duration, classifier: C) -> Self {
        Self { inner: Inner::new(inner), unready, timeout, classifier }
    }
}

impl<S, C, Req> Service<Req> for Deadline<S, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    type Response = C::Held<Cut>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let inherited = context::current();
        if inherited.has_expired(now) {
            self.inner.let_go();
            let call = BoundedCall::refused(Rejected::new(NAME, Reason::DeadlineExpired));
            return ResponseFuture::new(call, inherited, self.classifier.clone());
        }
        let deadline = inherited.deadline.unwrap_or(Instant::MAX).min(now + self.timeout);
        let context = Context { deadline: Some(deadline), enforced: true, ..inherited };
        let call = {
            let _entered = context::enter(context);
            self.inner.call(request, now, &self.unready)
        };
        let bound = Bound::at(deadline, Reason::DeadlineExceeded);
        ResponseFuture::new(BoundedCall::new(call, bound), context, self.classifier.clone())
    }
}
