//! Bodies of responses: whole, or dripping for ever; and a body that holds its connection until it ends or is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Interval;
use tower::BoxError;

use crate::clock::Ms;

/// The body of a response, as a caller gets it.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a simulated server's response.
#[derive(Debug)]
pub(crate) enum Answer {
    Whole(Option<Bytes>),
    /// A byte at each tick, without end.
    Drip(Interval),
}

impl Answer {
    pub(crate) fn whole() -> Self {
        Self::Whole(Some(Bytes::from_static(b"done")))
    }

    pub(crate) fn drip(every: Ms) -> Self {
        Self::Drip(tokio::time::interval(Duration::from_millis(every)))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Drip(interval) => {
                ready!(interval.poll_tick(context));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Drip(_) => SizeHint::default(),
        }
    }
}

/// A body on a connection of a pool. The connection is free again when the body has ended or is dropped.
#[derive(Debug)]
pub(crate) struct OnConnection {
    pub(crate) body: Body,
    pub(crate) connection: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for OnConnection {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.connection = None;
        }
        Poll::Ready(frame)
    }

    // Never, as with a body of unknown length: the caller has to read until the end.
    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
