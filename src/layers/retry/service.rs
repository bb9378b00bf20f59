use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::call_state::{Beginning, Further};
use super::future::ResponseFuture;
use super::limit::{attempt_cut, inside, numbered};
use super::replay::{CloneRequest, Kept, Replay};
use super::state::State;
use super::terms::Entrance;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::algorithm::budget::Earnings;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::{Call, Inner};
use crate::layers::call::sending;
use crate::telemetry::AttemptSpan;

/// A service whose failed calls are tried again. See the [module](super).
#[derive(Debug)]
pub struct Retry<S, C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    inner: Inner<S>,
    state: Arc<State<K>>,
    entrance: Cached<Entrance>,
    earnings: Cached<Earnings>,
    classifier: C,
    replay: P,
}

impl<S, C, P, K: Keying> Retry<S, C, P, K> {
    pub(super) fn new(inner: S, state: Arc<State<K>>, classifier: C, replay: P) -> Self {
        let (entrance, earnings) = (state.settings.cached(Entrance::of), state.budget().cached_earnings());
        Self { inner: Inner::new(inner), state, entrance, earnings, classifier, replay }
    }
}

accessors!([S, C, P, K: Keying] Retry<S, C, P, K>);

/// By hand, so that a keying needs not be `Clone`: clones share it.
impl<S: Clone, C: Clone, P: Clone, K: Keying> Clone for Retry<S, C, P, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            state: Arc::clone(&self.state),
            entrance: self.entrance,
            earnings: self.earnings,
            classifier: self.classifier.clone(),
            replay: self.replay.clone(),
        }
    }
}

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

    fn call(&mut self, request: Req) -> Self::Future {
        let now = scope::call_start();
        let policy = self.state.policy(&request);
        let Entrance { terms, max_hold } = self.state.settings.refresh(&mut self.entrance, Entrance::of);
        let inherited = match terms.enabled {
            true => scope::current().uncounted(),
            false => scope::current(),
        };
        let classifier = self.classifier.clone();
        let deadline = CallDeadline::within(now, &inherited, *max_hold);
        let cut = attempt_cut(&deadline, &inherited, terms, now);
        if inherited.has_expired(now) {
            self.inner.let_go();
            let refused = Call::Refused(Some(policy.instruments.refuse(Reason::DeadlineExpired)));
            let beginning = Beginning { inherited, terms: *terms, deadline, cut, span: None, sending: None };
            return ResponseFuture::new(refused, None, beginning, policy, classifier);
        }
        // What is itself a repetition, made by a retry around us or by a tier above, earns nothing: else retries would
        // earn retries.
        if inherited.before() == 0 && terms.enabled {
            policy.budget.deposit(&mut self.earnings, now);
        }
        let _entered = scope::enter(inside(numbered(inherited, terms, 1), cut));
        let (attempt, kept) = self.replay.first(request);
        let sending = kept.sending();
        let further = (terms.max_attempts > 1).then(|| Further { kept, service: self.inner.spare() });
        let span = terms.attempt_spans.then(|| Box::new(AttemptSpan::new(&policy.instruments, 1)));
        let call = {
            let _entered = (span.as_ref().map(|span| span.enter()), sending::enter(sending.as_ref()));
            self.inner.call(attempt, now, &policy.unready)
        };
        ResponseFuture::new(
            call,
            further,
            Beginning { inherited, terms: *terms, deadline, cut, span, sending },
            policy,
            classifier,
        )
    }
}
