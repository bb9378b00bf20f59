mod after_attempt;
mod timers;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::flight::{AttemptFlight, FlightNews};
use super::flights::Flights;
use super::hedged_call::HedgedCall;
use crate::algorithm::hedge;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::retry::Kept;
use crate::layers::retry::report::Stop;

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
        if hedge::decides(last) {
            this.flights.as_mut().lose();
        }
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
type EndedFlight<T> = (usize, Verdict, Result<T, BoxError>);

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    /// Polls the attempts in their order, up to the first that ends.
    fn poll_attempts(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Option<EndedFlight<C::Settled>> {
        let mut this = self.project();
        let call = this.call;
        // The call may have been moved to a task in which no outer layer enforces the deadline.
        let current = scope::current();
        let enforced = call.inherited.deadline.is_some_and(|deadline| current.ends_by(deadline));
        if current.is_loss_repeated() {
            call.hedging.loss_was_repeated();
        }
        let layer_id = call.policy.instruments.layer_id();
        for index in 0.. {
            let mut flight = this.flights.as_mut().get(index)?;
            let numbered = call.policy.numbered(call.inherited, &call.settings, flight.number());
            let mut context = numbered.with_enforced(enforced);
            context = context.with_loss_repeated(call.hedging.is_loss_repeated());
            if flight.is_detaching() {
                // The deadline may be our own, so inner layers do not see it otherwise, and what the response keeps would be lost
                // to it.
                context = context.with_deadline(Some(call.deadline.at()));
            }
            let poll = || call.endpoints.noting(|| flight.as_mut().poll(cx, this.classifier, context, layer_id));
            let (((news, endpoint), is_repeated), is_probe) = scope::noting_probe(|| scope::noting_loss_repeated(poll));
            call.is_probe |= is_probe;
            if is_repeated {
                call.hedging.loss_was_repeated();
            }
            if let Some(cause) = flight.take_cause() {
                call.count_begun(cause, FlightNews::is_refusal(&news));
            }
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
