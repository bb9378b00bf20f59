//! Records when a future was woken, which may be long before it is polled.
//!
//! A task that is woken waits to be polled: behind other tasks, behind code that blocks a worker, behind another branch of its own
//! `select!`. That delay is ours. A layer that measures a dependency polls it with a waker that records the time.
//!
//! The first poll takes a waker from a pool of the thread. A pooled waker keeps no task alive. After the first calls of a thread
//! nothing is allocated.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use crate::ground::scope;
use crate::ground::sync::atomic::{AtomicU64, Ordering, fence};
use crate::ground::sync::foreign;
use crate::ground::time::Instant;

/// How many unused wakers a thread keeps (about 60 bytes each).
const POOLED: usize = 256;

/// Polls a future, and records when it was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    armed: Option<Armed>,
    /// It has been pending, so there is a task to wake.
    has_waited: bool,
}

/// A waker with its time stamp.
#[derive(Debug)]
struct Armed {
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

impl Woken {
    pub(crate) const fn new() -> Self {
        Self { armed: None, has_waited: false }
    }

    /// Polls with a waker that records the time. Also returns when the future was woken for this poll, if it was.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> (Poll<T>, Option<Instant>) {
        let Armed { stamp, waker } = self.armed.get_or_insert_with(Armed::take);
        let woken = if self.has_waited { instant(stamp.at.swap(0, Ordering::AcqRel)) } else { None };
        let output = poll(&mut Context::from_waker(waker));
        if output.is_pending() {
            self.has_waited = true;
            // An `AtomicWaker` registers no further task once the `clone` of a waker has panicked. Out of `self`, the panic drops
            // such a stamp, which must not return to the pool.
            if let Some(armed) = self.armed.take() {
                armed.stamp.forward_to(cx.waker());
                self.armed = Some(armed);
            }
        }
        (output, woken)
    }

    /// When the future was woken after the last poll, if it was.
    pub(crate) fn at(&self) -> Option<Instant> {
        instant(self.armed.as_ref()?.stamp.at.load(Ordering::Acquire))
    }
}

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        if let Some(armed) = self.armed.take() {
            armed.give_back(self.has_waited);
        }
    }
}

fn instant(nanos: u64) -> Option<Instant> {
    (nanos != 0).then(|| Instant::from_nanos(nanos))
}

impl Stamp {
    /// Forwards wake-ups to `task` from now on. Wakes it at once if a wake-up arrived before that.
    fn forward_to(&self, task: &Waker) {
        foreign(|| self.task.register(task));
        if self.at.load(Ordering::Acquire) != 0 {
            foreign(|| self.task.wake());
        }
    }
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // An inner waker hands over its clock read.
        let now = scope::call_start();
        let _ = self.at.compare_exchange(0, now.as_nanos(), Ordering::AcqRel, Ordering::Acquire);
        scope::with_start(now, || foreign(|| self.task.wake()));
    }
}

thread_local! {
    static POOL: RefCell<Vec<Armed>> = const { RefCell::new(Vec::new()) };
}

impl Armed {
    /// A waker from the pool, or a fresh one.
    #[inline]
    fn take() -> Self {
        // While a thread ends the pool no longer exists.
        POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten().unwrap_or_else(Self::fresh)
    }

    #[cold]
    fn fresh() -> Self {
        let stamp = Arc::new(Stamp { at: AtomicU64::new(0), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&stamp));
        Self { stamp, waker }
    }

    /// Returns it to the pool, unless its waker is still held elsewhere and could wake an unrelated task.
    #[inline]
    fn give_back(self, has_waited: bool) {
        if has_waited {
            foreign(|| drop(self.stamp.task.take()));
        }
        // One reference is ours, and one is that of our waker.
        if Arc::strong_count(&self.stamp) > 2 {
            return;
        }
        // Makes visible what other holders stored before they released the waker, so that the store below comes last.
        fence(Ordering::Acquire);
        self.stamp.at.store(0, Ordering::Relaxed);
        let mut armed = Some(self);
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED {
                pool.extend(armed.take());
            }
        });
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex as StdMutex;
    use std::time::Duration;

    use futures::task::{ArcWake, waker};

    use super::*;
    use crate::ground::time;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Default)]
    struct Task(StdMutex<u32>);

    impl ArcWake for Task {
        fn wake_by_ref(task: &Arc<Self>) {
            *task.0.lock().unwrap() += 1;
        }
    }

    /// Polls once, and keeps the waker.
    fn pend(woken: &mut Woken, task: &Waker) -> (Waker, Option<Instant>) {
        let mut kept = None;
        let (poll, at) = woken.poll(&Context::from_waker(task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(poll.is_pending());
        (kept.unwrap(), at)
    }

    #[tokio::test(start_paused = true)]
    async fn wake_time_is_recorded_and_returned_by_the_next_poll() {
        let (mut woken, task) = (Woken::new(), Arc::new(Task::default()));
        let outer = waker(Arc::clone(&task));
        let (inner, at) = pend(&mut woken, &outer);
        assert_eq!((at, woken.at()), (None, None));
        tokio::time::advance(SECOND).await;
        let came = time::now();
        inner.wake_by_ref();
        tokio::time::advance(SECOND).await;
        inner.wake_by_ref();
        assert_eq!((woken.at(), *task.0.lock().unwrap()), (Some(came), 1), "the first one counts");
        let (again, at) = pend(&mut woken, &outer);
        assert!(again.will_wake(&inner), "the same waker for all polls");
        assert_eq!((at, woken.at()), (Some(came), None));
    }

    #[tokio::test(start_paused = true)]
    async fn wake_during_the_poll_is_not_lost() {
        let (mut woken, task) = (Woken::new(), Arc::new(Task::default()));
        let (poll, _) = woken.poll(&Context::from_waker(&waker(Arc::clone(&task))), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(poll.is_pending());
        assert_eq!(*task.0.lock().unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn held_waker_is_not_reused() {
        let task = Arc::new(Task::default());
        let outer = waker(Arc::clone(&task));
        let mut first = Woken::new();
        let (held, _) = pend(&mut first, &outer);
        drop(first);
        held.wake_by_ref();
        assert_eq!(*task.0.lock().unwrap(), 0, "no task waits any more");
        let mut second = Woken::new();
        let (other, _) = pend(&mut second, &outer);
        assert!(!other.will_wake(&held));
        drop((second, outer));
        assert_eq!(Arc::strong_count(&task), 1, "what is in the pool keeps no task");
        assert!(other.will_wake(&other));
    }

    /// A task whose waker panics when it is replaced by another one.
    struct PanicsInDrop;

    impl ArcWake for PanicsInDrop {
        fn wake_by_ref(_: &Arc<Self>) {}
    }

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in the drop of a waker");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stamp_is_not_reused_after_a_waker_panicked() {
        let task = Arc::new(Task::default());
        let outer = waker(Arc::clone(&task));
        let panicked = || {
            let mut woken = Woken::new();
            let _ = pend(&mut woken, &waker(Arc::new(PanicsInDrop)));
            let polled = catch_unwind(AssertUnwindSafe(|| pend(&mut woken, &outer)));
            assert!(polled.is_err());
            woken
        };
        // The same call, if it is polled again, and the next one.
        for (mut woken, wakes) in [
            (panicked(), 1),
            (
                {
                    drop(panicked());
                    Woken::new()
                },
                2,
            ),
        ] {
            let (inner, _) = pend(&mut woken, &outer);
            inner.wake();
            assert_eq!(*task.0.lock().unwrap(), wakes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn released_waker_is_reused() {
        let outer = waker(Arc::new(Task::default()));
        let mut first = Woken::new();
        let (held, _) = pend(&mut first, &outer);
        let address = held.data();
        drop(held);
        drop(first);
        let mut second = Woken::new();
        let (other, at) = pend(&mut second, &outer);
        assert_eq!((other.data(), at), (address, None));
    }
}
