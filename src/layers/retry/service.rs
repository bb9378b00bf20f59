use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::attempts::{Attempts, RetrySource};
use super::call_settings::ServiceSettings;
use super::future::ResponseFuture;
use super::limit::{attempt_cut, inside, numbered};
use super::replay::{CloneRequest, Kept, Replay};
use super::state::RetryState;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::attempted_endpoints::NotedEndpoints;
use crate::layers::call::inner::{Call, Inner};
use crate::layers::call::upload_waits;
use crate::layers::core::clone_fields;
use crate::telemetry::AttemptSpan;

/// A service whose failed calls are retried. See the [module](super).
#[derive(Debug)]
pub struct Retry<S, C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    inner: Inner<S>,
    state: Arc<RetryState<K>>,
    settings_cache: Cached<ServiceSettings>,
    classifier: C,
    replay: P,
}

impl<S, C, P, K: Keying> Retry<S, C, P, K> {
    pub(super) fn new(inner: S, state: Arc<RetryState<K>>, classifier: C, replay: P) -> Self {
        let settings_cache = state.settings.cached(ServiceSettings::of);
        Self { inner: Inner::new(inner), state, settings_cache, classifier, replay }
    }
}

accessors!([S, C, P, K: Keying] Retry<S, C, P, K>);
clone_fields!([S: Clone, C: Clone, P: Clone, K: Keying] Retry<S, C, P, K> { inner, state, settings_cache, classifier, replay });

impl<S, C, P, K, Req> Service<Req> for Retry<S, C, P, K>
where
    K: KeyBy<Req>,
    P: Replay<Req>,
    S: Service<P::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    type Response = C::Settled;
    type Error = BoxError;
    type Future = ResponseFuture<S, P::Kept, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let policy = self.state.policy(&request);
        let ServiceSettings { settings, max_hold } =
            self.state.settings.refresh(&mut self.settings_cache, ServiceSettings::of);
        let inherited = match settings.enabled {
            true => scope::current().uncounted(),
            false => scope::current(),
        };
        let classifier = self.classifier.clone();
        let deadline = CallDeadline::within(now, &inherited, *max_hold);
        if inherited.has_expired(now) {
            self.inner.release();
            let refused = Call::Refused(Some(policy.instruments.refuse(Reason::DeadlineExpired)));
            let attempts = Attempts::new(inherited, *settings, deadline, policy);
            return ResponseFuture::new(refused, attempts, classifier);
        }
        let cut = attempt_cut(&deadline, &inherited, settings, now);
        // A call that is itself a retry, made by an outer layer or by a tier above, deposits nothing. Otherwise retries would pay
        // for retries.
        if inherited.before() == 0 && settings.enabled {
            policy.budget.deposit(now);
        }
        let _entered = scope::enter(inside(numbered(inherited, settings, 1), cut));
        let (attempt, kept) = self.replay.first(request);
        let upload_waits = kept.sending();
        let source = (settings.max_attempts > 1).then(|| RetrySource { kept, service: self.inner.clone_service() });
        let span = settings.attempt_spans.then(|| Box::new(AttemptSpan::new(&policy.instruments, 1)));
        let mut endpoints = NotedEndpoints::default();
        let (call, _) = {
            let _entered = (span.as_ref().map(|span| span.enter()), upload_waits::enter(upload_waits.as_ref()));
            endpoints.noting(|| self.inner.call(attempt, now, &policy.readiness_limit))
        };
        let mut attempts = Attempts::new(inherited, *settings, deadline, policy).first(cut, source, span, upload_waits);
        attempts.endpoints = endpoints;
        ResponseFuture::new(call, attempts, classifier)
    }
}
