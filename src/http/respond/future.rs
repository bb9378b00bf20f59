use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::Response;
use bytes::Bytes;
use pin_project::pin_project;
use tower::BoxError;

use super::answers::{Answers, WithStatus};

/// A call that always ends in a response.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F, A = WithStatus> {
    #[pin]
    state: RespondState<F>,
    answers: A,
}

#[pin_project(project = RespondStateProj)]
#[derive(Debug)]
enum RespondState<F> {
    Calling(#[pin] F),
    Failed(Option<BoxError>),
}

impl<F, A> ResponseFuture<F, A> {
    pub(super) fn new(future: F, answers: A) -> Self {
        Self { state: RespondState::Calling(future), answers }
    }

    pub(super) fn failed(error: BoxError, answers: A) -> Self {
        Self { state: RespondState::Failed(Some(error)), answers }
    }
}

impl<F, A, B, E> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<Response<B>, E>>,
    A: Answers,
    B: http_body::Body<Data = Bytes>,
    E: Into<BoxError>,
{
    type Output = Result<Response<A::Body<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.state.project() {
            RespondStateProj::Calling(future) => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(this.answers.pass(response))),
                Err(error) => error.into(),
            },
            RespondStateProj::Failed(error) => match error.take() {
                Some(error) => error,
                // Polled after completion: stays pending, as fused futures do.
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(this.answers.answer(&error)))
    }
}
