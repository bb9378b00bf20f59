//! What a retry does with a response: the last response is handed on as it is. Of a response that another attempt
//! follows, the retry keeps as much as comes quickly, and closes the rest.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "grpc")]
use ::http::HeaderMap;
use ::http::Response;
use ::http::response::Parts;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use crate::admission::timer::{self, Timer};
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::http::ByStatus;
use crate::http::held_body::{self, AllHere, HeldBody};

/// How much of a failed response is kept: more than any error message, and little enough for every call in flight.
const KEPT_BYTES: u64 = 64 * 1024;

/// How many frames are kept: tiny and empty frames cost more than they carry.
const KEPT_FRAMES: usize = 1024;

/// How long reading may take: enough to read what has been sent already, so that the connection can be reused.
const KEPT_WITHIN: Duration = Duration::from_millis(50);

/// The body of a response that has passed a retry: the frames that the retry has read, then the rest, which is cut when
/// the time of its attempt is over.
#[pin_project]
pub struct SettledBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    read: VecDeque<Frame<Bytes>>,
    #[pin]
    rest: SettledRest<B>,
    /// The error that ended the body, if it did not end properly.
    error: Option<BoxError>,
    /// The mark by which [`AllHere`] recognizes this body.
    here: Option<Arc<()>>,
}

#[pin_project(project = SettledRestProj)]
enum SettledRest<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    None,
    /// The attempt has no bound of its own.
    Free(#[pin] B),
    Bounded(#[pin] HeldBody<B, AttemptEnd>),
}

/// The guard of a response for the time of its attempt: it holds only the bound.
struct AttemptEnd(Expiry);

impl SealedGuard for AttemptEnd {
    const IS_BOUND_ONLY: bool = true;
}

impl Guard for AttemptEnd {
    fn settle(self, _: Verdict) {}

    fn expiry(&self) -> Expiry {
        self.0
    }
}

impl<B> SettledBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// A body of which nothing has been read.
    pub(crate) fn unread(body: B) -> Self {
        Self::partly_read(VecDeque::new(), body)
    }

    /// A body of which some frames have been read.
    pub(crate) fn partly_read(read: VecDeque<Frame<Bytes>>, rest: B) -> Self {
        Self { read, rest: SettledRest::Free(rest), error: None, here: None }
    }

    /// The trailers, if they have been read.
    #[cfg(feature = "grpc")]
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.read.back().and_then(Frame::trailers_ref)
    }

    /// A body of which nothing more will come.
    pub(crate) fn read(read: VecDeque<Frame<Bytes>>, error: Option<BoxError>) -> Self {
        Self { read, rest: SettledRest::None, error, here: None }
    }

    /// The data that has been read.
    pub(crate) fn into_read(self) -> Bytes {
        let mut data = self.read.into_iter().filter_map(|frame| frame.into_data().ok());
        let first = data.next().unwrap_or_default();
        match data.next() {
            None => first,
            Some(second) => [first, second].into_iter().chain(data).flatten().collect(),
        }
    }

    /// Cuts the rest of the body at this expiry, whether or not anything reads it.
    pub(crate) fn bound(response: Response<Self>, expiry: Expiry) -> Response<Self> {
        let (head, body) = response.into_parts();
        let Self { read, rest, error, here } = body;
        let SettledRest::Free(rest) = rest else {
            return Response::from_parts(head, Self { read, rest, error, here });
        };
        let rest = Response::from_parts(head, rest);
        held_body::hold(rest, Verdict::Success, AttemptEnd(expiry), ByStatus::new()).map(|rest| {
            let rest = rest.passed().map_or_else(SettledRest::Bounded, SettledRest::Free);
            Self { read, rest, error, here }
        })
    }
}

/// The rest of a settled body of this type, if nothing of it has been read.
fn unread_rest<B>(body: &mut dyn Any) -> Option<&mut dyn Any>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let body = body.downcast_mut::<SettledBody<B>>()?;
    match &mut body.rest {
        _ if !body.read.is_empty() => None,
        SettledRest::None => None,
        SettledRest::Free(rest) => Some(rest),
        SettledRest::Bounded(rest) => Some(rest),
    }
}

/// An empty body, for layers that make responses of their own.
impl<B> Default for SettledBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn default() -> Self {
        Self::read(VecDeque::new(), None)
    }
}

impl<B> Body for SettledBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.rest.project() {
            SettledRestProj::None => Poll::Ready(this.error.take().map(Err)),
            SettledRestProj::Free(rest) => rest.poll_frame(cx).map_err(Into::into),
            SettledRestProj::Bounded(rest) => rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_rest_over = match &self.rest {
            SettledRest::None => true,
            SettledRest::Free(rest) => rest.is_end_stream(),
            SettledRest::Bounded(rest) => rest.is_end_stream(),
        };
        held_body::asked_within(unread_rest::<B>);
        self.read.is_empty() && self.error.is_none() && is_rest_over
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum::<u64>();
        let rest = match &self.rest {
            SettledRest::None => SizeHint::with_exact(0),
            SettledRest::Free(rest) => rest.size_hint(),
            SettledRest::Bounded(rest) => rest.size_hint(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let (Some(upper), None) = (rest.upper(), &self.error) {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl<B> fmt::Debug for SettledBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettledBody")
            .field("read", &self.read.len())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Keeps the head of a failed response and what comes quickly of its body, and drops the rest.
///
/// Public only so that [`Classify::Detaching`](crate::verdict::Classify::Detaching) can name it.
#[pin_project]
#[derive(Debug)]
pub struct Detaching<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    head: Option<Parts>,
    #[pin]
    body: SettledBody<B>,
    kept: VecDeque<Frame<Bytes>>,
    bytes: u64,
    timer: Timer,
    until: Option<Instant>,
}

impl<B> Detaching<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(response: Response<SettledBody<B>>) -> Self {
        let (head, body) = response.into_parts();
        Self { head: Some(head), body, kept: VecDeque::new(), bytes: 0, timer: Timer::new(), until: None }
    }
}

impl<B> Future for Detaching<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Response<SettledBody<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let error = loop {
            // A body that does not fit is not worth reading.
            if this.bytes.saturating_add(this.body.size_hint().lower()) > KEPT_BYTES {
                break Some(Truncated.into());
            }
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    *this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if *this.bytes > KEPT_BYTES || this.kept.len() == KEPT_FRAMES {
                        break Some(Truncated.into());
                    }
                    this.kept.push_back(frame);
                }
                Poll::Ready(Some(Err(error))) => break Some(error),
                Poll::Ready(None) => break None,
                Poll::Pending => {
                    let until = *this.until.get_or_insert_with(|| {
                        let until = time::now() + KEPT_WITHIN;
                        // Ends before the call's deadline: this response may be the last one, and an outer layer would
                        // cut the call.
                        let deadline = scope::current().deadline.map(|deadline| deadline.minus(2 * timer::GRAIN));
                        deadline.map_or(until, |deadline| until.min(deadline))
                    });
                    std::task::ready!(this.timer.poll_until(cx, until));
                    break Some(Truncated.into());
                }
            }
        };
        // Releases all that the rest holds: connection, permits, tickets.
        this.body.set(SettledBody::read(VecDeque::new(), None));
        match this.head.take() {
            Some(mut head) => {
                let trailers = this.kept.back().and_then(Frame::trailers_ref).cloned();
                let here = AllHere::mark(&mut head, trailers);
                let body = SettledBody { here: Some(here), ..SettledBody::read(std::mem::take(this.kept), error) };
                Poll::Ready(Response::from_parts(head, body))
            }
            // Polled after completion: stays pending, as fused futures do.
            None => Poll::Pending,
        }
    }
}

/// The error at the end of a body of which a retry has kept only the beginning.
#[derive(Debug, thiserror::Error)]
#[error("retry: only the beginning of this failed response was kept while another attempt was made")]
struct Truncated;

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn detach(
        frames: impl Iterator<Item = Frame<Bytes>> + Send + 'static,
    ) -> Response<SettledBody<impl Body<Data = Bytes, Error = BoxError>>> {
        let frames = stream::iter(frames.map(Ok::<_, BoxError>));
        let response = Response::new(SettledBody::unread(StreamBody::new(frames)));
        Detaching::new(response).now_or_never().expect("all is there")
    }

    #[test]
    fn endless_empty_frames_stop_the_reading() {
        let mut asked = 0_u32;
        let endless = std::iter::from_fn(move || {
            asked += 1;
            assert!(asked < 1_000_000, "it is still being read");
            Some(Frame::data(Bytes::new()))
        });
        let body = detach(endless).into_body();
        assert!(body.collect().now_or_never().expect("all is there").is_err(), "it is not whole");
    }

    #[test]
    fn kept_tiny_frames_are_bounded() {
        let crumbs = std::iter::repeat_with(|| Frame::data(Bytes::from_static(b".")));
        let body = detach(crumbs).into_body();
        assert!(body.read.len() <= 1024, "{}", body.read.len());
    }
}
