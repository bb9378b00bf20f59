use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::KIND;
use super::bucket::{Bucket, Turn};
use crate::admission::gate::{Permit, Waiter};
use crate::admission::timer::Timer;
use crate::algorithm::queue::Until;
use crate::ground::context::{self, Context};
use crate::ground::error::{Reason, Rejected};
use crate::ground::sync::Arc;
use crate::ground::telemetry::Source;
use crate::ground::time::{self, Instant};
use crate::middleware::bound::{Bound, DEFAULT_MAX_HOLD};
use crate::middleware::inner::{BoundedCall, Call, Taken, reject};

/// A call that starts when the rate allows it.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F> {
    #[pin]
    state: State<S, Req, F>,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<S, Req, F> {
    /// The call's turn has not come => Running, or Over if it will not come in time.
    Waiting {
        turn: Place,
        bucket: Arc<Bucket>,
        inner: Option<(Taken<S>, Req)>,
        context: Context,
    },
    /// It has started, or was refused => Over.
    Running {
        #[pin]
        call: BoundedCall<S, Req, F>,
    },
    Over,
}

/// Where a waiting call stands.
#[derive(Debug)]
enum Place {
    /// In the line => Head.
    Waiting(Waiter),
    /// Asks the limiter, and sleeps until the instant it is told. `None` is: it has not asked yet.
    Head { _place: Permit, earliest: Option<Instant>, until: Until, timer: Timer },
}

impl<S, Req, F> ResponseFuture<S, Req, F> {
    pub(super) fn refused(rejected: Rejected) -> Self {
        Self { state: State::Running { call: BoundedCall::refused(rejected) } }
    }

    pub(super) fn running(call: Call<S, Req, F>, now: Instant) -> Self {
        Self { state: State::running(call, now, &context::current()) }
    }

    pub(super) fn waiting(turn: Turn, bucket: Arc<Bucket>, inner: Taken<S>, request: Req) -> Self {
        let turn = match turn {
            Turn::Waiting(waiter) => Place::Waiting(waiter),
            Turn::Head { place, earliest, until } => {
                Place::Head { _place: place, earliest: Some(earliest), until, timer: Timer::new() }
            }
        };
        Self { state: State::Waiting { turn, bucket, inner: Some((inner, request)), context: context::current() } }
    }
}

impl<S, Req, F> State<S, Req, F> {
    fn running(call: Call<S, Req, F>, now: Instant, context: &Context) -> Self {
        Self::Running { call: BoundedCall::new(call, Bound::within(now, context, DEFAULT_MAX_HOLD)) }
    }
}

impl Place {
    /// Ready when the call has its permit, or will not have one in time.
    fn poll(&mut self, bucket: &Bucket, cx: &mut task::Context<'_>) -> Poll<Result<Instant, Rejected>> {
        loop {
            match self {
                Self::Waiting(waiter) => {
                    let until = waiter.until();
                    *self = match ready!(waiter.poll(cx)) {
                        Ok(place) => Self::Head { _place: place, earliest: None, until, timer: Timer::new() },
                        Err(_) => return Poll::Ready(Err(Rejected::by(Source::nameless(KIND), Reason::RateLimited))),
                    };
                }
                Self::Head { earliest, until, timer, .. } => {
                    let now = match *earliest {
                        Some(earliest) if timer.poll_until(cx, earliest.min(until.at)).is_pending() => {
                            time::mark_local_wait();
                            return Poll::Pending;
                        }
                        _ => time::now(),
                    };
                    // Up before its time: the runtime has shut down, and nothing can be waited for any more.
                    let ended = earliest.is_some_and(|earliest| now < earliest.min(until.at));
                    match bucket.take(now) {
                        Ok(()) => return Poll::Ready(Ok(now)),
                        Err(next) if ended || now >= until.at || next > until.at => {
                            let rejected = Rejected::by(Source::nameless(KIND), Reason::RateLimited);
                            return Poll::Ready(Err(rejected.with_retry_after(Some(next.since(now)))));
                        }
                        Err(next) => *earliest = Some(next),
                    }
                }
            }
        }
    }
}

impl<S, Req, F> Future for ResponseFuture<S, Req, F>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Waiting { turn, bucket, inner, context } => {
                    let started = ready!(turn.poll(bucket, cx));
                    let (inner, context) = (inner.take(), *context);
                    // The head's place is the next one's before our call begins.
                    state.set(State::Over);
                    match (started, inner) {
                        (Ok(now), Some((inner, request))) => {
                            state.set(State::running(inner.call(request), now, &context))
                        }
                        (Err(rejected), _) => return Poll::Ready(Err(reject(rejected))),
                        (Ok(_), None) => return Poll::Pending,
                    }
                }
                StateProj::Running { call } => {
                    let result = ready!(call.poll(cx, Source::nameless(KIND), None));
                    state.set(State::Over);
                    return Poll::Ready(result);
                }
                StateProj::Over => return Poll::Pending,
            }
        }
    }
}
