use std::fmt;
use std::pin::Pin;
use std::sync::Arc as Shared;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::record::RecordPosition;
use super::source::{Begun, ReplaySource, ReplayStep};
use crate::ground::sync::Arc;
use crate::layers::call::upload_waits::UploadWaits;

/// The request body of one attempt: first what earlier attempts have read of the original, then the rest of it.
///
/// Data and trailers are kept as they pass, up to [`ByMethod::with_max_body`](super::ByMethod::with_max_body). All
/// attempts share the original, and only the newest attempt reads on. Attempts that start while others are in flight read the record. A connection may still hold the body of a
/// superseded attempt: that body yields an error and releases the original. Frames may be divided differently than in
/// the original. Size and end are those of the original.
///
/// If you declare a client with its body type, use this one: `Client<_, ReplayBody<Full<Bytes>>>`. Where the type is
/// inferred, you write nothing. For clients with a body type of their own, use
/// [`MapRequestBodyLayer`](crate::http::MapRequestBodyLayer).
///
/// **Cost:** a short uncontended lock per frame; frames of 1 KiB and more are not copied.
pub struct ReplayBody<B> {
    /// `None` once there is nothing more to send.
    pub(super) source: Option<Arc<ReplaySource<B>>>,
    /// Records the time for which the body waits for its producer.
    pub(super) sending: Option<Shared<UploadWaits>>,
    attempt: u32,
    place: RecordPosition,
    pub(super) left: Left,
}

impl<B> ReplayBody<B> {
    pub(super) fn empty(left: Left) -> Self {
        Self { source: None, sending: None, attempt: 0, place: RecordPosition::default(), left }
    }

    pub(super) fn first(source: Arc<ReplaySource<B>>, sending: Option<Shared<UploadWaits>>, left: Left) -> Self {
        Self { source: Some(source), sending, attempt: 0, place: RecordPosition::default(), left }
    }

    pub(super) fn further(
        source: &Arc<ReplaySource<B>>,
        begun: Begun,
        sending: Option<Shared<UploadWaits>>,
        left: Left,
    ) -> Self {
        let source = (!begun.is_over).then(|| Arc::clone(source));
        Self { source, sending, attempt: begun.attempt, place: RecordPosition::default(), left }
    }
}

/// An empty body, for layers that make requests of their own, such as a redirect layer.
impl<B> Default for ReplayBody<B> {
    fn default() -> Self {
        Self::empty(Left { lower: 0, upper: Some(0) })
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(source) = &this.source else { return Poll::Ready(None) };
        let step = source.poll_frame(this.attempt, &mut this.place, cx);
        if let Some(sending) = &this.sending {
            if step.is_pending() { sending.begin_wait() } else { sending.end_wait() }
        }
        let (item, is_last) = match ready!(step) {
            ReplayStep::Frame(frame, is_last) => {
                if let Some(data) = frame.data_ref() {
                    this.left = this.left.after(data.len());
                }
                (Some(Ok(frame)), is_last)
            }
            ReplayStep::End => (None, true),
            ReplayStep::Failed(error) => (Some(Err(error)), true),
        };
        if is_last {
            this.source = None;
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.hint()
    }
}

/// Without this, the wait of a dropped body would go on for ever.
impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        if let Some(sending) = &self.sending {
            sending.end_wait();
        }
    }
}

/// How much is still to be sent, according to the original's size hint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    lower: u64,
    upper: Option<u64>,
}

impl Left {
    pub(super) fn all_of(body: &impl Body) -> Self {
        let hint = body.size_hint();
        Self { lower: hint.lower(), upper: hint.upper() }
    }

    fn after(self, sent: usize) -> Self {
        let sent = sent as u64;
        Self { lower: self.lower.saturating_sub(sent), upper: self.upper.map(|upper| upper.saturating_sub(sent)) }
    }

    fn hint(self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.lower);
        if let Some(upper) = self.upper {
            hint.set_upper(upper.max(self.lower));
        }
        hint
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source: _, sending: _, attempt, place, left } = self;
        f.debug_struct("ReplayBody")
            .field("attempt", attempt)
            .field("place", place)
            .field("left", left)
            .finish_non_exhaustive()
    }
}
