//! Agreement of HTTP responses by status and body.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::response::Parts;
use ::http::{HeaderMap, Response, StatusCode};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use crate::quorum::Agreement;

/// The default bound on a body that is compared.
const DEFAULT_MAX_BODY: usize = 64 * 1024;

/// How many frames without data a body may have. Without this bound, a body of endless empty frames would be read for ever within one
/// poll, because the bound on bytes is never reached.
const MAX_FRAMES_WITHOUT_DATA: usize = 1024;

/// HTTP responses agree if their status is equal, and their body, byte by byte. Headers and trailers do not count: dates and request
/// ids differ.
///
/// The whole body is read before its endpoint has voted, up to [`max_body`](Self::with_max_body) bytes, and 1024 frames without data. A
/// longer body, or one that fails, is a failed vote. The response has a [`CollectedBody`].
///
/// ```
/// use seawall::http::ByBody;
/// use seawall::quorum::{QuorumConfig, QuorumLayer};
///
/// let layer = QuorumLayer::http(QuorumConfig::default())?.with_agreement(ByBody::default().with_max_body(1024));
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByBody {
    max_body: usize,
}

impl Default for ByBody {
    fn default() -> Self {
        Self { max_body: DEFAULT_MAX_BODY }
    }
}

impl ByBody {
    /// Reads up to `bytes` of each body. Default: 64 KiB. A quorum of three keeps at most three bodies for each call.
    pub const fn with_max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes }
    }
}

impl<B> Agreement<Response<B>> for ByBody
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Key = (StatusCode, Bytes);
    type Response = Response<CollectedBody>;
    type Keying = Collecting<B>;

    fn key(&self, response: Response<B>) -> Collecting<B> {
        let (head, body) = response.into_parts();
        Collecting { head: Some(head), body, data: Vec::new(), trailers: None, max: self.max_body, without_data: 0 }
    }
}

/// Reads a body to its end. See [`ByBody`].
#[pin_project]
#[derive(Debug)]
pub struct Collecting<B> {
    head: Option<Parts>,
    #[pin]
    body: B,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    max: usize,
    /// How many frames without data were read.
    without_data: usize,
}

/// The body of a response is longer than what a quorum compares.
#[derive(Debug, thiserror::Error)]
enum TooLong {
    #[error("the body is longer than {max} bytes (max_body), so it cannot be compared")]
    Bytes { max: usize },
    #[error("the body has more than {MAX_FRAMES_WITHOUT_DATA} frames without data, so it cannot be compared")]
    Frames,
}

impl<B> Future for Collecting<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<((StatusCode, Bytes), Response<CollectedBody>), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(Into::into)?;
            if !frame.data_ref().is_some_and(Buf::has_remaining) {
                if *this.without_data == MAX_FRAMES_WITHOUT_DATA {
                    return Poll::Ready(Err(TooLong::Frames.into()));
                }
                *this.without_data += 1;
            }
            match frame.into_data() {
                Ok(mut data) => {
                    if data.remaining() > *this.max - this.data.len() {
                        return Poll::Ready(Err(TooLong::Bytes { max: *this.max }.into()));
                    }
                    while data.has_remaining() {
                        let chunk = data.chunk();
                        this.data.extend_from_slice(chunk);
                        let read = chunk.len();
                        data.advance(read);
                    }
                }
                Err(frame) => *this.trailers = frame.into_trailers().ok().or_else(|| this.trailers.take()),
            }
        }
        // Polled after completion, as fused futures may be.
        let Some(head) = this.head.take() else { return Poll::Pending };
        let data = Bytes::from(std::mem::take(this.data));
        let body = CollectedBody { data: data.clone(), trailers: this.trailers.take() };
        Poll::Ready(Ok(((head.status, data), Response::from_parts(head, body))))
    }
}

/// The body of a response that was read before it was returned. See [`ByBody`].
#[derive(Clone, Debug, Default)]
pub struct CollectedBody {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl CollectedBody {
    /// The rest of the data.
    pub fn data(&self) -> &Bytes {
        &self.data
    }
}

impl Body for CollectedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let data = std::mem::take(&mut this.data);
        let frame = match data.is_empty() {
            false => Some(Frame::data(data)),
            true => this.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}
