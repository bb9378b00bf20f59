use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::call_settings::HedgeCallSettings;
use super::flight::{AttemptFlight, FlightParts};
use super::future::ResponseFuture;
use super::hedged_call::{HedgeSource, HedgedCall};
use super::state::HedgeState;
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
use crate::layers::retry::{CloneRequest, HoldsBudget, Kept, Replay};

/// A service whose slow calls are hedged. See the [module](super).
#[derive(Debug)]
pub struct Hedge<S, C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    inner: Inner<S>,
    state: Arc<HedgeState<K>>,
    settings_cache: Cached<HedgeCallSettings>,
    classifier: C,
    replay: P,
}

impl<S, C, P, K: Keying> Hedge<S, C, P, K> {
    pub(super) fn new(inner: S, state: Arc<HedgeState<K>>, classifier: C, replay: P) -> Self {
        let settings_cache = state.settings.cached(HedgeCallSettings::of);
        Self { inner: Inner::new(inner), state, settings_cache, classifier, replay }
    }
}

accessors!([S, C, P, K: Keying] Hedge<S, C, P, K>);
clone_fields!([S: Clone, C: Clone, P: Clone, K: Keying] Hedge<S, C, P, K> { inner, state, settings_cache, classifier, replay });

impl<S, C, P, K, Req> Service<Req> for Hedge<S, C, P, K>
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
        let policy = self.state.policy(&request, now);
        let settings = *self.state.settings.refresh(&mut self.settings_cache, HedgeCallSettings::of);
        let inherited = match settings.enabled && !policy.inside_retries {
            true => scope::current().uncounted(),
            false => scope::current(),
        };
        let classifier = self.classifier.clone();
        let deadline = CallDeadline::within(now, &inherited, settings.max_hold);
        if inherited.has_expired(now) {
            self.inner.release();
            let refused = Call::Refused(Some(policy.instruments.refuse(Reason::DeadlineExpired)));
            let flight = AttemptFlight::new(refused, FlightParts::new(0, now, None));
            return ResponseFuture::new(flight, HedgedCall::new(inherited, settings, deadline, policy), classifier);
        }
        // As with retries: a call that is itself another attempt deposits nothing. A shared budget gets one deposit a call.
        let is_paid_in = policy.own_budget().is_none() && inherited.is_paid_in();
        if settings.enabled && inherited.before_all() == 0 && !is_paid_in {
            policy.budget.deposit(now);
        }
        let _entered = scope::enter(policy.numbered(inherited, &settings, 1));
        let (attempt, kept) = self.replay.first(request);
        let upload_waits = kept.sending();
        let source = (settings.max_attempts > 1).then(|| HedgeSource { kept, service: self.inner.clone_service() });
        let mut endpoints = NotedEndpoints::default();
        let ((call, _), is_probe) = {
            let _sending = upload_waits::enter(upload_waits.as_ref());
            let call = || self.inner.call(attempt, now, &policy.readiness_limit);
            scope::noting_probe(|| endpoints.noting(call))
        };
        let flight = AttemptFlight::new(call, FlightParts::new(1, now, upload_waits));
        let call = HedgedCall::new(inherited, settings, deadline, policy).first(source, endpoints, is_probe);
        ResponseFuture::new(flight, call, classifier)
    }
}
