use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::timer::{self, Timer};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{AtDeadline, Reason, rejection};
use crate::ground::layer_id::LayerId;
use crate::ground::scope::{self, Context};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{AtResponse, Classify, Expiry, Guard, Pace, SealedGuard, Verdict};
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::{Call, reject};
use crate::layers::core::observed;
use crate::telemetry;

/// The deadline that a response holds until the call is over.
///
/// Public only so that the types of responses can be named.
#[derive(Debug)]
pub struct Cut<N = ()> {
    expiry: Expiry,
    /// What names the request, in a warning about its response.
    named: Option<N>,
}

impl<N: Send + 'static> SealedGuard for Cut<N> {
    const IS_BOUND_ONLY: bool = true;

    fn named(&mut self) -> Option<&mut dyn Any> {
        Some(&mut self.named)
    }
}

impl<N: Send + 'static> Guard for Cut<N> {
    fn settle(self, _verdict: Verdict) {}

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

/// The bounds of the response beyond the call's deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseBounds {
    /// The inherited deadline.
    pub(super) outermost: Instant,
    /// Counts from the head, if the body has its own timeout.
    pub(super) body_timeout: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) pace: Pace,
}

/// A call with a deadline.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse, N = ()> {
    #[pin]
    call: Call<S, Req, F>,
    timer: Timer,
    deadline: OwnDeadline,
    response: ResponseBounds,
    classifier: C,
    named: Option<N>,
}

/// The deadline of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnDeadline {
    pub(super) start: Instant,
    /// The context in which everything in the call is polled. It holds the deadline, and the end of the response.
    pub(super) inside: Context,
    pub(super) reason: Reason,
    pub(super) layer_id: LayerId,
}

impl OwnDeadline {
    fn at(&self) -> Instant {
        self.inside.deadline.unwrap_or(Instant::MAX)
    }

    fn call_deadline(&self) -> CallDeadline {
        CallDeadline::new(self.start, self.at(), self.reason)
    }

    /// Whether the deadline is imminent. The dependency receives the time left minus an allowance of at most a tenth, and its timer
    /// may be late by its granularity, as ours may be.
    fn is_near(&self) -> bool {
        let left = self.at().since(time::now());
        left <= self.at().since(self.start) / 10 + 2 * timer::GRAIN
    }

    /// Turns a timeout that the dependency reports at our deadline into our own [`AtDeadline`] error, which contains it.
    fn at_deadline(&self, error: BoxError) -> BoxError {
        let cut = telemetry::refuse(self.layer_id, self.call_deadline().why(time::now())).report();
        observed::request_publication();
        AtDeadline::new(*cut, error).into()
    }

    fn cut<N>(&self, response: ResponseBounds, named: Option<N>) -> Cut<N> {
        let ResponseBounds { outermost, body_timeout, idle, pace } = response;
        let (start, at) = match body_timeout {
            Some(timeout) => {
                let now = time::now();
                (now, outermost.min(now + timeout))
            }
            None => (self.start, self.inside.last_instant().unwrap_or(Instant::MAX)),
        };
        let expiry = Expiry::new(self.layer_id, at, Reason::DeadlineExceeded).since(start);
        Cut { expiry: Expiry { idle, pace, ..expiry }, named }
    }
}

impl<S, Req, F, C, N> ResponseFuture<S, Req, F, C, N> {
    #[inline(always)]
    pub(super) fn new(
        call: Call<S, Req, F>,
        deadline: OwnDeadline,
        response: ResponseBounds,
        classifier: C,
        named: Option<N>,
    ) -> Self {
        Self { call, timer: Timer::new(), deadline, response, classifier, named }
    }
}

impl<S, Req, F, C, N> Future for ResponseFuture<S, Req, F, C, N>
where
    N: Send + 'static,
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<Cut<N>>, BoxError>;

    /// Polls the call first and the deadline second, or a result that is ready in time would be lost.
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let deadline = *this.deadline;
        let inside = (scope::enter(deadline.inside), scope::enforce(cx.waker()));
        let Poll::Ready(result) = this.call.as_mut().poll(cx, deadline.layer_id) else {
            // Otherwise the deadline would take itself for an outer one that is enforced already, and arm no timer.
            drop(inside);
            let why = ready!(poll_deadline(&deadline.call_deadline(), this.timer, cx));
            // Release all that the call holds now, since the caller may keep this future.
            this.call.set(Call::Over);
            return Poll::Ready(Err(reject(telemetry::refuse(deadline.layer_id, why))));
        };
        // The timer still holds the waker of this task, which would be woken for nothing.
        this.timer.disarm();
        match result {
            Ok(response) => {
                let verdict = this.classifier.classify(Ok(&response));
                let cut = deadline.cut(*this.response, this.named.take());
                Poll::Ready(Ok(this.classifier.hold(response, verdict, cut)))
            }
            Err(error) => {
                drop(inside);
                // If the error is a cut or a refusal of this crate already, the classifier is not called.
                let timed_out = || this.classifier.classify(Err(&error)) == Verdict::TimedOut;
                let is_at_deadline = rejection(&error).is_none() && timed_out() && deadline.is_near();
                Poll::Ready(Err(if is_at_deadline { deadline.at_deadline(error) } else { error }))
            }
        }
    }
}
