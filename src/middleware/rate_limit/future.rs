use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::bucket::{Bucket, Head, Turn};
use crate::admission::gate::Waiter;
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
    source: Source,
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
    /// Asks for a permit, and sleeps until the instant it is told. `None` is: it has not asked yet.
    Head { head: Head, told: Option<Told>, until: Until, timer: Timer },
}

/// When there will be a permit, at the rate of this generation.
#[derive(Clone, Copy, Debug)]
struct Told {
    earliest: Instant,
    rate: u32,
}

impl<S, Req, F> ResponseFuture<S, Req, F> {
    pub(super) fn refused(rejected: Rejected) -> Self {
        let source = rejected.instruments().source();
        Self { state: State::Running { call: BoundedCall::refused(rejected) }, source }
    }

    pub(super) fn running(call: Call<S, Req, F>, now: Instant, source: Source) -> Self {
        Self { state: State::running(call, now, &context::current()), source }
    }

    pub(super) fn waiting(turn: Turn, bucket: Arc<Bucket>, inner: Taken<S>, request: Req) -> Self {
        let turn = match turn {
            Turn::Waiting(waiter) => Place::Waiting(waiter),
            Turn::Head { place, until } => Place::head(Head::new(&bucket, place), until),
        };
        let source = bucket.instruments().source();
        let context = context::current();
        Self { state: State::Waiting { turn, bucket, inner: Some((inner, request)), context }, source }
    }
}

impl<S, Req, F> State<S, Req, F> {
    fn running(call: Call<S, Req, F>, now: Instant, context: &Context) -> Self {
        Self::Running { call: BoundedCall::new(call, Bound::within(now, context, DEFAULT_MAX_HOLD)) }
    }
}

impl Place {
    fn head(head: Head, until: Until) -> Self {
        Self::Head { head, told: None, until, timer: Timer::new() }
    }

    /// Ready when the call has its permit, or will not have one in time.
    fn poll(&mut self, bucket: &Arc<Bucket>, cx: &mut task::Context<'_>) -> Poll<Result<Instant, Rejected>> {
        loop {
            match self {
                Self::Waiting(waiter) => {
                    let until = waiter.until();
                    *self = match ready!(waiter.poll(cx)) {
                        Ok(place) => Self::head(Head::new(bucket, place), until),
                        Err(_) => {
                            return Poll::Ready(Err(Rejected::new(bucket.instruments().clone(), Reason::RateLimited)));
                        }
                    };
                }
                Self::Head { head, told, until, timer } => {
                    let rate = head.attend(cx.waker());
                    let earliest = told.filter(|told| told.rate == rate).map(|told| told.earliest.min(until.at));
                    let now = match earliest {
                        Some(earliest) if timer.poll_until(cx, earliest).is_pending() => {
                            time::mark_local_wait();
                            return Poll::Pending;
                        }
                        _ => time::now(),
                    };
                    // Up before its time: the runtime has shut down, and nothing can be waited for any more.
                    let ended = earliest.is_some_and(|earliest| now < earliest);
                    match bucket.take(now) {
                        Ok(()) => return Poll::Ready(Ok(now)),
                        Err(next) if ended || now >= until.at || next > until.at => {
                            let rejected = Rejected::new(bucket.instruments().clone(), Reason::RateLimited);
                            return Poll::Ready(Err(rejected.with_retry_after(Some(next.since(now)))));
                        }
                        Err(next) => *told = Some(Told { earliest: next, rate }),
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
        let this = self.project();
        let mut state = this.state;
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
                    let result = ready!(call.poll(cx, *this.source, None));
                    state.set(State::Over);
                    return Poll::Ready(result);
                }
                StateProj::Over => return Poll::Pending,
            }
        }
    }
}
