use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::flight::{AttemptFlight, FlightNews};
use super::flights::Flights;
use super::hedged_call::{HedgedCall, numbered, stop_of};
use crate::algorithm::hedge::AfterAttempt;
use crate::ground::error::rejection;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::reject;
use crate::layers::retry::Kept;
use crate::layers::retry::report::Stop;
use crate::telemetry;

/// A call that is hedged when it is slow.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[pin]
    flights: Flights<S, K, C>,
    call: HedgedCall<S, K, C::Settled>,
    classifier: C,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Running,
    /// All attempts have failed, and what is left of the dependency's own failure is read.
    Failed(Stop, Verdict),
    Over,
}

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[inline(always)]
    pub(super) fn new(first: AttemptFlight<S, K, C>, call: HedgedCall<S, K, C::Settled>, classifier: C) -> Self {
        Self { flights: Flights::new(first), call, classifier, progress: Progress::Running }
    }

    /// Ends the call. The attempts are dropped first, so that inner layers report before this one does.
    fn end(self: Pin<&mut Self>, stopped: Stop, last: Verdict) {
        let mut this = self.project();
        *this.progress = Progress::Over;
        this.call.learn_unanswered(&this.flights, last);
        match stopped {
            Stop::Dropped => this.flights.as_mut().cancel(),
            _ => scope::cancelling_needless(|| this.flights.as_mut().cancel()),
        }
        this.call.finish(stopped, last);
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if matches!(self.progress, Progress::Over) {
            // Polled after completion, as fused futures may be.
            return Poll::Pending;
        }
        let this = self.as_mut().project();
        this.call.polled = true;
        if this.call.policy.instruments.named().is_some() {
            // Otherwise the end of the call would use an older clock read than that of an inner layer.
            time::forget_latest();
        }
        loop {
            match self.as_mut().poll_attempts(cx) {
                Some((index, verdict, result)) => {
                    if let Some(answer) = self.as_mut().after_attempt(index, verdict, result) {
                        return Poll::Ready(answer);
                    }
                }
                None => match self.as_mut().poll_timers(cx) {
                    Poll::Ready(Some(answer)) => return Poll::Ready(answer),
                    Poll::Ready(None) => {}
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

/// An attempt that ended: its index, and its result.
type EndedAttempt<T> = (usize, Verdict, Result<T, BoxError>);

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    /// Polls the attempts in their order, up to the first that ends.
    fn poll_attempts(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Option<EndedAttempt<C::Settled>> {
        let mut this = self.project();
        let call = this.call;
        // The call may have been moved to a task in which no outer layer enforces the deadline.
        let enforced = call.inherited.deadline.is_some_and(|deadline| scope::current().ends_by(deadline));
        let layer_id = call.policy.instruments.layer_id();
        for index in 0.. {
            let flight = this.flights.as_mut().get(index)?;
            let mut context = numbered(call.inherited, &call.settings, flight.number()).with_enforced(enforced);
            if flight.is_detaching() {
                // The deadline may be our own, so inner layers do not see it otherwise, and what the response keeps would be lost
                // to it.
                context = context.with_deadline(Some(call.deadline.at()));
            }
            let (news, endpoint) = call.endpoints.noting(|| flight.poll(cx, this.classifier, context, layer_id));
            if endpoint.is_some() && call.hedging.started() > 1 {
                // An attempt may have waited for its endpoint while later ones were started.
                call.endpoints.avoid_last();
            }
            match news {
                Poll::Ready(FlightNews::Ended(verdict, result)) => return Some((index, verdict, result)),
                Poll::Ready(FlightNews::Detached(response)) => call.keep_failure(Ok(response)),
                Poll::Pending => {}
            }
        }
        None
    }

    /// What follows the end of an attempt: the answer of the call, or the next attempt.
    fn after_attempt(
        mut self: Pin<&mut Self>,
        index: usize,
        verdict: Verdict,
        result: Result<C::Settled, BoxError>,
    ) -> Option<Result<C::Settled, BoxError>> {
        let this = self.as_mut().project();
        let call = this.call;
        let is_ours = result.as_ref().is_err_and(|error| rejection(error).is_some());
        let now = time::now();
        let took = this.flights.iter().nth(index).map(|flight| flight.took(now)).unwrap_or_default();
        let theirs = (!is_ours).then_some(result.as_ref());
        let after = call.end_attempt(this.classifier, verdict, theirs, took);
        let stop = match after {
            AfterAttempt::Decided => {
                if index > 0 && verdict != Verdict::Failed {
                    call.policy.instruments.tally().hedges_won.add();
                }
                if verdict == Verdict::Success {
                    call.learn(&this.flights, index, now);
                }
                let stop = if verdict == Verdict::Success { Stop::Succeeded } else { Stop::Verdict };
                return Some(self.answer(stop, verdict, result));
            }
            AfterAttempt::Wait => {
                self.keep(index, result, is_ours);
                return None;
            }
            AfterAttempt::Start => match call.begin(None, Some(verdict), time::now()) {
                Ok(flight) => {
                    this.flights.push(flight);
                    self.keep(index, result, is_ours);
                    return None;
                }
                Err(stop) if call.hedging.in_flight() > 0 => {
                    if let Some(why) = stop.not_retried() {
                        telemetry::not_hedged(&call.policy.instruments, why);
                    }
                    self.keep(index, result, is_ours);
                    return None;
                }
                Err(stop) => stop,
            },
            AfterAttempt::Pause if call.pay_for_pause(verdict) => {
                self.keep(index, result, is_ours);
                return None;
            }
            AfterAttempt::Pause => {
                call.hedging.skip();
                Stop::Budget
            }
            AfterAttempt::Exhausted(why) => stop_of(why),
        };
        if !is_ours {
            return Some(self.answer(stop, verdict, result));
        }
        // The last attempt was cut or refused by a layer of this crate: an earlier failure says more.
        self.as_mut().keep(index, result, true);
        self.fail(stop, verdict)
    }

    /// Keeps the failure of an attempt while the call goes on.
    fn keep(self: Pin<&mut Self>, index: usize, result: Result<C::Settled, BoxError>, is_ours: bool) {
        let this = self.project();
        match result {
            Err(error) if is_ours => this.call.keep_refusal(error),
            Err(error) => this.call.keep_failure(Err(error)),
            Ok(response) => {
                if let Some(flight) = this.flights.get(index) {
                    flight.detach(this.classifier, response);
                }
            }
        }
    }

    /// All attempts have failed: returns the last failure, once what is left of it is read.
    fn fail(mut self: Pin<&mut Self>, stop: Stop, last: Verdict) -> Option<Result<C::Settled, BoxError>> {
        let this = self.as_mut().project();
        if !this.call.has_failure() && this.flights.iter().any(AttemptFlight::is_detaching) {
            *this.progress = Progress::Failed(stop, last);
            return None;
        }
        let failure = this.call.take_failure()?;
        Some(self.answer(stop, last, failure))
    }

    fn answer(
        mut self: Pin<&mut Self>,
        stop: Stop,
        verdict: Verdict,
        result: Result<C::Settled, BoxError>,
    ) -> Result<C::Settled, BoxError> {
        self.as_mut().end(stop, verdict);
        self.call.report_exhaustion(stop, verdict);
        result
    }

    /// Starts the attempt that is due. Returns the answer of the call if it cannot start, and no other is in flight.
    fn begin_due(mut self: Pin<&mut Self>) -> Option<Result<C::Settled, BoxError>> {
        let mut this = self.as_mut().project();
        match this.call.begin_due() {
            Ok(Some(flight)) => {
                this.flights.as_mut().push(flight);
                None
            }
            Ok(None) => None,
            Err(stop) => {
                let last = this.call.last;
                self.fail(stop, last)
            }
        }
    }

    /// Waits for the next attempt and for the end of the call. Ready without an answer if the attempts are to be polled again.
    fn poll_timers(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<C::Settled, BoxError>>> {
        let this = self.as_mut().project();
        let call = this.call;
        if let Progress::Failed(stop, last) = *this.progress {
            if let Some(answer) = self.as_mut().fail(stop, last) {
                return Poll::Ready(Some(answer));
            }
        } else {
            let newest = this.flights.newest();
            if newest.is_in_flight() && newest.is_sent() && call.scheduled < newest.number() {
                call.schedule(newest.number());
            }
            // One timer serves both: a hedge that is due at the deadline or later is never made.
            if let Some(due) = call.hedging.due().filter(|due| *due < call.deadline.at()) {
                if call.poll_timer(due, cx).is_pending() {
                    this.flights.mark_local_wait();
                    return Poll::Pending;
                }
                match call.poll_due(this.flights.newest(), cx) {
                    Poll::Ready(true) => return Poll::Ready(self.begin_due()),
                    Poll::Ready(false) => return Poll::Ready(None),
                    // Until then only the deadline needs a timer.
                    Poll::Pending => {}
                }
            }
        }
        let this = self.as_mut().project();
        let call = this.call;
        let has_failure = call.has_failure() || this.flights.iter().any(AttemptFlight::is_detaching);
        let why = {
            // While there is a failure to return, this layer enforces the deadline itself: the outer layer that enforces it does
            // not know of the failure, and would return its own error instead.
            let _entered = has_failure.then(|| scope::enter(scope::current().with_enforced(false)));
            poll_deadline(&call.deadline, &mut call.timer, cx)
        };
        let Poll::Ready(why) = why else {
            this.flights.mark_local_wait();
            return Poll::Pending;
        };
        let refusal = telemetry::refuse(call.policy.instruments.layer_id(), why);
        let verdict = refusal.rejected().verdict();
        let refused = Err(reject(refusal));
        let result = if call.has_failure() { call.take_failure().unwrap_or(refused) } else { refused };
        Poll::Ready(Some(self.answer(Stop::Deadline, verdict, result)))
    }
}

#[pinned_drop]
impl<S, K, C> PinnedDrop for ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    fn drop(mut self: Pin<&mut Self>) {
        if matches!(self.progress, Progress::Over) {
            return;
        }
        time::forget_latest();
        self.as_mut().end(Stop::Dropped, Verdict::Abandoned);
        // Cut by an outer deadline, which leaves no time for another attempt: the same as if this layer had reached it.
        if self.call.inherited.deadline.is_some() && self.call.inherited.has_expired(time::now()) {
            scope::mark_exhausted();
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
        let HedgedCall { hedging, deadline, .. } = &self.call;
        f.debug_struct("ResponseFuture").field("hedging", hedging).field("deadline", deadline).finish_non_exhaustive()
    }
}
