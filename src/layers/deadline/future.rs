use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::timer;
use crate::ground::context::{self, Context};
use crate::ground::error::{AtDeadline, Reason, rejection};
use crate::ground::layer_id::LayerId;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{AtResponse, Classify, Expiry, Guard, Pace, Verdict};
use crate::layers::call::bound::Bound;
use crate::layers::call::inner::BoundedCall;
use crate::layers::core::observed;
use crate::telemetry;

/// What lives in a response until the call is over: the instant at which it must be.
#[derive(Debug)]
pub struct Cut {
    expiry: Expiry,
}

impl Guard for Cut {
    const IS_BOUND_ONLY: bool = true;

    fn settle(self, _verdict: Verdict) {}

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

/// When the response of a call must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// When the call began.
    pub(super) start: Instant,
    /// The call's deadline.
    pub(super) at: Instant,
    /// The deadline that was inherited.
    pub(super) outermost: Instant,
    /// Counts from the head, where the body has a bound of its own.
    pub(super) body_timeout: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) pace: Pace,
    /// Whose bound it is.
    pub(super) layer_id: LayerId,
}

impl Ending {
    /// Whether the call's deadline is about now. What is sent along is the time left but for an allowance, a tenth at most, and
    /// the timer that goes by it has a grain as ours has.
    fn is_near(&self, bound: &Bound) -> bool {
        let left = bound.instant().since(time::now());
        left <= bound.instant().since(self.start) / 10 + 2 * timer::GRAIN
    }

    /// The same as our own cut to whoever looks for that.
    fn at_deadline(&self, bound: &Bound, error: BoxError) -> BoxError {
        let cut = telemetry::refuse(self.layer_id, bound.why(time::now())).report();
        observed::stir();
        AtDeadline::new(cut, error).into()
    }

    fn cut(self) -> Cut {
        let (start, at) = match self.body_timeout {
            Some(timeout) => {
                let now = time::now();
                (now, self.outermost.min(now + timeout))
            }
            None => (self.start, self.at),
        };
        let expiry = Expiry::new(self.layer_id, at, Reason::DeadlineExceeded).since(start);
        Cut { expiry: Expiry { idle: self.idle, pace: self.pace, ..expiry } }
    }
}

/// A call with a deadline.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: BoundedCall<S, Req, F>,
    /// The context that everything in the call is polled in.
    inside: Context,
    ending: Ending,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    pub(super) fn new(call: BoundedCall<S, Req, F>, inside: Context, ending: Ending, classifier: C) -> Self {
        Self { call, inside, ending, classifier }
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<Cut>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match ready!(this.call.as_mut().poll(cx, this.ending.layer_id, Some(*this.inside))) {
            Ok(response) => response,
            Err(error) => {
                // Where there is a cut or a refusal already, nothing is asked.
                let timed_out = || this.classifier.classify(Err(&error)) == Verdict::TimedOut;
                let kept_to_it = rejection(&error).is_none() && timed_out() && this.ending.is_near(this.call.bound());
                return Poll::Ready(Err(if kept_to_it {
                    this.ending.at_deadline(this.call.bound(), error)
                } else {
                    error
                }));
            }
        };
        let verdict = this.classifier.classify(Ok(&response));
        let _entered = context::enter(*this.inside);
        Poll::Ready(Ok(this.classifier.hold(response, verdict, this.ending.cut())))
    }
}
