//! Hands a body to a server's connection no faster than the connection writes it.
//!
//! A server takes frames from a body until its own buffers are full, and does not poll the body again until it can
//! write. If the client does not read, the server never sees an error or an end of the body, and a body in one piece
//! belongs to the server altogether. hyper buffers about 400 KiB or 16 frames over HTTP/1. Over HTTP/2 it takes one
//! frame more than fits into the client's window, and then waits for the window only.
//!
//! So a paced body keeps most of itself back. It cuts frames into pieces of [`PIECE`] bytes. The drop of a piece shows
//! that it has been written, and until then the body is pending. The connection then waits for the body, and learns at
//! once that it was cut.
//!
//! One gap is left: a stream's window may close right between two pieces, as it does for frames of 4 KiB and a window
//! of 64 KiB. So on a stream the end of a frame is kept back if the next frame is there already, and is sent together
//! with the beginning of that frame. A small frame without a successor is handed out whole: one message of a stream is
//! one frame.
//!
//! A connection drops pieces while it waits for more, and no other reader does so. A reader that collects a body drops
//! nothing until the end, or has dropped what it inspected before. So if no piece was ever dropped during a wait,
//! [`MAX_PIECE_WAIT`] bounds the wait. After that the reader gets twice as much, and after [`TRIES`] waits everything that it
//! asks for. (If other code drops a piece while the reader waits, the reader looks like a connection. If it then keeps
//! more than it may have, the body's bound ends the wait.) Outside a tokio runtime there is no timer, and nothing is
//! held back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::runtime::Handle;
use tower::BoxError;

use super::peekable_body::{PeekableBody, longer};
use crate::admission::timer::Timer;
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Pace;

/// The size of a piece; no divisor of usual windows.
const PIECE: usize = 32 * 1024 - 7;

/// This much at the beginning is neither tracked nor waited for. Any connection takes it, and short responses cost
/// nothing.
const FREE: usize = 16 * 1024 - 7;

/// How much of the end of a frame is kept back, if more follows.
const SEAM: usize = 64;

/// The size up to which the ends of frames, and whole small frames, are gathered. A frame of up to this size is small.
const GATHERED: usize = 4096;

/// How many pieces an HTTP/1 connection may hold. hyper stops at 16.
const FRAMES: usize = 15;

/// How long to wait for the first piece to be dropped.
const MAX_PIECE_WAIT: Duration = Duration::from_millis(2);

/// How often to wait for a reader that drops nothing.
const TRIES: u32 = 4;

/// A body that is handed out piece by piece. See the [module](self).
#[pin_project]
#[derive(Debug)]
pub(super) struct Paced<B> {
    #[pin]
    body: PeekableBody<B>,
    /// The rest of the frame that is being cut into pieces.
    rest: Bytes,
    pace: Pace,
    /// How much may be handed out before pacing begins.
    free: usize,
    pacing: Option<Box<Pacing>>,
}

#[derive(Debug)]
struct Pacing {
    /// How many bytes and pieces may be handed out before one is dropped.
    most: Load,
    tracked: Arc<TrackedPieces>,
    timer: Timer,
    until: Option<Instant>,
    tries: u32,
    /// The reader asks for more while pacing makes it wait.
    held_up: bool,
}

/// The amount that a reader holds.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    bytes: usize,
    pieces: usize,
}

/// The state that a body shares with the pieces that it has handed out.
#[derive(Debug)]
struct TrackedPieces(Mutex<TrackedState>);

#[derive(Debug, Default)]
struct TrackedState {
    out: Load,
    /// The reader has asked for more, and has got nothing yet.
    waits: bool,
    /// Whether a piece was ever dropped while the reader waited. If so, the reader is a connection that writes.
    drops: bool,
    waker: Option<Waker>,
}

/// A piece that is tracked until it is dropped.
struct TrackedPiece {
    bytes: Bytes,
    tracked: Arc<TrackedPieces>,
}

impl AsRef<[u8]> for TrackedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for TrackedPiece {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.tracked.0);
            state.out.bytes -= self.bytes.len();
            state.out.pieces -= 1;
            state.drops |= state.waits;
            state.waker.take()
        };
        if let Some(waker) = waker {
            foreign(|| waker.wake());
        }
    }
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body: PeekableBody::new(body), rest: Bytes::new(), pace, free: FREE, pacing: None }
    }

    /// Whether the reader waits because it still holds earlier pieces, and not because there is nothing more.
    pub(super) fn is_held_up(&self) -> bool {
        self.pacing.as_ref().is_some_and(|pacing| pacing.held_up)
    }
}

impl Pacing {
    fn new(pace: Pace) -> Option<Box<Self>> {
        let most = match pace {
            Pace::Free => return None,
            Pace::Connection => Load { bytes: PIECE, pieces: FRAMES },
            Pace::Stream => Load { bytes: 1, pieces: 1 },
        };
        let tracked = Arc::new(TrackedPieces(Mutex::new(TrackedState::default())));
        Some(Box::new(Self { most, tracked, timer: Timer::new(), until: None, tries: 0, held_up: false }))
    }

    /// Ready when the reader may have another piece.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.tries == TRIES {
                return Poll::Ready(());
            }
            let waker = foreign(|| cx.waker().clone());
            let (replaced, drops) = {
                let mut state = lock(&self.tracked.0);
                state.waits = true;
                if state.out.bytes < self.most.bytes && state.out.pieces < self.most.pieces {
                    self.until = None;
                    return Poll::Ready(());
                }
                (state.waker.replace(waker), state.drops)
            };
            foreign(|| drop(replaced));
            if drops {
                self.timer.disarm();
                return Poll::Pending;
            }
            if Handle::try_current().is_err() {
                self.tries = TRIES;
                return Poll::Ready(());
            }
            let until = *self.until.get_or_insert_with(|| time::now() + MAX_PIECE_WAIT);
            ready!(self.timer.poll_until(cx, until));
            self.until = None;
            self.tries += 1;
            self.most = Load { bytes: self.most.bytes.max(PIECE) * 2, pieces: self.most.pieces * 2 };
        }
    }

    fn track(&mut self, bytes: Bytes) -> Bytes {
        if self.tries == TRIES {
            return bytes;
        }
        {
            let mut state = lock(&self.tracked.0);
            state.waits = false;
            if bytes.is_empty() {
                return bytes;
            }
            state.out.bytes += bytes.len();
            state.out.pieces += 1;
        }
        Bytes::from_owner(TrackedPiece { bytes, tracked: Arc::clone(&self.tracked) })
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if *this.pace == Pace::Free {
            return this.body.poll_frame(cx);
        }
        if let Some(pacing) = this.pacing {
            pacing.held_up = pacing.poll_room(cx).is_pending();
            if pacing.held_up {
                return Poll::Pending;
            }
        }
        if this.rest.is_empty() {
            match ready!(this.body.as_mut().poll_frame(cx)).map(data_of) {
                Some(Ok(data)) => *this.rest = data,
                Some(Err(last)) => return Poll::Ready(Some(last)),
                None => return Poll::Ready(None),
            }
        }
        let Some(pacing) = this.pacing else {
            // A small frame is not cut at the end of the free part.
            let most = if this.rest.len() <= GATHERED { GATHERED } else { *this.free };
            let piece = this.rest.split_to(this.rest.len().min(most));
            *this.free = this.free.saturating_sub(piece.len());
            if *this.free == 0 {
                *this.pacing = Pacing::new(*this.pace);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        };
        let piece = if this.rest.len() > PIECE {
            this.rest.split_to(PIECE)
        } else if *this.pace != Pace::Stream || !this.body.as_mut().has_data(cx) {
            std::mem::take(this.rest)
        } else if this.rest.len() < GATHERED {
            let (piece, rest) = gather(std::mem::take(this.rest), this.body.as_mut(), cx);
            *this.rest = rest;
            piece
        } else {
            this.rest.split_to(this.rest.len().saturating_sub(SEAM))
        };
        Poll::Ready(Some(Ok(Frame::data(pacing.track(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.size_hint(), self.rest.len())
    }
}

/// The data of a frame, or the frame if it has none.
fn data_of(frame: Result<Frame<Bytes>, BoxError>) -> Result<Bytes, Result<Frame<Bytes>, BoxError>> {
    frame.map_err(Err).and_then(|frame| frame.into_data().map_err(Ok))
}

/// Appends to `end` what `body` has ready. The second value is what is kept back, because more follows.
fn gather<B>(end: Bytes, mut body: Pin<&mut PeekableBody<B>>, cx: &mut Context<'_>) -> (Bytes, Bytes)
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut gathered = BytesMut::from(&*end);
    while body.as_mut().has_data(cx) {
        if gathered.len() >= GATHERED {
            let kept_back = gathered.split_off(gathered.len().saturating_sub(SEAM));
            return (gathered.freeze(), kept_back.freeze());
        }
        let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(cx) else { break };
        let Ok(mut data) = frame.into_data() else { break };
        gathered.extend_from_slice(&data.split_to(data.len().min(GATHERED.saturating_sub(gathered.len()))));
        if !data.is_empty() {
            body.put_back(data);
            break;
        }
    }
    (gathered.freeze(), Bytes::new())
}

#[cfg(test)]
mod tests;
