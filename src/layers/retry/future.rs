use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as Shared;
use std::task::{self, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::call_settings::CallSettings;
use super::call_state::{AttemptSource, InitialState, Retrying, State, StateProj};
use super::limit::{AttemptBounds, attempt_cut, inside, numbered};
use super::policy::{EndedAttempt, GrantedRetry, Policy, RetryProgress};
use super::replay::Kept;
use super::report::{self, Report, Stop};
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::chance;
use crate::ground::error::{Reason, rejection};
use crate::ground::scope::{self, Context, ExhaustedBefore};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{self, Classify, Expiry, Verdict};
use crate::layers::call::inner::{Call, CallError, Taken};
use crate::layers::call::upload_waits::{self, UploadWaits};
use crate::layers::core::observed;
use crate::telemetry::{self, AttemptSpan};

/// A call that is retried when it fails.
#[pin_project(project = FutureProj, PinnedDrop)]
pub struct ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[allow(clippy::type_complexity, reason = "three futures, each in its state")]
    #[pin]
    state: State<Call<S, K::Attempt, S::Future>, C::Settling, C::Detaching>,
    /// Fires when the current attempt times out.
    timer: Timer,
    /// When the current attempt is cut, if that is before the end of the call.
    cut: Option<Instant>,
    /// The bound of the whole call.
    deadline: CallDeadline,
    /// `None` once no further attempt can follow.
    attempt_source: Option<AttemptSource<S, K>>,
    /// `None` until an attempt has failed and a retry follows.
    retrying: Option<Box<Retrying<C::Settled>>>,
    progress: RetryProgress,
    /// A call that was never polled has not begun, and is not recorded.
    polled: bool,
    /// The span of the current attempt, if spans are enabled.
    span: Option<Box<AttemptSpan>>,
    /// The waits of the current attempt's request body.
    upload_waits: Option<Shared<UploadWaits>>,
    /// The verdicts of the attempts, if a report was requested.
    verdicts: Option<Box<Verdicts>>,
    inherited: Context,
    exhausted_before: ExhaustedBefore,
    classifier: C,
    settings: CallSettings,
    policy: Arc<Policy>,
}

#[derive(Debug, Default)]
struct Verdicts(Vec<Verdict>);

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[inline(always)]
    pub(super) fn new(
        call: Call<S, K::Attempt, S::Future>,
        attempt_source: Option<AttemptSource<S, K>>,
        initial: InitialState,
        policy: Arc<Policy>,
        classifier: C,
    ) -> Self {
        let InitialState { inherited, settings, deadline, cut, span, upload_waits } = initial;
        let attempts = if matches!(call, Call::Refused(_)) { 0 } else { 1 };
        Self {
            state: State::Attempting { call },
            timer: Timer::new(),
            cut,
            deadline,
            attempt_source,
            retrying: None,
            progress: RetryProgress::new(attempts, deadline.start()),
            polled: false,
            span,
            upload_waits,
            verdicts: None,
            inherited,
            exhausted_before: scope::exhausted_before(),
            classifier,
            settings,
            policy,
        }
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
        *this.polled = true;
        // The call may have been moved to a task in which no outer layer enforces the deadline.
        let enforced = this.inherited.deadline.is_some_and(|deadline| scope::current().ends_by(deadline));
        let layer_id = this.policy.instruments.layer_id();
        if this.policy.instruments.named().is_some() {
            // Otherwise the end of the call would use an older clock read than that of an inner layer.
            time::forget_latest();
        }
        loop {
            let call_context = numbered(*this.inherited, this.settings, this.progress.attempts).with_enforced(enforced);
            let inside = inside(call_context, *this.cut);
            let has_failed = this.retrying.as_ref().is_some_and(|retrying| retrying.failure.is_some());
            let bounds = AttemptBounds { call: *this.deadline, cut: *this.cut, since: this.progress.since, has_failed };
            let (verdict, result) = match this.state.as_mut().project() {
                StateProj::Attempting { mut call } => {
                    let answer = {
                        let _entered = (scope::enter(inside), this.cut.map(|_| scope::enforce(cx.waker())));
                        let _sending = upload_waits::enter(this.upload_waits.as_ref());
                        let _span = this.span.as_ref().map(|span| span.enter());
                        scope::noting_local_wait(|| call.as_mut().poll_call(cx, layer_id))
                    };
                    match answer {
                        (Poll::Ready(Ok(response)), _) => {
                            mark(this.retrying, true);
                            let settling = this.classifier.settle(response);
                            this.state.set(State::Settling { settling });
                            continue;
                        }
                        (Poll::Ready(Err(failed)), _) => {
                            let is_called = matches!(failed, CallError::Called(_));
                            let error = failed.into_inner();
                            let verdict = verdict::judge(this.classifier, Err(&error));
                            mark(this.retrying, is_called && verdict != Verdict::Unsent && !is_refused(&error));
                            (verdict, Err(error))
                        }
                        (Poll::Pending, is_local) => {
                            if !is_local {
                                mark(this.retrying, true);
                            }
                            ready!(bounds.poll_cut(this.timer, cx, call.is_waiting(), layer_id))
                        }
                    }
                }
                StateProj::Settling { settling } => {
                    let settled = {
                        let _entered = (scope::enter(inside), this.cut.map(|_| scope::enforce(cx.waker())));
                        let _span = this.span.as_ref().map(|span| span.enter());
                        settling.poll(cx)
                    };
                    match settled {
                        Poll::Ready((verdict, response)) => {
                            mark(this.retrying, verdict != Verdict::Unsent);
                            (verdict, Ok(response))
                        }
                        Poll::Pending => ready!(bounds.poll_cut(this.timer, cx, false, layer_id)),
                    }
                }
                StateProj::Detaching { detaching, until, cause } => {
                    let (until, cause) = (*until, *cause);
                    // It ends before the call does. The deadline may be our own, so inner layers do not see it otherwise, and what
                    // the response keeps would be lost to it.
                    let inside = inside.with_deadline(Some(this.deadline.at()));
                    let detached = {
                        let _entered = scope::enter(inside);
                        detaching.poll(cx)
                    };
                    match detached {
                        Poll::Ready(response) => {
                            this.retrying().failure = Some(Ok(response));
                            this.back_off(until, cause);
                            continue;
                        }
                        Poll::Pending => ready!(bounds.poll_cut(this.timer, cx, false, layer_id)),
                    }
                }
                StateProj::BackingOff { until, timer, cause } => {
                    if timer.poll_until(cx, *until).is_pending() {
                        scope::mark_local_wait();
                        return Poll::Pending;
                    }
                    let (cause, now) = (*cause, time::now());
                    // The wake-up may be much later than `until`.
                    let stop = if now >= this.deadline.at() {
                        Stop::Deadline
                    } else if let Some(call) = this.begin(call_context, now) {
                        telemetry::retried(&this.policy.instruments, cause);
                        observed::request_publication();
                        this.state.set(State::Attempting { call });
                        continue;
                    } else {
                        Stop::NotRepeatable
                    };
                    let failure = this.take_failure();
                    this.finish(stop, cause);
                    this.report_exhaustion(stop, cause);
                    return failure.map_or(Poll::Pending, Poll::Ready);
                }
                // Polled after completion, as fused futures may be.
                StateProj::Over => return Poll::Pending,
            };

            this.end_span(verdict);
            // Spend or refund this attempt's token before the next one is withdrawn.
            this.drop_withdrawal();
            let is_ours = is_ours(&result);
            let next = this.next(verdict, (!is_ours).then_some(result.as_ref()));
            let result = if is_ours { this.take_failure().unwrap_or(result) } else { result };
            match next {
                Ok(granted) => {
                    this.retrying().withdrawal = Some(granted.withdrawal);
                    let (until, cause) = (granted.at, verdict);
                    // This drops the rest of the attempt, so that it holds nothing during the backoff.
                    match result {
                        Ok(response) => {
                            // The attempt is over: from here on only the call's deadline applies.
                            *this.cut = None;
                            this.timer.disarm();
                            let detaching = this.classifier.detach(response);
                            this.state.set(State::Detaching { detaching, until, cause });
                        }
                        Err(error) => {
                            this.retrying().failure = Some(Err(error));
                            this.back_off(until, cause);
                        }
                    }
                }
                Err(stop) => {
                    this.finish(stop, verdict);
                    this.report_exhaustion(stop, verdict);
                    return Poll::Ready(result.map(|response| match *this.cut {
                        // The attempt's timeout also bounds the rest of its response.
                        Some(at) if !inside.lasts() => {
                            let _entered = scope::enter(inside);
                            let expiry = Expiry::new(layer_id, at, Reason::AttemptTimeout);
                            this.classifier.bound(response, expiry.since(this.progress.since))
                        }
                        _ => response,
                    }));
                }
            }
        }
    }
}

impl<S, K, C> FutureProj<'_, S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    fn retrying(&mut self) -> &mut Retrying<C::Settled> {
        self.retrying.get_or_insert_default()
    }

    fn take_failure(&mut self) -> Option<Result<C::Settled, BoxError>> {
        self.retrying.as_mut()?.failure.take()
    }

    /// Spends or refunds the token of the current attempt.
    fn drop_withdrawal(&mut self) {
        if let Some(retrying) = self.retrying {
            retrying.withdrawal = None;
        }
    }

    /// Starts the backoff. Nothing of the attempt that failed may go on meanwhile.
    fn back_off(&mut self, until: Instant, cause: Verdict) {
        self.state.set(State::BackingOff { until, timer: Timer::new(), cause });
        if let Some(attempt_source) = self.attempt_source {
            attempt_source.kept.give_up();
        }
    }

    /// Starts the next attempt. `None` if its request cannot be made after all.
    fn begin(&mut self, context: Context, now: Instant) -> Option<Call<S, K::Attempt, S::Future>>
    where
        S: Clone,
    {
        let attempt = self.progress.attempts.saturating_add(1);
        let cut = attempt_cut(self.deadline, self.inherited, self.settings, now);
        let _entered = scope::enter(inside(context.with_attempt(attempt), cut));
        let attempt_source = self.attempt_source.as_mut()?;
        let request = attempt_source.kept.next()?;
        *self.upload_waits = attempt_source.kept.sending();
        let service = Taken::not_ready(attempt_source.service.clone(), self.policy.readiness_limit.clone());
        self.progress.attempts = attempt;
        self.progress.since = now;
        *self.cut = cut;
        self.timer.disarm();
        if attempt >= self.settings.max_attempts {
            *self.attempt_source = None;
        }
        *self.span = self.settings.attempt_spans.then(|| Box::new(AttemptSpan::new(&self.policy.instruments, attempt)));
        let _span = (self.span.as_ref().map(|span| span.enter()), upload_waits::enter(self.upload_waits.as_ref()));
        Some(service.call(request))
    }

    fn end_span(&mut self, verdict: Verdict) {
        if let Some(span) = self.span.take() {
            span.end(verdict);
        }
    }

    /// Decides what follows an attempt that ended. `theirs` is the dependency's own result, if there is one.
    fn next(&mut self, verdict: Verdict, theirs: Option<Result<&C::Settled, &BoxError>>) -> Result<GrantedRetry, Stop> {
        if report::is_requested() {
            let verdicts = &mut self.verdicts.get_or_insert_default().0;
            // An attempt that failed may be cut while its response is detached. It has its verdict already.
            if verdicts.len() < self.progress.attempts as usize {
                verdicts.push(verdict);
            }
        }
        // Checked first, so that a call that succeeds does not read the clock again.
        if verdict == Verdict::Success {
            return Err(Stop::Succeeded);
        }
        let attempt_source = &*self.attempt_source;
        let repeatable =
            |verdict| attempt_source.as_ref().is_some_and(|attempt_source| attempt_source.kept.repeatable(verdict));
        let ended = EndedAttempt { verdict, now: time::now(), limit: self.deadline.at() };
        let retry_after = || theirs.and_then(|failed| self.classifier.retry_after(failed));
        self.policy.retry(self.settings, self.progress, ended, retry_after, repeatable, chance::sample)
    }

    /// Ends the call: releases all that it holds, and records how it went.
    fn finish(&mut self, stopped: Stop, last: Verdict) {
        self.state.set(State::Over);
        self.drop_withdrawal();
        self.end_span(last);
        if let Some(why) = stopped.not_retried().filter(|_| self.settings.enabled) {
            telemetry::not_retried(&self.policy.instruments, why);
            observed::request_publication();
        }
        let instruments = &self.policy.instruments;
        // A call without an attempt was refused, and is already counted as that.
        if instruments.named().is_some() && *self.polled && self.progress.attempts > 0 {
            observed::record(instruments, last, time::latest_or_now().since(self.deadline.start()));
        }
        self.publish_report(stopped);
    }

    /// Tells the tiers above that the retries of this one are exhausted, or that the handler has recovered from an earlier failure.
    fn report_exhaustion(&self, stopped: Stop, last: Verdict) {
        if matches!(last, Verdict::Success | Verdict::CallerFault) {
            scope::recovered(*self.exhausted_before);
        } else if stopped.is_final(last, self.progress.attempts) {
            scope::mark_exhausted();
        }
    }

    fn publish_report(&mut self, stopped: Stop) {
        if report::is_requested() {
            report::publish(Report {
                attempts: self.progress.attempts,
                stopped,
                verdicts: self.verdicts.take().unwrap_or_default().0,
                elapsed: time::now().since(self.deadline.start()),
            });
        }
    }
}

fn mark<T>(retrying: &mut Option<Box<Retrying<T>>>, sent: bool) {
    if let Some(withdrawal) = retrying.as_mut().and_then(|retrying| retrying.withdrawal.as_mut()) {
        withdrawal.mark(sent);
    }
}

/// Whether a layer of this crate refused to send it.
fn is_refused(error: &BoxError) -> bool {
    rejection(error).is_some_and(|rejected| rejected.verdict() == Verdict::Ignored)
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
        if !matches!(*this.state, State::Over) {
            time::forget_latest();
            // Drop the attempt first, so that an inner retry reports before this one does.
            this.finish(Stop::Dropped, Verdict::Abandoned);
            // Cut by an outer deadline, which leaves no time for a retry: the same as if this layer had reached it.
            if this.inherited.deadline.is_some() && this.inherited.has_expired(time::now()) {
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
        let Self { progress, deadline, .. } = self;
        f.debug_struct("ResponseFuture").field("progress", progress).field("deadline", deadline).finish_non_exhaustive()
    }
}
