//! Drives a future poll by poll in virtual time and counts polls and wake-ups, also after the deadline has passed.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use seawall::context;
use seawall::deadline::DeadlineLayer;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::inner::assert_no_lock_is_held;

/// Far beyond any bound. A call that is not over by then waits for ever.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// No call needs this many polls. A call that takes more spins.
const TOO_MANY_POLLS: usize = 10_000;

#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    wakes: AtomicUsize,
    task: Mutex<Option<Waker>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        assert_no_lock_is_held();
        self.woken.store(true, Ordering::SeqCst);
        self.wakes.fetch_add(1, Ordering::SeqCst);
        if let Some(task) = self.task.lock().unwrap().take() {
            task.wake();
        }
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        assert_no_lock_is_held();
    }
}

/// A future that is polled only after it was woken.
pub(crate) struct Driven<F> {
    future: Pin<Box<tokio::task::Unconstrained<F>>>,
    flag: Arc<Flag>,
    polls: usize,
    since: Instant,
}

impl Flag {
    fn raised() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), wakes: AtomicUsize::new(0), task: Mutex::default() })
    }
}

impl<F: Future> Driven<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(unconstrained(future)), flag: Flag::raised(), polls: 0, since: Instant::now() }
    }

    /// Moves the future to another task: wakers from earlier polls wake nothing.
    pub(crate) fn move_to_another_task(&mut self) {
        self.flag = Flag::raised();
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls
    }

    /// How often the current waker was used.
    pub(crate) fn wakes(&self) -> usize {
        self.flag.wakes.load(Ordering::SeqCst)
    }

    /// The time since the future was made.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Polls once, woken or not.
    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.polls += 1;
        assert!(self.polls < TOO_MANY_POLLS, "it spins");
        self.flag.woken.store(false, Ordering::SeqCst);
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.flag))))
    }

    /// Polls once, and returns whether that panicked.
    pub(crate) fn poll_panics(&mut self) -> bool {
        catch_unwind(AssertUnwindSafe(|| {
            let _ = self.poll();
        }))
        .is_err()
    }

    /// Waits until the future is woken. A future that was never polled counts as woken.
    pub(crate) fn woken(&self) -> impl Future<Output = ()> + use<F> {
        let flag = Arc::clone(&self.flag);
        poll_fn(move |cx| {
            *flag.task.lock().unwrap() = Some(cx.waker().clone());
            if flag.woken.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Waits until the future is woken, and then polls it once.
    pub(crate) async fn step(&mut self) -> Poll<F::Output> {
        timeout(FOR_EVER, self.woken()).await.expect("nothing wakes the call: it waits for ever");
        self.poll()
    }

    /// Drives the future to completion.
    pub(crate) async fn finish(&mut self) -> F::Output {
        loop {
            if let Poll::Ready(output) = self.step().await {
                return output;
            }
            // Other tasks that can run at this instant run before the next poll.
            tokio::task::yield_now().await;
        }
    }
}

/// Runs `body` under an inherited deadline that has passed.
pub(crate) async fn past_its_deadline<F>(body: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let body = Arc::new(Mutex::new(Some(body)));
    let outer = service_fn(move |()| {
        let body = body.lock().unwrap().take().unwrap();
        let late = context::carry(async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            body.await
        });
        async { Ok::<_, BoxError>(tokio::spawn(late)) }
    });
    let body = DeadlineLayer::new(Duration::from_secs(1)).unwrap().layer(outer).oneshot(()).await.unwrap();
    body.await.unwrap()
}
