use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project::pin_project;
use tower::BoxError;

use super::by_code::{ByCode, of_error};
use crate::admission::timer::Timer;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::http::{Judge, SettledBody};

/// How long to wait for the first frame after the head. A failed call has its trailers right behind the head. A stream
/// that sends nothing at first is handed on this much later.
const FIRST_FRAME_WITHIN: Duration = Duration::from_millis(10);

/// How many bytes are read ahead. Responses to unary calls are usually shorter.
const READ_AHEAD: usize = 64 * 1024;

/// How many frames are read ahead: frames may be empty.
const FRAMES_AHEAD: usize = 64;

/// Looks for the status behind the head of a response: in what has been sent already, and for a short time in what
/// comes first. Once a message has come, it waits for nothing more.
///
/// Public only so that [`Classify::Settling`](crate::verdict::Classify::Settling) can name it.
#[pin_project]
#[derive(Debug)]
pub struct Settling<B> {
    /// `None` once the response has been handed on.
    response: Option<Response<B>>,
    judge: ByCode,
    /// The verdict of the head.
    head: Verdict,
    decided: bool,
    read: VecDeque<Frame<Bytes>>,
    bytes: usize,
    timer: Timer,
    until: Option<Instant>,
}

impl<B> Settling<B> {
    pub(super) fn new(response: Response<B>, judge: ByCode) -> Self {
        let (head, decided) = (judge.of_head(&response), judge.is_decided(&response));
        let (read, timer) = (VecDeque::new(), Timer::new());
        Self { response: Some(response), judge, head, decided, read, bytes: 0, timer, until: None }
    }
}

/// The result of reading ahead.
enum ReadAhead {
    /// No verdict yet; the rest is still to come.
    Nothing,
    /// The whole body was read, with this verdict.
    End(Verdict),
    /// The body failed.
    Error(BoxError),
}

impl<B> Future for Settling<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = (Verdict, Response<SettledBody<B>>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Polled after completion: stays pending, as fused futures do.
        let Some(response) = this.response.as_mut() else { return Poll::Pending };
        let found = loop {
            if *this.decided || *this.bytes > READ_AHEAD || this.read.len() >= FRAMES_AHEAD {
                break ReadAhead::Nothing;
            }
            match Pin::new(response.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let verdict = frame.trailers_ref().map(|trailers| this.judge.at_end(*this.head, Some(trailers)));
                    *this.bytes += frame.data_ref().map_or(0, Bytes::len);
                    this.read.push_back(frame);
                    if let Some(verdict) = verdict {
                        break ReadAhead::End(verdict);
                    }
                }
                Poll::Ready(Some(Err(error))) => break ReadAhead::Error(error.into()),
                Poll::Ready(None) => break ReadAhead::End(this.judge.at_end(*this.head, None)),
                Poll::Pending if *this.bytes > 0 => break ReadAhead::Nothing,
                Poll::Pending => {
                    let until = *this.until.get_or_insert_with(|| time::now() + FIRST_FRAME_WITHIN);
                    ready!(this.timer.poll_until(cx, until));
                    break ReadAhead::Nothing;
                }
            }
        };
        this.timer.disarm();
        let Some(response) = this.response.take() else { return Poll::Pending };
        let read = mem::take(this.read);
        Poll::Ready(match found {
            ReadAhead::Nothing => (*this.head, response.map(|rest| SettledBody::partly_read(read, rest))),
            ReadAhead::End(verdict) => (verdict, response.map(|_| SettledBody::read(read, None))),
            ReadAhead::Error(error) => (of_error(&error), response.map(|_| SettledBody::read(read, Some(error)))),
        })
    }
}
