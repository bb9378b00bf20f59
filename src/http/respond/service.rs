use std::convert::Infallible;
use std::task::{Context, Poll};

use ::http::Response;
use bytes::Bytes;
use tower::{BoxError, Service};

use super::answers::{Answers, WithStatus};
use super::future::ResponseFuture;
use crate::layers::call::accessors::accessors;

/// A service that never fails. See the [module](super).
#[derive(Debug)]
pub struct Respond<S, A = WithStatus> {
    inner: S,
    /// Why the inner service failed to become ready. The next call responds with it.
    failed: Option<BoxError>,
    answers: A,
}

impl<S, A> Respond<S, A> {
    pub(super) fn new(inner: S, answers: A) -> Self {
        Self { inner, failed: None, answers }
    }
}

accessors!([S, A] Respond<S, A>, forwards_readiness);

/// A clone starts without the failed readiness of its original.
impl<S: Clone, A: Clone> Clone for Respond<S, A> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.answers.clone())
    }
}

impl<S, A, Req, B> Service<Req> for Respond<S, A>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Into<BoxError>,
    A: Answers,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<A::Body<B>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.failed.is_none() {
            match self.inner.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.failed = Some(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.failed.take() {
            Some(error) => ResponseFuture::failed(error, self.answers.clone()),
            None => ResponseFuture::new(self.inner.call(request), self.answers.clone()),
        }
    }
}
