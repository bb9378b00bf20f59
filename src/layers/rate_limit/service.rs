use std::fmt;
use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::applied::AppliedRates;
use super::bucket::Bucket;
use super::future::ResponseFuture;
use super::state::RateLimitState;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::Inner;
use crate::layers::core::clone_fields;

/// A service with a limit on how many calls start per period. See the [module](super).
pub struct RateLimit<S, K: Keying = OneKey> {
    inner: Inner<S>,
    state: Arc<RateLimitState<K>>,
    applied: Cached<AppliedRates>,
}

impl<S, K: Keying> RateLimit<S, K> {
    pub(super) fn new(inner: S, state: Arc<RateLimitState<K>>) -> Self {
        let applied = state.applied.cached(|applied| *applied);
        Self { inner: Inner::new(inner), state, applied }
    }
}

accessors!([S, K: Keying] RateLimit<S, K>);
clone_fields!([S: Clone, K: Keying] RateLimit<S, K> { inner, state, applied });

impl<S, K, Req> Service<Req> for RateLimit<S, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    K: KeyBy<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        if scope::current().has_expired(now) {
            // A call that is not sent takes no permit.
            self.inner.release();
            return ResponseFuture::refused(self.state.instruments.refuse(Reason::DeadlineExpired));
        }
        let bucket = self.state.bucket(&request);
        let applied = self.state.applied.refresh(&mut self.applied, |applied| *applied);
        match Bucket::admit(&bucket, now, applied) {
            Ok(None) => {
                let layer_id = self.state.instruments.layer_id();
                let deadline = CallDeadline::within(now, &scope::current(), applied.settings.max_hold);
                ResponseFuture::running(self.inner.call(request, now, &self.state.readiness_limit), deadline, layer_id)
            }
            Ok(Some(waiter)) => {
                // A waiting call must not hold a reservation of the inner service. The service becomes ready again once the call has
                // its permit.
                self.inner.release();
                ResponseFuture::waiting(waiter, self.inner.take(&self.state.readiness_limit), request)
            }
            Err(refusal) => {
                self.inner.release();
                ResponseFuture::refused(refusal)
            }
        }
    }
}

impl<S: fmt::Debug, K: Keying> fmt::Debug for RateLimit<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
