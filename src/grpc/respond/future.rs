use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::Response;
use ::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use pin_project::pin_project;
use tower::BoxError;

use super::answer::Answer;
use super::body::Body;

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
    B: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<Body<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let error = match self.project().state.project() {
            StateProj::Calling(future) => match ready!(future.poll(cx)) {
                Ok(response) => {
                    let is_grpc = is_grpc(&response);
                    return Poll::Ready(Ok(response.map(|body| Body::inner(body, is_grpc))));
                }
                Err(error) => error.into(),
            },
            StateProj::Failed(error) => match error.take() {
                Some(error) => error,
                // Polled after it was over: as fused futures do.
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(trailers_only(&error)))
    }
}

/// `Content-Type → "application/grpc" [("+proto" / "+json" / {custom})]`: not that of gRPC-Web, whose trailers are a message.
fn is_grpc<B>(response: &Response<B>) -> bool {
    let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(b"application/grpc".as_slice());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The specification's `Trailers-Only`: all that there is to say stands in the head, and no body follows.
fn trailers_only<B>(error: &BoxError) -> Response<Body<B>> {
    let mut response = Response::new(Body::none());
    *response.headers_mut() = Answer::to(error).headers();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
