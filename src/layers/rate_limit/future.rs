use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::bucket::RateWaiter;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope::{self, Context};
use crate::layers::call::inner::{BoundedCall, Call, Taken, reject};
use crate::telemetry::Unreported;

/// A call that starts when the rate allows it.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F> {
    #[pin]
    state: RateLimitFutureState<S, Req, F>,
    layer_id: LayerId,
}

#[pin_project(project = RateLimitFutureStateProj)]
#[derive(Debug)]
enum RateLimitFutureState<S, Req, F> {
    /// The call waits for a permit => Running, or Over if there will be none in time.
    Waiting {
        waiter: RateWaiter,
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
    pub(super) fn refused(refusal: Unreported) -> Self {
        let layer_id = refusal.layer_id();
        Self { state: RateLimitFutureState::Running { call: BoundedCall::refused(refusal) }, layer_id }
    }

    pub(super) fn running(call: Call<S, Req, F>, deadline: CallDeadline, layer_id: LayerId) -> Self {
        Self { state: RateLimitFutureState::Running { call: BoundedCall::new(call, deadline) }, layer_id }
    }

    pub(super) fn waiting(waiter: RateWaiter, inner: Taken<S>, request: Req) -> Self {
        let layer_id = waiter.bucket().instruments().layer_id();
        let context = scope::current();
        Self { state: RateLimitFutureState::Waiting { waiter, inner: Some((inner, request)), context }, layer_id }
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
                RateLimitFutureStateProj::Waiting { waiter, inner, context } => {
                    let started = ready!(waiter.poll(cx));
                    let (inner, context, max_hold) = (inner.take(), *context, waiter.max_hold());
                    // Drop the waiter before the call starts, so that the next call becomes the head.
                    state.set(RateLimitFutureState::Over);
                    match (started, inner) {
                        (Ok(now), Some((inner, request))) => {
                            let deadline = CallDeadline::within(now, &context, max_hold);
                            state.set(RateLimitFutureState::Running {
                                call: BoundedCall::new(inner.call(request), deadline),
                            });
                        }
                        (Err(refusal), _) => return Poll::Ready(Err(reject(refusal))),
                        (Ok(_), None) => return Poll::Pending,
                    }
                }
                RateLimitFutureStateProj::Running { call } => {
                    let result = ready!(call.poll(cx, *this.layer_id));
                    state.set(RateLimitFutureState::Over);
                    return Poll::Ready(result);
                }
                RateLimitFutureStateProj::Over => return Poll::Pending,
            }
        }
    }
}
