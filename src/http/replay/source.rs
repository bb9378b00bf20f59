//! One body for all attempts: which attempt may read it, and what has passed of it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tower::BoxError;

use super::record::{BodyRecord, Discarded, RecordPosition};
use crate::ground::sync::{Mutex, foreign, lock};

/// The original body and the record of what has passed. Attempts are numbered, and only the newest one reads on. A
/// connection may hold the body of a superseded attempt for as long as it likes; it gets an error at its next poll.
/// Once the original has ended, and all of it is in the record, several attempts can read the record at once.
pub(super) struct ReplaySource<B> {
    slot: Mutex<SourceState<B>>,
}

struct SourceState<B> {
    original: Original<B>,
    record: BodyRecord,
    attempt: u32,
    /// The oldest attempt that is not superseded. Before the original has ended this is the newest one.
    oldest: u32,
    /// How many layers keep the request for further attempts: a retry, and a hedge inside it.
    keepers: u32,
    /// The waker of an attempt, woken when the attempt may go on or has been superseded.
    waiting: Option<Waker>,
    /// The waker of a call that waits for the end of the original, to read the record beside the current attempt.
    beside: Option<Waker>,
}

enum Original<B> {
    Here(Pin<Box<B>>),
    /// Being polled, unlocked: by the newest attempt, or by one that has been superseded since the poll began.
    Away,
    Ended,
    /// With the error, until an attempt has received it.
    Failed(Option<BoxError>),
}

/// The result of a poll.
#[derive(Debug)]
pub(super) enum ReplayStep {
    /// A frame, and whether it is the last one.
    Frame(Frame<Bytes>, bool),
    End,
    Failed(BoxError),
}

/// An attempt that has begun: its number, and whether there is nothing to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) attempt: u32,
    pub(super) is_over: bool,
}

/// The error of a superseded attempt.
#[derive(Debug, thiserror::Error)]
#[error("attempt superseded: the next attempt uses the request body")]
struct Superseded;

impl<B> ReplaySource<B> {
    pub(super) fn new(body: B, max: usize) -> Self {
        let slot = SourceState {
            original: Original::Here(Box::pin(body)),
            record: BodyRecord::new(max),
            attempt: 0,
            oldest: 0,
            keepers: 1,
            waiting: None,
            beside: None,
        };
        Self { slot: Mutex::new(slot) }
    }

    /// Whether the body can be sent again from its beginning.
    pub(super) fn is_repeatable(&self) -> bool {
        lock(&self.slot).is_repeatable()
    }

    /// Supersedes the current attempt. Its next poll fails, and its waiting reader is woken.
    pub(super) fn supersede(&self) {
        let reader_waker = lock(&self.slot).supersede();
        wake(reader_waker);
    }

    /// Begins another attempt. `None` if too much has passed.
    pub(super) fn begin(&self) -> Option<Begun> {
        let mut slot = lock(&self.slot);
        if !slot.is_repeatable() {
            return None;
        }
        let reader_waker = slot.supersede();
        let begun = slot.begun();
        drop(slot);
        wake(reader_waker);
        Some(begun)
    }

    /// Begins another attempt, which supersedes none. `None` if too much has passed, or an attempt still reads the original.
    pub(super) fn begin_beside(&self) -> Option<Begun> {
        let mut slot = lock(&self.slot);
        if !slot.is_repeatable() || !matches!(slot.original, Original::Ended) {
            return None;
        }
        slot.attempt = slot.attempt.wrapping_add(1);
        Some(slot.begun())
    }

    /// Ready once all of the original is in the record, or never will be. Wakes the task then.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock is taken, and dropped after it is released: both may run foreign code.
        let mut waker = Some(foreign(|| cx.waker().clone()));
        let mut slot = lock(&self.slot);
        let is_settled = slot.is_settled();
        if !is_settled {
            std::mem::swap(&mut slot.beside, &mut waker);
        }
        drop(slot);
        foreign(|| drop(waker));
        if is_settled { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Another layer keeps the request, and may make further attempts of it.
    pub(super) fn keep(&self) {
        let mut slot = lock(&self.slot);
        slot.keepers = slot.keepers.saturating_add(1);
        slot.record.open();
    }

    /// A layer makes no further attempt. After the last one nothing more is recorded.
    pub(super) fn stop_keeping(&self) {
        let mut slot = lock(&self.slot);
        slot.keepers = slot.keepers.saturating_sub(1);
        if slot.keepers > 0 {
            return;
        }
        slot.record.close();
        let beside_waker = slot.beside.take();
        drop(slot);
        foreign(|| drop(beside_waker));
    }
}

impl<B> SourceState<B> {
    fn is_repeatable(&self) -> bool {
        self.record.is_complete() && !matches!(self.original, Original::Failed(_))
    }

    /// Whether it is decided that all of the original is in the record, or that it is not.
    fn is_settled(&self) -> bool {
        !self.record.is_complete() || matches!(self.original, Original::Ended | Original::Failed(_))
    }

    /// The waker of a call that waits until this is settled, if it is.
    fn take_beside(&mut self) -> Option<Waker> {
        if self.is_settled() { self.beside.take() } else { None }
    }

    fn supersede(&mut self) -> Option<Waker> {
        self.attempt = self.attempt.wrapping_add(1);
        self.oldest = self.attempt;
        self.waiting.take()
    }

    fn begun(&self) -> Begun {
        Begun { attempt: self.attempt, is_over: self.is_over(RecordPosition::default()) }
    }

    /// Whether an attempt is superseded. Numbers wrap around, and there are few attempts, so those before the oldest are far away.
    fn is_superseded(&self, attempt: u32) -> bool {
        attempt.wrapping_sub(self.oldest) > self.attempt.wrapping_sub(self.oldest)
    }

    /// Whether there is nothing after `place`.
    fn is_over(&self, mut place: RecordPosition) -> bool {
        matches!(self.original, Original::Ended) && self.record.next(&mut place).is_none()
    }

    /// The step for a frame that ends at `place`.
    fn frame(&self, frame: Frame<Bytes>, place: RecordPosition) -> ReplayStep {
        ReplayStep::Frame(frame, self.is_over(place))
    }
}

impl<B> ReplaySource<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// The next frame for `attempt`, which has read up to `place`: from the record first, then from the original.
    pub(super) fn poll_frame(
        &self,
        attempt: u32,
        place: &mut RecordPosition,
        cx: &mut Context<'_>,
    ) -> Poll<ReplayStep> {
        // Cloned before the lock is taken, and dropped after it is released: both may run foreign code.
        let mut waker = Some(foreign(|| cx.waker().clone()));
        let mut body = match self.take(attempt, place, &mut waker) {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let mut away = TakenOriginal { source: self, is_back: false };
        let (original, news) = foreign(|| {
            let news = body
                .as_mut()
                .poll_frame(cx)
                .map_ok(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
            let is_last = match &news {
                Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || body.is_end_stream(),
                Poll::Ready(_) => true,
                Poll::Pending => false,
            };
            let original = if is_last {
                drop(body);
                Original::Ended
            } else {
                Original::Here(body)
            };
            (original, news.map_err(Into::into))
        });
        away.is_back = true;
        self.put_back(attempt, place, original, news, &mut waker)
    }

    /// The original if `attempt` may poll it, else the answer without it. If the answer is to wait, `waker` is stored
    /// and woken when the attempt may go on. The waker that is left in its place must be dropped without the lock.
    fn take(
        &self,
        attempt: u32,
        place: &mut RecordPosition,
        waker: &mut Option<Waker>,
    ) -> Result<Pin<Box<B>>, Poll<ReplayStep>> {
        let mut slot = lock(&self.slot);
        if slot.is_superseded(attempt) {
            return Err(Poll::Ready(ReplayStep::Failed(Superseded.into())));
        }
        if let Some(frame) = slot.record.next(place) {
            return Err(Poll::Ready(slot.frame(frame, *place)));
        }
        match std::mem::replace(&mut slot.original, Original::Away) {
            Original::Here(body) => Ok(body),
            Original::Away => {
                std::mem::swap(&mut slot.waiting, waker);
                Err(Poll::Pending)
            }
            Original::Ended => {
                slot.original = Original::Ended;
                Err(Poll::Ready(ReplayStep::End))
            }
            Original::Failed(error) => {
                slot.original = Original::Failed(None);
                let error = error.unwrap_or_else(|| "the request body has failed before".into());
                Err(Poll::Ready(ReplayStep::Failed(error)))
            }
        }
    }

    /// Puts the original back, with the result of the poll by `attempt`. If that attempt has been superseded, the
    /// newest one gets the result. `waker` is used as in [`take`](Self::take).
    fn put_back(
        &self,
        attempt: u32,
        place: &mut RecordPosition,
        original: Original<B>,
        news: Poll<Option<Result<Frame<Bytes>, BoxError>>>,
        waker: &mut Option<Waker>,
    ) -> Poll<ReplayStep> {
        let (mut discarded, mut copied) = (Discarded::default(), None);
        let mut slot = lock(&self.slot);
        slot.original = original;
        let is_newest = slot.attempt == attempt;
        let reader_waker = if is_newest { None } else { slot.waiting.take() };
        let step = match news {
            Poll::Ready(Some(Ok(frame))) if is_newest => {
                discarded = slot.record.push(&frame);
                *place = slot.record.end();
                Poll::Ready(slot.frame(frame, *place))
            }
            Poll::Ready(Some(Ok(frame))) => {
                discarded = slot.record.push_unsent(&frame);
                copied = Some(frame);
                Poll::Ready(ReplayStep::Failed(Superseded.into()))
            }
            Poll::Ready(Some(Err(error))) if is_newest => {
                slot.original = Original::Failed(None);
                Poll::Ready(ReplayStep::Failed(error))
            }
            Poll::Ready(Some(Err(error))) => {
                slot.original = Original::Failed(Some(error));
                Poll::Ready(ReplayStep::Failed(Superseded.into()))
            }
            Poll::Ready(None) if is_newest => Poll::Ready(ReplayStep::End),
            Poll::Pending if is_newest => {
                std::mem::swap(&mut slot.waiting, waker);
                Poll::Pending
            }
            _ => Poll::Ready(ReplayStep::Failed(Superseded.into())),
        };
        let beside_waker = slot.take_beside();
        drop(slot);
        foreign(|| drop((discarded, copied)));
        // The newest attempt must poll the original with its own waker, even if nothing has come: the original knows
        // only this attempt's waker.
        wake(reader_waker);
        wake(beside_waker);
        step
    }
}

/// The original is out of its slot. If its poll panics, it is lost: this marks it as failed and wakes the waiting
/// attempt.
struct TakenOriginal<'a, B> {
    source: &'a ReplaySource<B>,
    is_back: bool,
}

impl<B> Drop for TakenOriginal<'_, B> {
    fn drop(&mut self) {
        if !self.is_back {
            let mut slot = lock(&self.source.slot);
            slot.original = Original::Failed(None);
            let (reader_waker, beside_waker) = (slot.waiting.take(), slot.take_beside());
            drop(slot);
            wake(reader_waker);
            wake(beside_waker);
        }
    }
}

fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        foreign(|| waker.wake());
    }
}

impl<B> fmt::Debug for ReplaySource<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplaySource").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, OnceLock, Weak};

    use super::*;
    use crate::ground::sync::locks_held;

    /// Owns the bytes of a frame, and has a destructor.
    struct Owner(&'static [u8]);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0
        }
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            assert_eq!(locks_held(), 0, "a destructor of the user's runs under a lock");
        }
    }

    /// Begins another attempt while it is polled.
    #[derive(Default)]
    struct Superseding(Arc<OnceLock<Weak<ReplaySource<Superseding>>>>);

    impl Body for Superseding {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert_eq!(locks_held(), 0);
            let source = self.0.get().and_then(Weak::upgrade).expect("it is being polled");
            assert!(source.begin().is_some());
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Owner(b"small"))))))
        }

        fn is_end_stream(&self) -> bool {
            assert_eq!(locks_held(), 0);
            false
        }
    }

    #[test]
    fn frame_of_a_superseded_attempt_is_kept_and_dropped_unlocked() {
        let body = Superseding::default();
        let back = Arc::clone(&body.0);
        let source = Arc::new(ReplaySource::new(body, 100));
        assert!(back.set(Arc::downgrade(&source)).is_ok());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(source.poll_frame(0, &mut RecordPosition::default(), cx), Poll::Ready(ReplayStep::Failed(_))));
        let frame = source.poll_frame(1, &mut RecordPosition::default(), cx);
        assert!(
            matches!(frame, Poll::Ready(ReplayStep::Frame(frame, false)) if frame.data_ref().is_some_and(|data| data == "small"))
        );
    }
}
