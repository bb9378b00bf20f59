use std::fmt;
use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::counted_call::CountedCall;
use super::future::ResponseFuture;
use super::settings::ThrottleSettings;
use super::state::ThrottleState;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::Inner;
use crate::layers::core::clone_fields;

/// A service whose calls are refused locally while the dependency refuses most of them. See the [module](super).
pub struct Throttle<S, C = AtResponse, K: Keying = OneKey> {
    inner: Inner<S>,
    state: Arc<ThrottleState<K>>,
    settings: Cached<ThrottleSettings>,
    classifier: C,
}

impl<S, C, K: Keying> Throttle<S, C, K> {
    pub(super) fn new(inner: S, state: Arc<ThrottleState<K>>, classifier: C) -> Self {
        let settings = state.cached_settings();
        Self { inner: Inner::new(inner), state, settings, classifier }
    }
}

accessors!([S, C, K: Keying] Throttle<S, C, K>);
clone_fields!([S: Clone, C: Clone, K: Keying] Throttle<S, C, K> { inner, state, settings, classifier });

impl<S, C, K, Req> Service<Req> for Throttle<S, C, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    K: KeyBy<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let settings = self.state.settings(&mut self.settings);
        let (context, layer_id) = (scope::current(), self.state.instruments.layer_id());
        let deadline = if settings.enabled || context.deadline.is_some() {
            CallDeadline::within(now, &context, settings.max_hold)
        } else {
            CallDeadline::never()
        };
        let admitted = if !settings.enabled {
            Ok(None)
        } else if context.has_expired(now) {
            // A call that is not sent is not counted.
            Err(self.state.instruments.refuse(Reason::DeadlineExpired))
        } else {
            let counted = self.state.counted_calls(&request);
            match counted.admit(&settings.policy, context.priority(), now) {
                Ok(sent) => Ok(Some(CountedCall::new(counted, sent))),
                Err(refusal) => Err(self.state.refusal(refusal)),
            }
        };
        match admitted {
            Ok(counted) => {
                let call = self.inner.call(request, now, &self.state.readiness_limit);
                ResponseFuture::sent(call, deadline, counted, layer_id, self.classifier.clone())
            }
            Err(refusal) => {
                self.inner.release();
                ResponseFuture::refused(refusal, self.classifier.clone())
            }
        }
    }
}

impl<S: fmt::Debug, C, K: Keying> fmt::Debug for Throttle<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("inner", &self.inner).finish_non_exhaustive()
    }
}
