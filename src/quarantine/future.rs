use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::call_watch::CallWatch;
use super::state::NotSent;
use super::turn::WaitingForTurn;
use crate::admission::timer::Timer;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::sync::foreign;
use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify, Verdict};
use crate::layers::call::inner::{Call, Taken, reject};
use crate::telemetry::Unreported;

/// A call that is watched, waits for its turn, or is refused.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, F, K: Hash + fmt::Debug + Send + 'static, C = AtResponse> {
    #[pin]
    state: QuarantineFutureState<S, Req, F>,
    timer: Timer,
    /// `None` once the call is over.
    watch: Option<CallWatch<K>>,
    classifier: C,
}

#[pin_project(project = QuarantineFutureStateProj)]
#[derive(Debug)]
enum QuarantineFutureState<S, Req, F> {
    /// Nothing is sent => Over.
    Refused(Option<Unreported>),
    /// Another call of the suspect has the turn => Running, or Over if the call is refused.
    Waiting {
        waiting: WaitingForTurn,
        inner: Option<(Taken<S>, Req)>,
    },
    /// The call is in flight => Over.
    Running {
        #[pin]
        call: Call<S, Req, F>,
    },
    Over,
}

impl<S, Req, F, K: Hash + fmt::Debug + Send + 'static, C> ResponseFuture<S, Req, F, K, C> {
    #[inline(always)]
    fn new(state: QuarantineFutureState<S, Req, F>, watch: CallWatch<K>, classifier: C) -> Self {
        Self { state, timer: Timer::new(), watch: Some(watch), classifier }
    }

    #[inline(always)]
    pub(super) fn running(call: Call<S, Req, F>, watch: CallWatch<K>, classifier: C) -> Self {
        Self::new(QuarantineFutureState::Running { call }, watch, classifier)
    }

    pub(super) fn waiting(
        waiting: WaitingForTurn,
        inner: Taken<S>,
        request: Req,
        watch: CallWatch<K>,
        classifier: C,
    ) -> Self {
        Self::new(QuarantineFutureState::Waiting { waiting, inner: Some((inner, request)) }, watch, classifier)
    }

    pub(super) fn refused(refusal: Unreported, mut watch: CallWatch<K>, classifier: C) -> Self {
        watch.refused();
        Self::new(QuarantineFutureState::Refused(Some(refusal)), watch, classifier)
    }
}

impl<S, Req, F, K, C> Future for ResponseFuture<S, Req, F, K, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    K: Hash + fmt::Debug + Send + 'static,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<CallWatch<K>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(watch) = this.watch else { return Poll::Pending };
        watch.polled();
        let (deadline, layer_id) = (watch.deadline(), watch.layer_id());
        loop {
            match this.state.as_mut().project() {
                QuarantineFutureStateProj::Running { mut call } => {
                    let poll = || call.as_mut().poll_until(&deadline, this.timer, cx, layer_id);
                    let ((result, lost), endpoint) = scope::noting_endpoint(|| scope::noting_loss(poll));
                    watch.noted(endpoint, lost);
                    let result = ready!(result);
                    this.state.set(QuarantineFutureState::Over);
                    let Some(mut watch) = this.watch.take() else { return Poll::Pending };
                    return Poll::Ready(match result {
                        Ok(response) => {
                            let verdict = this.classifier.classify(Ok(&response));
                            watch.head(verdict);
                            Ok(this.classifier.hold(response, verdict, watch))
                        }
                        Err(error) => {
                            let verdict = verdict::judge::<S::Response>(&*this.classifier, Err(&error));
                            watch.end(verdict);
                            Err(error)
                        }
                    });
                }
                QuarantineFutureStateProj::Waiting { waiting, inner } => {
                    let now = time::now();
                    let refusal = match waiting.ask(foreign(|| cx.waker().clone()), now) {
                        Ok(turn) => {
                            let Some((inner, request)) = inner.take() else { return Poll::Pending };
                            watch.send(turn, now);
                            this.timer.disarm();
                            let (call, endpoint) = scope::noting_endpoint(|| inner.call(request));
                            watch.note(endpoint, now);
                            this.state.set(QuarantineFutureState::Running { call });
                            continue;
                        }
                        Err(NotSent::Refused(left)) => watch.state().refuse(left),
                        Err(NotSent::Until(until)) => {
                            let until = until.min(deadline.at());
                            if this.timer.poll_until(cx, until).is_pending() {
                                // Nothing has been sent yet, so this wait must not count as the dependency's time.
                                scope::mark_local_wait();
                                return Poll::Pending;
                            }
                            let now = time::now();
                            // If it is too early, the runtime has shut down, and no timer works any more.
                            if now >= until && now < deadline.at() {
                                continue;
                            }
                            watch.state().instruments.refuse(Reason::QueueTimeout)
                        }
                    };
                    watch.refused();
                    this.timer.disarm();
                    this.state.set(QuarantineFutureState::Refused(Some(refusal)));
                }
                QuarantineFutureStateProj::Refused(refusal) => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    this.state.set(QuarantineFutureState::Over);
                    if !matches!(refusal.reason(), Reason::QueueFull | Reason::QueueTimeout) {
                        // A retry in the tiers above would only multiply the refusals, or send the request to other instances.
                        scope::mark_exhausted();
                    }
                    drop(this.watch.take());
                    return Poll::Ready(Err(reject(refusal)));
                }
                // Polled after completion, as fused futures may be.
                QuarantineFutureStateProj::Over => return Poll::Pending,
            }
        }
    }
}

#[pinned_drop]
impl<S, Req, F, K: Hash + fmt::Debug + Send + 'static, C> PinnedDrop for ResponseFuture<S, Req, F, K, C> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(mut watch) = this.watch.take() {
            // Inner layers release first.
            this.state.set(QuarantineFutureState::Over);
            watch.end(Verdict::Abandoned);
        }
    }
}

impl<S, Req, F, K: Hash + fmt::Debug + Send + 'static, C> fmt::Debug for ResponseFuture<S, Req, F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            QuarantineFutureState::Refused(_) => "Refused",
            QuarantineFutureState::Waiting { .. } => "Waiting",
            QuarantineFutureState::Running { .. } => "Running",
            QuarantineFutureState::Over => "Over",
        };
        f.debug_struct("ResponseFuture").field("state", &state).field("watch", &self.watch).finish_non_exhaustive()
    }
}
