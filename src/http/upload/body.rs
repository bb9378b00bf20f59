use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use crate::admission::gate::Waiter;
use crate::admission::timer::Timer;
use crate::ground::error::{Numbers, Reason, Rejected};
use crate::ground::time::{self, Instant};
use crate::layers::call::inner::reject;
use crate::layers::permits::upload::{RESUME_WITHIN, Upload};
use crate::telemetry::{Instruments, Unreported};

/// The body of a request whose call holds no place while it waits for the client. See [`UploadLayer`](super::UploadLayer).
///
/// The body's own errors are passed on, boxed. Its own is a [`Rejected`]: [`Reason::RequestIdle`] if the client sends nothing for
/// too long, [`Reason::NotInTime`] if the deadline passes while the call waits for a place for the work that follows. Polled again, the
/// body fails with the same: what was cut never ends as if it were whole.
#[pin_project]
pub struct UploadBody<B: Body> {
    #[pin]
    inner: B,
    /// None if there is nothing to wait for.
    watched: Option<Box<Watched<B::Data>>>,
}

/// A body that may keep its handler waiting.
struct Watched<D> {
    upload: Arc<Upload>,
    instruments: Instruments,
    idle: Duration,
    waiting_since: Option<Instant>,
    timer: Timer,
    /// The end of the body, or the frame that ends it: handed on once the call has a permit again.
    last: Option<Option<Frame<D>>>,
    waiter: Option<Waiter>,
    /// Since when the end of the body waits for the permit.
    complete_since: Option<Instant>,
    cut: Option<Rejected>,
}

impl<B: Body> UploadBody<B> {
    pub(super) fn new(
        inner: B,
        watch: impl FnOnce() -> (Arc<Upload>, Instruments, Duration),
    ) -> (Self, Option<Arc<Upload>>) {
        if inner.is_end_stream() {
            return (Self { inner, watched: None }, None);
        }
        let (upload, instruments, idle) = watch();
        let watched = Watched {
            upload: Arc::clone(&upload),
            instruments,
            idle,
            waiting_since: None,
            timer: Timer::new(),
            last: None,
            waiter: None,
            complete_since: None,
            cut: None,
        };
        (Self { inner, watched: Some(Box::new(watched)) }, Some(upload))
    }
}

impl<D> Watched<D> {
    /// The client keeps the handler waiting.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Unreported> {
        if self.upload.is_over() {
            // The answer is on its way, and the rest of the request may take as long as that does.
            return Poll::Pending;
        }
        let since = *self.waiting_since.get_or_insert_with(time::now);
        self.upload.pause();
        ready!(self.timer.poll_until(cx, since + self.idle));
        let numbers = Numbers::of_timeout(self.idle, time::now().since(since));
        let refusal = self.instruments.refuse(Reason::RequestIdle).with_numbers(numbers);
        self.upload.cut_with(refusal.rejected().clone());
        Poll::Ready(refusal)
    }

    /// The call has a permit again, or needs none. The wait is bounded, whoever has the permits.
    fn resume(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unreported>> {
        if let Poll::Ready(result) = self.upload.poll_resume(&mut self.waiter, cx) {
            return Poll::Ready(result);
        }
        let since = *self.complete_since.get_or_insert_with(time::now);
        ready!(self.timer.poll_until(cx, since + RESUME_WITHIN));
        // A permit that has come in this moment goes to the next, or is free.
        self.waiter = None;
        self.upload.resume_over_limit();
        Poll::Ready(Ok(()))
    }

    fn cut(&mut self, refusal: Unreported) -> BoxError {
        self.last = None;
        self.cut = Some(refusal.rejected().clone());
        reject(refusal)
    }
}

impl<D> Drop for Watched<D> {
    fn drop(&mut self) {
        // The handler does not want the rest, and goes on with its work.
        self.waiter = None;
        self.upload.resume_over_limit();
    }
}

impl<B> Body for UploadBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(watched) = this.watched else {
            return this.inner.poll_frame(cx).map(|frame| frame.map(|result| result.map_err(Into::into)));
        };
        if let Some(rejected) = &watched.cut {
            // It has been reported.
            return Poll::Ready(Some(Err(rejected.clone().into())));
        }
        if watched.last.is_none() {
            let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
                let refusal = ready!(watched.wait(cx));
                return Poll::Ready(Some(Err(watched.cut(refusal))));
            };
            watched.waiting_since = None;
            let frame = match frame.transpose() {
                Ok(frame) => frame,
                Err(error) => {
                    // Nothing more is waited for, and the handler goes on.
                    watched.upload.resume_over_limit();
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            if frame.is_some() && !this.inner.is_end_stream() {
                watched.upload.try_resume();
                return Poll::Ready(frame.map(Ok));
            }
            watched.last = Some(frame);
        }
        match ready!(watched.resume(cx)) {
            Ok(()) => Poll::Ready(watched.last.take().flatten().map(Ok)),
            Err(refusal) => Poll::Ready(Some(Err(watched.cut(refusal)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.watched {
            Some(watched) if watched.last.is_some() || watched.cut.is_some() => false,
            _ => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = self.watched.as_ref().and_then(|watched| watched.last.as_ref()?.as_ref()?.data_ref());
        if let Some(held) = held.map(|data| data.remaining() as u64) {
            // In this order: a lower bound is never above the upper one.
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(held));
            }
            hint.set_lower(hint.lower().saturating_add(held));
        }
        hint
    }
}

impl<B: Body + fmt::Debug> fmt::Debug for UploadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
