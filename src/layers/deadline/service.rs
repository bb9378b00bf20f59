use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::future::{Cut, OwnDeadline, ResponseBounds, ResponseFuture};
use super::state::{DeadlineState, DeadlineTimeouts};
use super::timing::{ByConfig, Timing};
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{AtResponse, Classify, Pace};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::{Call, Inner};

/// A service whose calls have a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct Deadline<S, C = AtResponse, L = ByConfig> {
    inner: Inner<S>,
    state: Arc<DeadlineState>,
    timeouts: Cached<DeadlineTimeouts>,
    classifier: C,
    timing: L,
    /// Whether responses go to clients over a server's connections.
    served: bool,
}

impl<S, C, L> Deadline<S, C, L> {
    pub(super) fn new(inner: S, state: Arc<DeadlineState>, classifier: C, timing: L, served: bool) -> Self {
        let timeouts = state.settings.cached(DeadlineTimeouts::of);
        Self { inner: Inner::new(inner), state, timeouts, classifier, timing, served }
    }
}

accessors!([S, C, L] Deadline<S, C, L>);

impl<S, C, L, Req> Service<Req> for Deadline<S, C, L>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    L: Timing<Req>,
{
    type Response = C::Held<Cut<L::Named>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C, L::Named>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let inherited = scope::current();
        let layer_id = self.state.instruments.layer_id();
        let within = self.timing.within(&request);
        if inherited.has_expired(now) || within.is_some_and(|time| time.is_zero()) {
            self.inner.release();
            let call = Call::Refused(Some(self.state.instruments.refuse(Reason::DeadlineExpired)));
            let deadline = OwnDeadline { start: now, inside: inherited, reason: Reason::DeadlineExpired, layer_id };
            let response = ResponseBounds { outermost: now, body_timeout: None, idle: None, pace: Pace::Free };
            return ResponseFuture::new(call, deadline, response, self.classifier.clone(), None);
        }
        let timeouts = *self.state.settings.refresh(&mut self.timeouts, DeadlineTimeouts::of);
        let outermost = inherited.last_instant().unwrap_or(Instant::MAX);
        let lasts = self.timing.lasts(&request);
        let own = lasts.unwrap_or_default().max(timeouts.timeout);
        let end = outermost.min(now + within.map_or(own, |time| time.min(own)));
        // A long-lived call has its own timeout for the head too: a long poll or a long upload answers late.
        let head = match lasts {
            Some(_) => self.timing.head(&request).or(timeouts.head_timeout).unwrap_or(own),
            None => timeouts.head_timeout.unwrap_or(own),
        };
        let head = now + head.min(own);
        let deadline = inherited.deadline.unwrap_or(end).min(end);
        let reason = if head < deadline { Reason::HeadTimeout } else { Reason::DeadlineExceeded };
        let deadline = head.min(deadline);
        // The body timeouts do not apply to long-lived responses.
        let usual = lasts.is_none();
        let body_timeout = timeouts.body_timeout.filter(|_| usual);
        let idle = timeouts.idle_timeout.filter(|_| usual);
        let pace = match self.served || timeouts.body_timeout.is_some() {
            true if self.timing.shares_connection(&request) => Pace::Stream,
            true => Pace::Connection,
            false => Pace::Free,
        };
        let response = ResponseBounds { outermost, body_timeout, idle, pace };
        let lasts = !usual || end > deadline && inherited.lasts();
        let end = (lasts || end > deadline).then_some(end);
        let inside = inherited.with_deadline(Some(deadline)).with_end(end, lasts).with_enforced(true);
        let (classifier, named) = (self.classifier.clone(), self.timing.named(&request));
        let deadline = OwnDeadline { start: now, inside, reason, layer_id };
        let _entered = scope::enter(inside);
        // Two futures, each made in its place: one that is chosen between would be copied once more.
        match self.inner.take_unready(&self.state.readiness_limit) {
            None => ResponseFuture::new(self.inner.call_ready(request, now), deadline, response, classifier, named),
            Some(service) => ResponseFuture::new(service.call(request), deadline, response, classifier, named),
        }
    }
}
