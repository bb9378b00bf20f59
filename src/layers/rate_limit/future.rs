use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::bucket::Turn;
use crate::ground::error::Rejected;
use crate::ground::scope::{self, Context};
use crate::ground::time::Instant;
use crate::layers::call::bound::{Bound, DEFAULT_MAX_HOLD};
use crate::layers::call::inner::{BoundedCall, Call, Taken, reject};
use crate::telemetry::Source;

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
        turn: Turn,
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

impl<S, Req, F> ResponseFuture<S, Req, F> {
    pub(super) fn refused(rejected: Rejected) -> Self {
        let source = rejected.instruments().source();
        Self { state: State::Running { call: BoundedCall::refused(rejected) }, source }
    }

    pub(super) fn running(call: Call<S, Req, F>, now: Instant, source: Source) -> Self {
        Self { state: State::running(call, now, &scope::current()), source }
    }

    pub(super) fn waiting(turn: Turn, inner: Taken<S>, request: Req) -> Self {
        let source = turn.bucket().instruments().source();
        let context = scope::current();
        Self { state: State::Waiting { turn, inner: Some((inner, request)), context }, source }
    }
}

impl<S, Req, F> State<S, Req, F> {
    fn running(call: Call<S, Req, F>, now: Instant, context: &Context) -> Self {
        Self::Running { call: BoundedCall::new(call, Bound::within(now, context, DEFAULT_MAX_HOLD)) }
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
                StateProj::Waiting { turn, inner, context } => {
                    let started = ready!(turn.poll(cx));
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
                    let result = ready!(call.poll(cx, *this.source));
                    state.set(State::Over);
                    return Poll::Ready(result);
                }
                StateProj::Over => return Poll::Pending,
            }
        }
    }
}
