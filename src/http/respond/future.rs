use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use ::http::{Response, StatusCode};
use pin_project::pin_project;
use tower::BoxError;

use super::body::Body;
use crate::ground::error::{Reason, Rejected, rejection};
use crate::ground::telemetry;
use crate::http::retry_after;

/// A call that ends in a response, whatever happens.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F> {
    Calling(#[pin] F),
    Failed(Option<BoxError>),
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(future: F) -> Self {
        Self { state: State::Calling(future) }
    }

    pub(super) fn failed(error: BoxError) -> Self {
        Self { state: State::Failed(Some(error)) }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Body<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let error = match self.project().state.project() {
            StateProj::Calling(future) => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.map(Body::inner))),
                Err(error) => error.into(),
            },
            StateProj::Failed(error) => match error.take() {
                Some(error) => error,
                // Polled after it was over: as fused futures do.
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(answer(&error)))
    }
}

fn answer<B>(error: &BoxError) -> Response<Body<B>> {
    let (status, text, wait) = match rejection(error) {
        Some(rejected) => (status(rejected), rejected.to_string(), rejected.retry_after()),
        None => {
            telemetry::answered_with_500(error);
            (StatusCode::INTERNAL_SERVER_ERROR, "internal server error".to_owned(), None)
        }
    };
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, retry_after::value(wait));
    }
    response
}

fn status(rejected: &Rejected) -> StatusCode {
    match rejected.reason() {
        Reason::DeadlineExpired
        | Reason::DeadlineExceeded
        | Reason::HeadTimeout
        | Reason::IdleTimeout
        | Reason::AttemptTimeout
        | Reason::HoldExceeded => StatusCode::GATEWAY_TIMEOUT,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::NotReady | Reason::CircuitOpen | Reason::QueueFull | Reason::QueueTimeout | Reason::NotInTime => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
