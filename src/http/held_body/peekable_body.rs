//! A body whose next frame can be inspected before it is taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

/// See the [module](self).
#[pin_project]
#[derive(Debug)]
pub(super) struct PeekableBody<B> {
    #[pin]
    body: B,
    /// The next frame, if it is known.
    next: Option<Next>,
}

/// A frame, an error, or the end.
type Next = Option<Result<Frame<Bytes>, BoxError>>;

impl<B> PeekableBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, next: None }
    }

    /// Makes `data` the next frame. There must be no inspected frame.
    pub(super) fn put_back(self: Pin<&mut Self>, data: Bytes) {
        *self.project().next = Some(Some(Ok(Frame::data(data))));
    }
}

impl<B> PeekableBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Whether the next frame is there already and has data.
    pub(super) fn has_data(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        if this.next.is_none() && !this.body.is_end_stream() {
            if let Poll::Ready(frame) = this.body.poll_frame(cx) {
                *this.next = Some(frame.map(|frame| frame.map_err(Into::into)));
            }
        }
        data_of(this.next).is_some_and(|data| !data.is_empty())
    }
}

fn data_of(next: &Option<Next>) -> Option<&Bytes> {
    next.as_ref()?.as_ref()?.as_ref().ok()?.data_ref()
}

impl<B> Body for PeekableBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        match this.next.take() {
            Some(next) => Poll::Ready(next),
            None => this.body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.as_ref().map_or_else(|| self.body.is_end_stream(), Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.size_hint(), data_of(&self.next).map_or(0, Bytes::len))
    }
}

/// The size hint of a body with `bytes` in front of it.
pub(super) fn longer(body: &SizeHint, bytes: usize) -> SizeHint {
    let bytes = bytes as u64;
    let mut hint = SizeHint::new();
    hint.set_lower(body.lower().saturating_add(bytes));
    if let Some(upper) = body.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint
}
