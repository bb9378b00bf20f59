use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::answer::{FallbackAnswer, KeepRequest};
use super::call::FallbackCall;
use super::failure::{Failure, FallbackFailed};
use super::mark::Mark;
use crate::algorithm::fallback::is_system_failure;
use crate::ground::error::Rejected;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{self, Cause, Classify, Verdict};
use crate::layers::call::inner::Call;
use crate::layers::call::upload_waits;
use crate::telemetry::NoFallback;

/// A call that a fallback answers if the inner service fails.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt>,
    C: Classify<S::Response>,
{
    #[allow(clippy::type_complexity, reason = "four futures, each in its state")]
    #[pin]
    state: FallbackFutureState<Call<S, A::Attempt, S::Future>, C::Settling, C::Detaching, A::Answering, C::Settled>,
    call: FallbackCall,
    /// `None` if no fallback can follow.
    attempted: Option<Attempted<A, A::Kept>>,
    classifier: C,
    mark: M,
}

/// What a fallback needs of the call.
#[derive(Debug)]
pub(super) struct Attempted<A, K> {
    pub(super) answer: A,
    pub(super) kept: K,
}

#[pin_project(project = FallbackFutureStateProj)]
enum FallbackFutureState<Inner, Settling, Detaching, Answering, T> {
    /// The inner service has the call => Settling | Answering | Over
    Calling {
        #[pin]
        call: Inner,
    },
    /// Its response is inspected => Detaching | Over
    Settling {
        #[pin]
        settling: Settling,
    },
    /// What can be kept of a failed response is kept, and the fallback begins after that => Answering | Over
    Detaching {
        #[pin]
        detaching: Detaching,
        verdict: Verdict,
        answering: Option<Answering>,
    },
    /// The fallback has the call => Over
    Answering {
        #[pin]
        answering: Answering,
        failure: Option<Failure<T>>,
    },
    /// The caller has the result.
    Over,
}

impl<S, Req, A, C, M> ResponseFuture<S, Req, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt>,
    C: Classify<S::Response>,
{
    #[inline(always)]
    pub(super) fn new(
        inner: Call<S, A::Attempt, S::Future>,
        call: FallbackCall,
        attempted: Option<Attempted<A, A::Kept>>,
        classifier: C,
        mark: M,
    ) -> Self {
        Self { state: FallbackFutureState::Calling { call: inner }, call, attempted, classifier, mark }
    }
}

impl<S, Req, A, C, M> Future for ResponseFuture<S, Req, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt>,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    M: Mark<C::Settled, A::Answer>,
{
    type Output = Result<M::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        call.polled = true;
        let layer_id = call.instruments.layer_id();
        loop {
            let failure = match this.state.as_mut().project() {
                FallbackFutureStateProj::Calling { call: inner } => {
                    let answer = {
                        let _sending = upload_waits::enter(call.sending.as_ref());
                        inner.poll(cx, layer_id)
                    };
                    match answer {
                        Poll::Ready(Ok(response)) => {
                            let settling = this.classifier.settle(response);
                            this.state.set(FallbackFutureState::Settling { settling });
                            continue;
                        }
                        Poll::Ready(Err(error)) => {
                            let verdict = verdict::judge(this.classifier, Err(&error));
                            Failure::new(Err(error), verdict, layer_id)
                        }
                        Poll::Pending => {
                            let why = ready!(call.poll_deadline(cx));
                            this.state.set(FallbackFutureState::Over);
                            return Poll::Ready(Err(call.cut(why)));
                        }
                    }
                }
                FallbackFutureStateProj::Settling { settling } => match settling.poll(cx) {
                    Poll::Ready((Verdict::Success, response)) => {
                        this.state.set(FallbackFutureState::Over);
                        call.timer.disarm();
                        call.record(Verdict::Success);
                        return Poll::Ready(Ok(this.mark.inner(response)));
                    }
                    Poll::Ready((verdict, response)) => Failure::new(Ok(response), verdict, layer_id),
                    Poll::Pending => {
                        let why = ready!(call.poll_deadline(cx));
                        this.state.set(FallbackFutureState::Over);
                        return Poll::Ready(Err(call.cut(why)));
                    }
                },
                FallbackFutureStateProj::Detaching { detaching, verdict, answering } => {
                    let verdict = *verdict;
                    // It ends before the call does, or an outer deadline would drop what it keeps.
                    let detached = {
                        let _entered = scope::enter(call.context().with_deadline(Some(call.deadline.at())));
                        detaching.poll(cx)
                    };
                    let Poll::Ready(response) = detached else {
                        let why = ready!(call.poll_deadline(cx));
                        this.state.set(FallbackFutureState::Over);
                        return Poll::Ready(Err(call.cut(why)));
                    };
                    let failure = Failure::new(Ok(response), verdict, layer_id);
                    if call.is_over(time::now()) {
                        call.not_answered(failure.as_cause(), NoFallback::Deadline, None);
                        return Poll::Ready(end(this.state, call, this.mark, failure));
                    }
                    let Some(answering) = answering.take() else { return Poll::Pending };
                    this.state.set(FallbackFutureState::Answering { answering, failure: Some(failure) });
                    continue;
                }
                FallbackFutureStateProj::Answering { answering, failure } => {
                    let answer = {
                        let _entered = scope::enter(call.context());
                        answering.poll(cx)
                    };
                    let answer = match answer {
                        Poll::Ready(answer) => Some(answer),
                        Poll::Pending => {
                            ready!(call.poll_deadline(cx));
                            None
                        }
                    };
                    let Some(failure) = failure.take() else { return Poll::Pending };
                    this.state.set(FallbackFutureState::Over);
                    call.timer.disarm();
                    let (cause, verdict) = (failure.as_cause(), failure.verdict());
                    return Poll::Ready(match answer {
                        Some(Ok(response)) => {
                            call.answered(cause);
                            Ok(this.mark.fallback(response, failure))
                        }
                        Some(Err(error)) => {
                            call.not_answered(cause, NoFallback::Failed, Some(&error));
                            call.record(verdict);
                            match failure.into_result() {
                                Ok(response) => Ok(this.mark.unanswered(response, error)),
                                Err(inner) => Err(FallbackFailed::new(inner, error).into()),
                            }
                        }
                        // The time of the call is over. An error of the inner service is never replaced by a cut.
                        None => {
                            call.not_answered(cause, NoFallback::Deadline, None);
                            call.record(verdict);
                            failure.into_result().map(|response| this.mark.inner(response))
                        }
                    });
                }
                // Polled after completion, as fused futures may be.
                FallbackFutureStateProj::Over => return Poll::Pending,
            };

            // The inner service has failed, or its caller has.
            let Some(attempted) = this.attempted.take().filter(|_| is_of_the_system(&failure)) else {
                return Poll::Ready(end(this.state, call, this.mark, failure));
            };
            let why_not = if call.is_over(time::now()) {
                Some(NoFallback::Deadline)
            } else {
                (!A::may_answer(&attempted.kept, failure.verdict())).then_some(NoFallback::NotRepeatable)
            };
            if let Some(why) = why_not {
                call.not_answered(failure.as_cause(), why, None);
                return Poll::Ready(end(this.state, call, this.mark, failure));
            }
            if failure.error().is_some() {
                // Nothing of the inner call may go on while the fallback answers.
                this.state.set(FallbackFutureState::Over);
            }
            // Asked before the response is detached, which truncates it: if the fallback declines, the caller gets it whole.
            let Some(answering) = begin(call, attempted, &failure) else {
                return Poll::Ready(end(this.state, call, this.mark, failure));
            };
            let verdict = failure.verdict();
            match failure.into_result() {
                Ok(response) => {
                    let detaching = this.classifier.detach(response);
                    this.state.set(FallbackFutureState::Detaching { detaching, verdict, answering: Some(answering) });
                }
                Err(error) => {
                    let failure = Some(Failure::new(Err(error), verdict, layer_id));
                    this.state.set(FallbackFutureState::Answering { answering, failure });
                }
            }
        }
    }
}

fn is_of_the_system<T>(failure: &Failure<T>) -> bool {
    is_system_failure(failure.verdict(), failure.rejected().map(Rejected::reason))
}

/// Starts the fallback, in the context of the call. `None` if it declines.
fn begin<K, T, A: FallbackAnswer<K, T>>(
    call: &FallbackCall,
    Attempted { answer, kept }: Attempted<A, K>,
    failure: &Failure<T>,
) -> Option<A::Answering> {
    let _entered = scope::enter(call.context());
    let begun = answer.begin(kept, failure);
    if begun.is_none() {
        call.not_answered(failure.as_cause(), NoFallback::Declined, None);
    }
    begun
}

/// Ends a call whose caller gets the result of the inner service.
fn end<I, D, E, N, T, R, M: Mark<T, R>>(
    mut state: Pin<&mut FallbackFutureState<I, D, E, N, T>>,
    call: &mut FallbackCall,
    mark: &M,
    failure: Failure<T>,
) -> Result<M::Response, BoxError> {
    state.set(FallbackFutureState::Over);
    call.timer.disarm();
    call.record(failure.verdict());
    failure.into_result().map(|response| mark.inner(response))
}

#[pinned_drop]
impl<S, Req, A, C, M> PinnedDrop for ResponseFuture<S, Req, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt>,
    C: Classify<S::Response>,
{
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        // A call that was never polled has not begun, and is not recorded.
        if matches!(*this.state, FallbackFutureState::Over) || !this.call.polled {
            return;
        }
        let cause = match this.state.as_mut().project() {
            FallbackFutureStateProj::Answering { failure, .. } => failure.as_ref().map(Failure::as_cause),
            FallbackFutureStateProj::Detaching { verdict, .. } => Some(Cause::Judged(*verdict)),
            _ => None,
        };
        // The inner parts are dropped first, so that they report before this layer does.
        this.state.set(FallbackFutureState::Over);
        if let Some(cause) = cause.filter(|_| this.call.inherited.has_expired(time::now())) {
            this.call.not_answered(cause, NoFallback::Deadline, None);
        }
        this.call.record(Verdict::Abandoned);
    }
}

impl<S, Req, A, C, M> fmt::Debug for ResponseFuture<S, Req, A, C, M>
where
    A: KeepRequest<Req> + FallbackAnswer<<A as KeepRequest<Req>>::Kept, C::Settled>,
    S: Service<A::Attempt>,
    C: Classify<S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("deadline", &self.call.deadline).finish_non_exhaustive()
    }
}
