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

/// The body of a request whose call holds no permit while it waits for the client. See
/// [`UploadLayer`](super::UploadLayer).
///
/// Passes on the inner body's errors, boxed. Its own error is a [`Rejected`]: [`Reason::RequestIdle`] if the client
/// sends nothing for too long, or [`Reason::NotInTime`] if the deadline passes while the call waits for a permit for
/// the work that follows. Once it has failed, every later poll fails with the same error: a body that was cut never
/// looks complete.
#[pin_project]
pub struct UploadBody<B: Body> {
    #[pin]
    inner: B,
    /// `None` if there is nothing to wait for.
    watched: Option<Box<UploadWatch<B::Data>>>,
}

/// The state of a body that may keep its handler waiting.
struct UploadWatch<D> {
    upload: Arc<Upload>,
    instruments: Instruments,
    idle: Duration,
    waiting_since: Option<Instant>,
    timer: Timer,
    /// The end of the body, or its last frame. Handed on once the call has a permit again.
    last: Option<Option<Frame<D>>>,
    waiter: Option<Waiter>,
    /// When the end of the body began to wait for the permit.
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
        let watched = UploadWatch {
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

impl<D> UploadWatch<D> {
    /// The handler is waiting for the client.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Unreported> {
        if self.upload.is_over() {
            // The response has begun, and the rest of the request may take as long as the response does.
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

    /// Ready when the call has a permit again, or needs none. The wait has a bound, even if no permit becomes free.
    fn resume(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unreported>> {
        if let Poll::Ready(result) = self.upload.poll_resume(&mut self.waiter, cx) {
            return Poll::Ready(result);
        }
        let since = *self.complete_since.get_or_insert_with(time::now);
        ready!(self.timer.poll_until(cx, since + RESUME_WITHIN));
        // A permit that has just been granted goes to the next waiter, or becomes free.
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

impl<D> Drop for UploadWatch<D> {
    fn drop(&mut self) {
        // The handler does not read the rest. It goes on with its work and needs a permit for it.
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
            // This refusal has been reported already.
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
                    // There is nothing more to wait for. The handler goes on with its work and needs a permit for it.
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
            // The upper bound is set first: a lower bound above the upper one would panic.
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
