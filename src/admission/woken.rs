//! Records when a future was woken, which may be long before it is polled.
//!
//! A task that is woken waits to be polled: behind other tasks, behind code that blocks a worker, behind another branch of its own
//! `select!`. That delay is ours. A layer that measures a dependency polls it with a waker that records the time.
//!
//! The first poll takes a waker from the [pool](pooled) of the thread.

use std::task::{Context, Poll};

use crate::admission::pooled::{self, StampedWaker};
use crate::ground::time::Instant;

/// Polls a future, and records when it was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    waker: Option<StampedWaker>,
    /// It has been pending, so there is a task to wake.
    has_waited: bool,
}

impl Woken {
    pub(crate) const fn new() -> Self {
        Self { waker: None, has_waited: false }
    }

    /// Polls with a waker that records the time. Also returns when the future was woken for this poll, if it was.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> (Poll<T>, Option<Instant>) {
        let waker = self.waker.get_or_insert_with(pooled::take_waker);
        let woken = if self.has_waited { waker.take_stamp() } else { None };
        let output = waker.poll(poll);
        if output.is_pending() {
            self.has_waited = true;
            // An `AtomicWaker` registers no further task once the `clone` of a waker has panicked. Out of `self`, the panic drops
            // such a waker, which must not return to the pool.
            if let Some(waker) = self.waker.take() {
                waker.forward_to(cx.waker());
                self.waker = Some(waker);
            }
        }
        (output, woken)
    }

    /// When the future was woken after the last poll, if it was.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.waker.as_ref()?.stamp()
    }
}

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            pooled::give_back_waker(waker, self.has_waited);
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex as StdMutex};
    use std::task::Waker;
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
