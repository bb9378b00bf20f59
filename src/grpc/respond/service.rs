use std::convert::Infallible;
use std::task::{Context, Poll};

use ::http::Response;
use bytes::Bytes;
use tower::{BoxError, Service};

use super::body::Body;
use super::future::ResponseFuture;

/// A service that never fails. See the [module](super).
#[derive(Debug)]
pub struct Respond<S> {
    inner: S,
    /// Why the inner service cannot be called: the answer to the next call.
    failed: Option<BoxError>,
}

impl<S> Respond<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, failed: None }
    }
}

/// A clone has not failed yet.
impl<S: Clone> Clone for Respond<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S, Req, B> Service<Req> for Respond<S>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

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
            Some(error) => ResponseFuture::failed(error),
            None => ResponseFuture::new(self.inner.call(request)),
        }
    }
}
