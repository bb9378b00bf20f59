use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of the requests that [`http_check`](super::super::http_check) and `grpc_check` send. A client that accepts only another type
/// needs a [`MapRequestBodyLayer`](crate::http::MapRequestBodyLayer) around it.
#[derive(Clone, Debug, Default)]
pub struct CheckBody {
    left: Bytes,
}

impl CheckBody {
    #[cfg(feature = "grpc")]
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { left: bytes }
    }
}

impl Body for CheckBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let all = mem::take(&mut self.left);
        Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
