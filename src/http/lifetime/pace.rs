//! Hands a body to a server's connection no faster than the connection writes it.
//!
//! A server takes frames from a body until its own buffers are full, and does not poll the body again until it can write. A
//! client that does not read keeps it from that, so an error or an end of the body is never seen, and a body that was in one
//! piece is the server's altogether. hyper over HTTP/1 buffers about 400 KiB or 16 frames. Over HTTP/2 it takes one frame more
//! than the client's window has room for, and then waits for the window only.
//!
//! So a paced body keeps most of itself back: frames are cut into pieces of [`PIECE`] bytes, each piece tells when it is
//! dropped, which is when it has been written, and until then the body is pending. The connection then waits for the body, and
//! learns at once that it was cut.
//!
//! One place is left: a stream's window that closes right between two pieces, as it does for frames of 4 KiB and a window of
//! 64 KiB. So on a stream the end of a frame is kept back while there is more, and is sent with the beginning of the next one.
//!
//! A reader that collects a body drops nothing until the end. If nothing is dropped for [`PATIENCE`], the reader is given twice
//! as much, and after [`TRIES`] of these all that it asks for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use crate::admission::timer::Timer;
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Pace;

/// The size of a piece; no divisor of usual windows.
const PIECE: usize = 32 * 1024 - 7;

/// So much at the beginning is neither tracked nor waited for: any connection takes it, and short answers cost nothing.
const FREE: usize = 16 * 1024 - 7;

/// How much of the end of a frame is kept back.
const SEAM: usize = 64;

/// How much the ends of frames, and whole small frames, are gathered into.
const GATHERED: usize = 4096;

/// How many pieces may be in the hands of an HTTP/1 connection. hyper stops at 16.
const FRAMES: usize = 15;

/// How long to wait for the first piece to be dropped.
const PATIENCE: Duration = Duration::from_millis(2);

/// How often a reader is waited for that drops nothing.
const TRIES: u32 = 4;

/// A body that is handed out piece by piece. See the [module](self).
#[pin_project]
#[derive(Debug)]
pub(super) struct Paced<B> {
    #[pin]
    body: B,
    /// What follows on `rest`, if that is known: trailers, an error, or nothing.
    last: Option<Option<Result<Frame<Bytes>, BoxError>>>,
    /// What is left of the frame that is being cut up.
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
    tracked: Arc<Tracked>,
    timer: Timer,
    until: Option<Instant>,
    tries: u32,
    /// The reader asks for more while it is made to wait.
    held_up: bool,
}

/// What a reader has been given.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    bytes: usize,
    pieces: usize,
}

/// What a body shares with the pieces that it has handed out.
#[derive(Debug)]
struct Tracked(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    out: Load,
    /// Whether a piece has ever been dropped.
    drops: bool,
    waker: Option<Waker>,
}

/// A piece that is tracked until it is dropped.
struct Piece {
    bytes: Bytes,
    tracked: Arc<Tracked>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.tracked.0);
            state.out.bytes -= self.bytes.len();
            state.out.pieces -= 1;
            state.drops = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            foreign(|| waker.wake());
        }
    }
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body, last: None, rest: Bytes::new(), pace, free: FREE, pacing: None }
    }

    /// Whether the reader waits because it has not taken what it was given, and not because there is nothing more.
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
        let tracked = Arc::new(Tracked(Mutex::new(State::default())));
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
            let until = *self.until.get_or_insert_with(|| time::now() + PATIENCE);
            ready!(self.timer.poll_until(cx, until));
            self.until = None;
            self.tries += 1;
            self.most = Load { bytes: self.most.bytes.max(PIECE) * 2, pieces: self.most.pieces * 2 };
        }
    }

    fn track(&mut self, bytes: Bytes) -> Bytes {
        if self.tries == TRIES || bytes.is_empty() {
            return bytes;
        }
        {
            let mut state = lock(&self.tracked.0);
            state.out.bytes += bytes.len();
            state.out.pieces += 1;
        }
        Bytes::from_owner(Piece { bytes, tracked: Arc::clone(&self.tracked) })
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
            return this.body.poll_frame(cx).map_err(Into::into);
        }
        if let Some(pacing) = this.pacing {
            pacing.held_up = pacing.poll_room(cx).is_pending();
            if pacing.held_up {
                return Poll::Pending;
            }
        }
        if this.rest.is_empty() {
            if let Some(last) = this.last.take() {
                return Poll::Ready(last);
            }
            match ready!(this.body.as_mut().poll_frame(cx)).map(data_of) {
                Some(Ok(data)) => *this.rest = data,
                Some(Err(last)) => return Poll::Ready(Some(last)),
                None => return Poll::Ready(None),
            }
        }
        let Some(pacing) = this.pacing else {
            let piece = this.rest.split_to(this.rest.len().min(*this.free));
            *this.free -= piece.len();
            if *this.free == 0 {
                *this.pacing = Pacing::new(*this.pace);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        };
        let kept_back = if *this.pace == Pace::Stream && this.last.is_none() { SEAM } else { 0 };
        let piece = if this.rest.len() <= kept_back && !this.body.is_end_stream() {
            let (piece, rest, last) = gather(std::mem::take(this.rest), this.body.as_mut(), cx);
            (*this.rest, *this.last) = (rest, last);
            piece
        } else {
            let most = this.rest.len() - kept_back.min(this.rest.len().saturating_sub(1));
            this.rest.split_to(most.min(PIECE))
        };
        Poll::Ready(Some(Ok(Frame::data(pacing.track(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.last.as_ref().map_or_else(|| self.body.is_end_stream(), Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// The data of a frame, or the frame if it has none.
fn data_of<E: Into<BoxError>>(frame: Result<Frame<Bytes>, E>) -> Result<Bytes, Result<Frame<Bytes>, BoxError>> {
    frame.map_err(|error| Err(error.into())).and_then(|frame| frame.into_data().map_err(Ok))
}

/// Puts what is there already of `body` behind `end`, and says what is left of the last frame and what follows on that.
#[allow(clippy::type_complexity, reason = "it is taken apart where it is returned")]
fn gather<B>(
    end: Bytes,
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> (Bytes, Bytes, Option<Option<Result<Frame<Bytes>, BoxError>>>)
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut gathered = BytesMut::from(&*end);
    while gathered.len() < GATHERED {
        let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else { break };
        match frame.map(data_of) {
            Some(Ok(mut data)) => {
                gathered.extend_from_slice(&data.split_to(data.len().min(GATHERED - gathered.len())));
                if !data.is_empty() {
                    return (gathered.freeze(), data, None);
                }
                if body.is_end_stream() {
                    break;
                }
            }
            Some(Err(last)) => return (gathered.freeze(), Bytes::new(), Some(Some(last))),
            None => return (gathered.freeze(), Bytes::new(), Some(None)),
        }
    }
    (gathered.freeze(), Bytes::new(), None)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    const KIB: usize = 1024;

    fn full(bytes: usize) -> Bytes {
        (0..bytes).map(|n| n as u8).collect()
    }

    fn next<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin>(body: &mut Paced<B>) -> Option<Bytes> {
        body.frame().now_or_never().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok())
    }

    fn frames(
        sizes: &[usize],
    ) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Unpin> {
        let frames: Vec<_> = sizes.iter().map(|size| Ok(Frame::data(full(*size)))).collect();
        StreamBody::new(futures::stream::iter(frames))
    }

    #[tokio::test(start_paused = true)]
    async fn one_piece_is_handed_out_as_it_is_written() {
        for (pace, most) in [(Pace::Connection, 2 * PIECE), (Pace::Stream, PIECE)] {
            let all = full(1024 * KIB);
            let mut body = Paced::new(Full::new(all.clone()), pace);
            let (mut out, mut written) = (VecDeque::new(), Vec::new());
            loop {
                assert_eq!(
                    body.size_hint().exact(),
                    Some((all.len() - written.len() - out.iter().map(Bytes::len).sum::<usize>()) as u64)
                );
                while let Some(piece) = next(&mut body) {
                    out.push_back(piece);
                }
                let held: usize = out.iter().map(Bytes::len).sum();
                assert!(held <= most + FREE, "{held}");
                assert!(out.is_empty() || body.is_held_up() || body.is_end_stream());
                let Some(piece) = out.pop_front() else { break };
                written.extend_from_slice(&piece);
            }
            assert!(body.is_end_stream() && written == all);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_frames_are_bounded_in_number() {
        let mut body =
            Paced::new(frames(&[16 * KIB, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Pace::Connection);
        let mut out: Vec<_> = std::iter::from_fn(|| next(&mut body)).collect();
        // The last bytes of the first frame are tracked too.
        assert_eq!(out.len(), 1 + FRAMES);
        drop(out.pop());
        out.extend(next(&mut body));
        assert!(out.len() == 1 + FRAMES && next(&mut body).is_none() && body.is_held_up());
    }

    #[tokio::test(start_paused = true)]
    async fn drop_of_a_piece_wakes_the_reader() {
        let mut body = Paced::new(Full::new(full(256 * KIB)), Pace::Stream);
        let (_free, piece) = (next(&mut body), next(&mut body));
        let mut frame = tokio_test::task::spawn(body.frame());
        assert!(frame.poll().is_pending());
        drop(piece);
        assert!(frame.is_woken() && frame.poll().is_ready());
    }

    /// Whole bodies are collected by tests and by middleware.
    #[tokio::test(start_paused = true)]
    async fn reader_that_keeps_everything_gets_everything_soon() {
        for pace in [Pace::Connection, Pace::Stream] {
            let start = time::now();
            let all = full(8192 * KIB);
            let read = Paced::new(Full::new(all.clone()), pace).collect().await.unwrap().to_bytes();
            assert!(read == all);
            assert!(time::now().since(start) <= 8 * PATIENCE);
        }
    }

    /// As middleware does that sends in batches.
    #[tokio::test(start_paused = true)]
    async fn reader_that_drops_in_batches_is_not_held_up() {
        let mut body = Paced::new(Full::new(full(8192 * KIB)), Pace::Connection);
        let (mut batch, mut read) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            batch.push(frame.unwrap().into_data().unwrap());
            if batch.iter().map(Bytes::len).sum::<usize>() > 150 * KIB {
                read += batch.drain(..).map(|bytes| bytes.len()).sum::<usize>();
            }
        }
        assert_eq!(read + batch.iter().map(Bytes::len).sum::<usize>(), 8192 * KIB);
    }

    /// The window of a stream may close anywhere, but not between the frames of a body that goes on.
    #[tokio::test(start_paused = true)]
    async fn pieces_of_a_stream_do_not_end_where_frames_end() {
        for (size, count) in [(100, 10_000), (4096, 1000), (KIB * 64, 40)] {
            let sizes = vec![size; count];
            let mut body = Paced::new(frames(&sizes), Pace::Stream);
            let (mut read, mut pieces) = (0, 0);
            while let Some(piece) = next(&mut body) {
                (read, pieces) = (read + piece.len(), pieces + 1);
                assert!(read % size != 0 || read <= FREE + size || read == size * count, "after {read} bytes");
            }
            assert_eq!(read, size * count);
            assert!(pieces <= read / 2048 + 300, "{pieces} pieces of {count} frames");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn end_of_a_frame_is_not_kept_back_while_the_next_is_not_there() {
        let (mut send, body) = http_body_util::channel::Channel::<Bytes>::new(4);
        let mut body = Paced::new(body, Pace::Stream);
        for size in [20 * KIB, 50, 20 * KIB] {
            send.send_data(full(size)).await.unwrap();
            let read: usize = std::iter::from_fn(|| next(&mut body)).map(|piece| piece.len()).sum();
            assert_eq!(read, size);
        }
        let mut trailers = ::http::HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        send.send_data(full(50)).await.unwrap();
        send.send_trailers(trailers).await.unwrap();
        drop(send);
        assert_eq!(next(&mut body).map(|piece| piece.len()), Some(50));
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn body_that_is_not_paced_is_untouched() {
        let all = full(1024 * KIB);
        let mut body = Paced::new(Full::new(all.clone()), Pace::Free);
        assert_eq!(next(&mut body), Some(all));
        assert!(body.is_end_stream() && !body.is_held_up());
    }
}
