use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use crate::admission::timer::Timer;
use crate::ground::error::Injected;
use crate::ground::time::{self, Instant};
use crate::layers::chaos::ChaosFault;

/// The body of a response, with or without an injected fault.
///
/// Its announced size stays that of the inner body: over HTTP/1.1, a server that sends less closes the connection.
#[pin_project]
pub struct ChaosBody<B> {
    /// `None` once the body is over.
    #[pin]
    body: Option<B>,
    harm: Harm,
    /// Data that was read and is not passed on yet.
    rest: Bytes,
}

/// What happens to a body.
#[derive(Debug)]
enum Harm {
    None,
    /// After `left` bytes, or at its end.
    After {
        left: u64,
        then: Then,
    },
    Drip {
        bytes: usize,
        every: Duration,
        next: Option<Instant>,
        timer: Timer,
    },
    NoTrailers,
}

/// How a body is interrupted.
#[derive(Clone, Copy, Debug)]
enum Then {
    Stalls,
    Ends,
    /// After one more turn of its reader's task, in which a server's connection writes what came before.
    Fails {
        is_next: bool,
    },
}

impl<B> ChaosBody<B> {
    fn new(body: Option<B>, harm: Harm) -> Self {
        Self { body, harm, rest: Bytes::new() }
    }

    pub(super) fn unharmed(body: B) -> Self {
        Self::new(Some(body), Harm::None)
    }

    pub(super) fn empty() -> Self {
        Self::new(None, Harm::None)
    }

    pub(super) fn damaged(body: B, fault: ChaosFault) -> Self {
        let after = |left, then| Harm::After { left, then };
        let harm = match fault {
            ChaosFault::Stall { after: left } => after(left, Then::Stalls),
            ChaosFault::Truncate { after: left } => after(left, Then::Ends),
            ChaosFault::Reset { after: left } => after(left, Then::Fails { is_next: false }),
            ChaosFault::Drip { bytes, every } => {
                Harm::Drip { bytes: bytes.max(1) as usize, every, next: None, timer: Timer::new() }
            }
            ChaosFault::NoTrailers => Harm::NoTrailers,
            _ => Harm::None,
        };
        Self::new(Some(body), harm)
    }
}

/// An empty body, for layers that make responses of their own.
impl<B> Default for ChaosBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

/// At most `most` bytes of `rest`, which is not empty.
fn piece(rest: &mut Bytes, most: usize) -> Frame<Bytes> {
    Frame::data(rest.split_to(most.min(rest.len())))
}

impl<B> Body for ChaosBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            match this.harm {
                Harm::Drip { bytes, every, next, timer } if !this.rest.is_empty() => {
                    if let Some(next) = *next {
                        ready!(timer.poll_until(cx, next));
                    }
                    *next = Some(time::now() + *every);
                    return Poll::Ready(Some(Ok(piece(this.rest, *bytes))));
                }
                Harm::After { left: 0, then } => {
                    let error = match then {
                        // Nothing wakes its reader but the bound of the call.
                        Then::Stalls => return Poll::Pending,
                        Then::Ends => None,
                        Then::Fails { is_next: is_next @ false } => {
                            *is_next = true;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        Then::Fails { is_next: true } => Some(Err(Injected::new("reset").into())),
                    };
                    this.body.set(None);
                    *this.harm = Harm::None;
                    return Poll::Ready(error);
                }
                Harm::None | Harm::After { .. } | Harm::Drip { .. } | Harm::NoTrailers => {}
            }
            let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
            let frame = match ready!(body.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    match this.harm {
                        Harm::After { left, .. } => *left = 0,
                        _ => {
                            this.body.set(None);
                            return Poll::Ready(None);
                        }
                    }
                    continue;
                }
            };
            match (frame.into_data(), &mut this.harm) {
                (Ok(data), Harm::After { left, .. }) => {
                    let length = data.len() as u64;
                    let passed = data.slice(..usize::try_from(length.min(*left)).unwrap_or(data.len()));
                    *left = left.saturating_sub(length);
                    if !passed.is_empty() || length == 0 {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                }
                (Ok(data), Harm::Drip { .. }) if !data.is_empty() => *this.rest = data,
                (Ok(data), _) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                // The trailers are the end of the data.
                (Err(_), Harm::After { left, .. }) => *left = 0,
                (Err(_), Harm::NoTrailers) => {}
                (Err(frame), _) => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.body.as_ref().is_none_or(B::is_end_stream) && self.rest.is_empty();
        match self.harm {
            Harm::After { then: Then::Ends, left } => is_over || left == 0,
            Harm::After { .. } => false,
            Harm::None | Harm::Drip { .. } | Harm::NoTrailers => is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let Some(body) = &self.body else { return SizeHint::with_exact(rest) };
        let inner = body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl<B> fmt::Debug for ChaosBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosBody").field("harm", &self.harm).finish_non_exhaustive()
    }
}
