use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use crate::ground::sync::atomic::{AtomicU64, Ordering, fence};
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};

/// A waker that records when it was first woken, and wakes the task that waits.
#[derive(Debug)]
pub(crate) struct StampedWaker {
    stamp: Arc<Stamp>,
    waker: Waker,
}

#[derive(Debug)]
struct Stamp {
    /// When it was first woken since the last poll, in nanoseconds; 0: not yet.
    at: AtomicU64,
    /// The waiting task.
    task: AtomicWaker,
}

impl StampedWaker {
    #[cold]
    pub(super) fn fresh() -> Self {
        let stamp = Arc::new(Stamp { at: AtomicU64::new(0), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&stamp));
        Self { stamp, waker }
    }

    /// Polls with this waker.
    #[inline]
    pub(crate) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(&self.waker))
    }

    /// When it was first woken since the last take, if it was.
    #[inline]
    pub(crate) fn take_stamp(&self) -> Option<Instant> {
        instant(self.stamp.at.swap(0, Ordering::AcqRel))
    }

    /// The same, without taking it.
    pub(crate) fn stamp(&self) -> Option<Instant> {
        instant(self.stamp.at.load(Ordering::Acquire))
    }

    /// Forwards wake-ups to `task` from now on. Wakes it at once if a wake-up arrived before that.
    pub(crate) fn forward_to(&self, task: &Waker) {
        foreign(|| self.stamp.task.register(task));
        if self.stamp.at.load(Ordering::Acquire) != 0 {
            foreign(|| self.stamp.task.wake());
        }
    }

    /// An unused waker wakes no task.
    pub(super) fn forget_task(&self) {
        foreign(|| drop(self.stamp.task.take()));
    }

    /// Prepares it for another call. `None` if it is still held elsewhere and could wake an unrelated task.
    #[inline]
    pub(super) fn reset(self) -> Option<Self> {
        // One reference is ours, and one is that of our waker.
        if Arc::strong_count(&self.stamp) > 2 {
            return None;
        }
        // Makes visible what other holders stored before they released the waker, so that the store below comes last.
        fence(Ordering::Acquire);
        self.stamp.at.store(0, Ordering::Relaxed);
        Some(self)
    }
}

fn instant(nanos: u64) -> Option<Instant> {
    (nanos != 0).then(|| Instant::from_nanos(nanos))
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // An inner waker hands over its clock read.
        let now = time::call_start();
        let _ = self.at.compare_exchange(0, now.as_nanos(), Ordering::AcqRel, Ordering::Acquire);
        time::with_start(now, || foreign(|| self.task.wake()));
    }
}
