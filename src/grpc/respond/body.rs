use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use super::answer::ErrorAnswer;

/// The inner service's body, or none. A gRPC body ends in a status even if the inner body fails.
#[pin_project]
#[derive(Debug)]
pub struct Body<B> {
    #[pin]
    inner: Option<B>,
    is_grpc: bool,
    is_verbose: bool,
}

impl<B> Body<B> {
    pub(super) fn inner(body: B, is_grpc: bool, is_verbose: bool) -> Self {
        Self { inner: Some(body), is_grpc, is_verbose }
    }

    pub(super) fn none() -> Self {
        Self { inner: None, is_grpc: true, is_verbose: false }
    }
}

/// An empty body, for layers that make responses of their own.
impl<B> Default for Body<B> {
    fn default() -> Self {
        Self::none()
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        body.poll_frame(cx).map(|frame| match frame? {
            Ok(frame) => Some(Ok(frame)),
            // With trailers, a broken body would look complete to a reader that does not check the status.
            Err(error) if !*this.is_grpc => Some(Err(error.into())),
            Err(error) => {
                // Trailers carry the reason of the failure; a reset could not.
                this.inner.set(None);
                Some(Ok(Frame::trailers(ErrorAnswer::to(&error.into(), *this.is_verbose).headers())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
