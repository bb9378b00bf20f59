use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::attempts::Attempts;
use super::call_state::{RetryCallState, RetryCallStateProj};
use super::limit::{inside, numbered};
use super::replay::Kept;
use super::report::Stop;
use crate::admission::timer::Timer;
use crate::ground::error::{Reason, rejection};
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{self, Classify, Expiry, Verdict};
use crate::layers::call::inner::{Call, CallError};
use crate::layers::call::upload_waits;
use crate::layers::core::observed;
use crate::telemetry;

/// A call that is retried when it fails.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[allow(clippy::type_complexity, reason = "three futures, each in its state")]
    #[pin]
    state: RetryCallState<Call<S, K::Attempt, S::Future>, C::Settling, C::Detaching>,
    attempts: Attempts<S, K, C::Settled>,
    classifier: C,
}

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[inline(always)]
    pub(super) fn new(
        call: Call<S, K::Attempt, S::Future>,
        attempts: Attempts<S, K, C::Settled>,
        classifier: C,
    ) -> Self {
        Self { state: RetryCallState::Attempting { call }, attempts, classifier }
    }
}

impl<S, K, C> Future for ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Settled, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let attempts = this.attempts;
        attempts.polled = true;
        // The call may have been moved to a task in which no outer layer enforces the deadline.
        let current = scope::current();
        let enforced = attempts.inherited.deadline.is_some_and(|deadline| current.ends_by(deadline));
        attempts.progress.lost |= current.is_loss_repeated();
        let layer_id = attempts.policy.instruments.layer_id();
        // Otherwise the end of the call would use an older clock read than that of an inner layer.
        time::forget_latest();
        loop {
            let call_context = numbered(attempts.inherited, &attempts.settings, attempts.progress.attempts);
            let call_context = call_context.with_enforced(enforced).with_loss_repeated(attempts.progress.lost);
            let inside = inside(call_context, attempts.cut);
            let (verdict, result) = match this.state.as_mut().project() {
                RetryCallStateProj::Attempting { mut call } => {
                    let answer = {
                        let _entered = (scope::enter(inside), attempts.cut.map(|_| scope::enforce(cx.waker())));
                        let _sending = upload_waits::enter(attempts.upload_waits.as_ref());
                        let _span = attempts.span.as_ref().map(|span| span.enter());
                        let poll = || scope::noting_local_wait(|| call.as_mut().poll_call(cx, layer_id));
                        let ((answer, _), is_repeated) =
                            scope::noting_loss_repeated(|| attempts.endpoints.noting(poll));
                        attempts.progress.lost |= is_repeated;
                        answer
                    };
                    match answer {
                        (Poll::Ready(Ok(response)), _) => {
                            attempts.mark(true);
                            let settling = this.classifier.settle(response);
                            this.state.set(RetryCallState::Settling { settling });
                            continue;
                        }
                        (Poll::Ready(Err(failed)), _) => {
                            let is_called = matches!(failed, CallError::Called(_));
                            let error = failed.into_inner();
                            let verdict = verdict::judge(this.classifier, Err(&error));
                            attempts.mark(is_called && verdict != Verdict::Unsent && !verdict::is_refusal(&error));
                            (verdict, Err(error))
                        }
                        (Poll::Pending, is_local) => {
                            if is_local {
                                attempts.progress.waited = true;
                            } else {
                                attempts.mark(true);
                            }
                            ready!(attempts.bounds().poll_cut(&mut attempts.timer, cx, call.is_waiting(), layer_id))
                        }
                    }
                }
                RetryCallStateProj::Settling { settling } => {
                    let settled = {
                        let _entered = (scope::enter(inside), attempts.cut.map(|_| scope::enforce(cx.waker())));
                        let _span = attempts.span.as_ref().map(|span| span.enter());
                        settling.poll(cx)
                    };
                    match settled {
                        Poll::Ready((verdict, response)) => {
                            attempts.mark(verdict != Verdict::Unsent);
                            (verdict, Ok(response))
                        }
                        Poll::Pending => ready!(attempts.bounds().poll_cut(&mut attempts.timer, cx, false, layer_id)),
                    }
                }
                RetryCallStateProj::Detaching { detaching, until, cause } => {
                    let (until, cause) = (*until, *cause);
                    // It ends before the call does. The deadline may be our own, so inner layers do not see it otherwise, and what
                    // the response keeps would be lost to it.
                    let inside = inside.with_deadline(Some(attempts.deadline.at()));
                    let detached = {
                        let _entered = scope::enter(inside);
                        detaching.poll(cx)
                    };
                    match detached {
                        Poll::Ready(response) => {
                            attempts.keep_failure(Ok(response));
                            this.state.set(RetryCallState::BackingOff { until, timer: Timer::new(), cause });
                            attempts.give_up_attempt();
                            continue;
                        }
                        Poll::Pending => ready!(attempts.bounds().poll_cut(&mut attempts.timer, cx, false, layer_id)),
                    }
                }
                RetryCallStateProj::BackingOff { until, timer, cause } => {
                    if timer.poll_until(cx, *until).is_pending() {
                        scope::mark_local_wait();
                        return Poll::Pending;
                    }
                    let (cause, now) = (*cause, time::now());
                    // The wake-up may be much later than `until`.
                    let stop = if now >= attempts.deadline.at() {
                        Stop::Deadline
                    } else if let Some(call) = attempts.begin(call_context, now) {
                        telemetry::retried(&attempts.policy.instruments, cause);
                        observed::request_publication();
                        this.state.set(RetryCallState::Attempting { call });
                        continue;
                    } else {
                        Stop::NotRepeatable
                    };
                    let failure = attempts.take_failure();
                    this.state.as_mut().end(attempts, stop, cause);
                    attempts.report_exhaustion(stop, cause);
                    return failure.map_or(Poll::Pending, Poll::Ready);
                }
                // Polled after completion, as fused futures may be.
                RetryCallStateProj::Over => return Poll::Pending,
            };

            attempts.end_span(verdict);
            // Spend or refund this attempt's token before the next one is withdrawn.
            attempts.end_withdrawal(verdict);
            let is_ours = is_ours(&result);
            let next = attempts.next(this.classifier, verdict, (!is_ours).then_some(result.as_ref()));
            let result = if is_ours { attempts.take_failure().unwrap_or(result) } else { result };
            match next {
                Ok(granted) => {
                    attempts.keep_withdrawal(granted.withdrawal);
                    if verdict == Verdict::Lost {
                        scope::mark_loss_repeated();
                    }
                    let (until, cause) = (granted.at, verdict);
                    // This drops the rest of the attempt, so that it holds nothing during the backoff.
                    match result {
                        Ok(response) => {
                            // The attempt is over: from here on only the call's deadline applies.
                            attempts.cut = None;
                            attempts.timer.disarm();
                            let detaching = this.classifier.detach(response);
                            this.state.set(RetryCallState::Detaching { detaching, until, cause });
                        }
                        Err(error) => {
                            attempts.keep_failure(Err(error));
                            this.state.set(RetryCallState::BackingOff { until, timer: Timer::new(), cause });
                            attempts.give_up_attempt();
                        }
                    }
                }
                Err(stop) => {
                    this.state.as_mut().end(attempts, stop, verdict);
                    attempts.report_exhaustion(stop, verdict);
                    return Poll::Ready(result.map(|response| match attempts.cut {
                        // The attempt's timeout also bounds the rest of its response.
                        Some(at) if !inside.lasts() => {
                            let _entered = scope::enter(inside);
                            let expiry = Expiry::new(layer_id, at, Reason::AttemptTimeout);
                            this.classifier.bound(response, expiry.since(attempts.progress.since))
                        }
                        _ => response,
                    }));
                }
            }
        }
    }
}

/// Whether a layer of this crate ended the attempt, and not the dependency.
fn is_ours<T>(result: &Result<T, BoxError>) -> bool {
    result.as_ref().is_err_and(|error| rejection(error).is_some())
}

#[pinned_drop]
impl<S, K, C> PinnedDrop for ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if !matches!(*this.state, RetryCallState::Over) {
            time::forget_latest();
            let attempts = this.attempts;
            // Cut by an outer deadline, which leaves no time for a retry: the same as if this layer had reached it.
            let is_cut = attempts.inherited.deadline.is_some() && attempts.inherited.has_expired(time::now());
            if is_cut {
                attempts.end_withdrawal(Verdict::TimedOut);
            }
            this.state.as_mut().end(attempts, Stop::Dropped, Verdict::Abandoned);
            if is_cut {
                scope::mark_exhausted();
            }
        }
    }
}

impl<S, K, C> fmt::Debug for ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempts { progress, deadline, .. } = &self.attempts;
        f.debug_struct("ResponseFuture").field("progress", progress).field("deadline", deadline).finish_non_exhaustive()
    }
}
