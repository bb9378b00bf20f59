use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

/// The inner service's body, unchanged, or the text of a refusal.
#[pin_project]
#[derive(Debug)]
pub struct Body<B> {
    #[pin]
    kind: RespondBodyKind<B>,
}

#[pin_project(project = RespondBodyKindProj)]
#[derive(Debug)]
enum RespondBodyKind<B> {
    Inner(#[pin] B),
    Text(Bytes),
}

impl<B> Body<B> {
    pub(super) fn inner(body: B) -> Self {
        Self { kind: RespondBodyKind::Inner(body) }
    }

    pub(super) fn text(text: String) -> Self {
        Self { kind: RespondBodyKind::Text(Bytes::from(text)) }
    }
}

/// An empty body, for layers that make responses of their own.
impl<B> Default for Body<B> {
    fn default() -> Self {
        Self { kind: RespondBodyKind::Text(Bytes::new()) }
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            RespondBodyKindProj::Inner(body) => body.poll_frame(cx),
            RespondBodyKindProj::Text(text) if text.is_empty() => Poll::Ready(None),
            RespondBodyKindProj::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            RespondBodyKind::Inner(body) => body.is_end_stream(),
            RespondBodyKind::Text(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            RespondBodyKind::Inner(body) => body.size_hint(),
            RespondBodyKind::Text(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}
