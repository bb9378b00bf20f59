use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use tower::{BoxError, Service};

use super::call_watch::CallWatch;
use super::config::QuarantineConfig;
use super::fingerprint::Fingerprint;
use super::future::ResponseFuture;
use super::state::QuarantineState;
use super::turn::{HeldTurn, WaitingForTurn};
use crate::algorithm::quarantine::QuarantineAdmission;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::sync::foreign;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::Inner;

/// A service that refuses requests which were lost on several endpoints. See the [module](super).
#[derive(Clone, Debug)]
pub struct Quarantine<S, F, C = AtResponse> {
    inner: Inner<S>,
    state: Arc<QuarantineState>,
    settings: Cached<QuarantineCallSettings>,
    fingerprint: F,
    classifier: C,
}

/// The settings that calls use; see [`QuarantineConfig`].
#[derive(Clone, Copy, Debug)]
struct QuarantineCallSettings {
    enabled: bool,
    max_hold: Duration,
}

impl QuarantineCallSettings {
    fn of(config: &QuarantineConfig) -> Self {
        let QuarantineConfig { enabled, max_hold, .. } = *config;
        Self { enabled, max_hold }
    }
}

impl<S, F, C> Quarantine<S, F, C> {
    pub(super) fn new(inner: S, state: Arc<QuarantineState>, fingerprint: F, classifier: C) -> Self {
        let settings = state.settings.cached(QuarantineCallSettings::of);
        Self { inner: Inner::new(inner), state, settings, fingerprint, classifier }
    }
}

accessors!([S, F, C] Quarantine<S, F, C>);

impl<S, F, C, Req> Service<Req> for Quarantine<S, F, C>
where
    F: Fingerprint<Req>,
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    type Response = C::Held<CallWatch<F::Key>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, F::Key, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let state = &self.state;
        let QuarantineCallSettings { enabled, max_hold } =
            *state.settings.refresh(&mut self.settings, QuarantineCallSettings::of);
        let inherited = scope::current();
        let deadline = CallDeadline::within(now, &inherited, max_hold);
        let is_expired = inherited.has_expired(now);
        let key = (enabled && !is_expired).then(|| foreign(|| self.fingerprint.fingerprint(&request))).flatten();
        let tracked = key.as_ref().and_then(|key| state.tracked(key));
        let mut watch = CallWatch::new(Arc::clone(state), key, now, deadline, inherited.lasts());
        let classifier = self.classifier.clone();
        if is_expired {
            self.inner.release();
            return ResponseFuture::refused(state.instruments.refuse(Reason::DeadlineExpired), watch, classifier);
        }
        if let Some(fingerprint) = tracked {
            match state.admit(fingerprint, now) {
                QuarantineAdmission::Free => {}
                QuarantineAdmission::Turn(turn) => {
                    watch.send(Some(HeldTurn::new(Arc::clone(state), fingerprint, turn)), now);
                }
                QuarantineAdmission::Wait(_) => {
                    // A waiting call must not hold a reservation of the inner service.
                    self.inner.release();
                    let Some(waiting) = WaitingForTurn::new(state, fingerprint) else {
                        return ResponseFuture::refused(state.instruments.refuse(Reason::QueueFull), watch, classifier);
                    };
                    let inner = self.inner.take(&state.readiness_limit);
                    return ResponseFuture::waiting(waiting, inner, request, watch, classifier);
                }
                QuarantineAdmission::Refused(left) => {
                    self.inner.release();
                    return ResponseFuture::refused(state.refuse(left), watch, classifier);
                }
            }
        }
        let (call, endpoint) = scope::noting_endpoint(|| self.inner.call(request, now, &state.readiness_limit));
        watch.note(endpoint, now);
        ResponseFuture::running(call, watch, classifier)
    }
}
