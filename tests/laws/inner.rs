//! The inner services of the laws: every difficult way in which a service can behave, and counts of what is left of
//! it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tower::Service;

/// Called from all foreign code of the laws. Counts only in builds with debug assertions.
pub(crate) fn assert_no_lock_is_held() {
    assert!(seawall::locks_held() == 0 || std::thread::panicking(), "foreign code runs under a lock of the library");
}

/// How a service becomes ready. Each clone has to become ready by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    AtOnce,
    /// Pending this many times, with a wake-up each.
    AfterPolls(usize),
    After(Duration),
    Never,
    /// Like `tower::buffer`: `poll_ready` reserves one of a number of slots, and an idle readied value strands its
    /// slot.
    Slots,
    Fails,
}

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    AtOnce,
    /// Pending this many times, with a wake-up each.
    AfterPolls(usize),
    After(Duration),
    Never,
    Fails,
    FailsAfter(Duration),
    PanicsInCall,
    PanicsInPoll,
}

/// The service's own error, which no layer may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    WhenPolledReady,
    /// With the number of the failed call, from 0.
    InCall(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the callee is broken")
    }
}

impl std::error::Error for Broken {}

/// What is alive of a service and all its clones, and how often it was used.
#[derive(Debug, Default)]
pub(crate) struct Census {
    calls: AtomicUsize,
    futures: AtomicUsize,
    readied: AtomicUsize,
    polled_ready: AtomicUsize,
    called_unready: AtomicUsize,
}

impl Census {
    /// The number of calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of calls in progress.
    pub(crate) fn futures(&self) -> usize {
        self.futures.load(Ordering::SeqCst)
    }

    /// The number of values that are ready and have not been called.
    pub(crate) fn readied(&self) -> usize {
        self.readied.load(Ordering::SeqCst)
    }

    /// How often `poll_ready` was called on any value.
    pub(crate) fn polled_ready(&self) -> usize {
        self.polled_ready.load(Ordering::SeqCst)
    }

    /// The number of calls on a value that was not ready.
    pub(crate) fn called_unready(&self) -> usize {
        self.called_unready.load(Ordering::SeqCst)
    }
}

/// One more in a count, for as long as this lives.
#[derive(Debug)]
struct Counted(Arc<Census>, fn(&Census) -> &AtomicUsize);

impl Counted {
    fn new(census: &Arc<Census>, count: fn(&Census) -> &AtomicUsize) -> Self {
        count(census).fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(census), count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_no_lock_is_held();
        (self.1)(&self.0).fetch_sub(1, Ordering::SeqCst);
    }
}

type Asking = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// The last result of a value's own `poll_ready`.
enum State {
    Unready { polls: usize, asking: Option<Asking> },
    Ready { _counted: Counted, slot: Option<OwnedSemaphorePermit> },
}

/// A service that behaves in a difficult way.
pub(crate) struct Difficult {
    readiness: Readiness,
    plan: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    census: Arc<Census>,
    slots: Arc<Semaphore>,
    state: State,
}

impl Difficult {
    pub(crate) fn new(readiness: Readiness, answer: Answer) -> Self {
        Self::scripted(readiness, move |_| answer)
    }

    /// A service whose answers depend on the number of the call, from 0.
    pub(crate) fn scripted(readiness: Readiness, plan: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            readiness,
            plan: Arc::new(plan),
            census: Arc::default(),
            slots: Arc::new(Semaphore::new(1)),
            state: State::Unready { polls: 0, asking: None },
        }
    }

    pub(crate) fn census(&self) -> Arc<Census> {
        Arc::clone(&self.census)
    }

    /// The slots that `Readiness::Slots` reserves: one by default.
    pub(crate) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }
}

/// Clones start unready, as clones of services do.
impl Clone for Difficult {
    fn clone(&self) -> Self {
        assert_no_lock_is_held();
        Self {
            readiness: self.readiness,
            plan: Arc::clone(&self.plan),
            census: Arc::clone(&self.census),
            slots: Arc::clone(&self.slots),
            state: State::Unready { polls: 0, asking: None },
        }
    }
}

impl Service<u32> for Difficult {
    type Response = u32;
    type Error = Broken;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        assert_no_lock_is_held();
        self.census.polled_ready.fetch_add(1, Ordering::SeqCst);
        let State::Unready { polls, asking } = &mut self.state else { return Poll::Ready(Ok(())) };
        let slot = match self.readiness {
            Readiness::AtOnce => None,
            Readiness::AfterPolls(n) if *polls >= n => None,
            Readiness::AfterPolls(_) => {
                *polls += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Readiness::After(delay) => {
                ready!(
                    asking
                        .get_or_insert_with(|| Box::pin(async move {
                            tokio::time::sleep(delay).await;
                            None
                        }))
                        .as_mut()
                        .poll(cx)
                )
            }
            Readiness::Slots => {
                let slots = Arc::clone(&self.slots);
                let asking = asking.get_or_insert_with(|| Box::pin(async { slots.acquire_owned().await.ok() }));
                ready!(asking.as_mut().poll(cx))
            }
            Readiness::Never => return Poll::Pending,
            Readiness::Fails => return Poll::Ready(Err(Broken::WhenPolledReady)),
        };
        self.state = State::Ready { _counted: Counted::new(&self.census, |census| &census.readied), slot };
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Answering {
        assert_no_lock_is_held();
        let call = self.census.calls.fetch_add(1, Ordering::SeqCst);
        let slot = match std::mem::replace(&mut self.state, State::Unready { polls: 0, asking: None }) {
            State::Ready { slot, .. } => slot,
            State::Unready { .. } => {
                self.census.called_unready.fetch_add(1, Ordering::SeqCst);
                None
            }
        };
        let answer = (self.plan)(call);
        if answer == Answer::PanicsInCall {
            panic!("the callee panics in call");
        }
        Answering {
            request,
            call,
            answer,
            polls: 0,
            sleep: None,
            address: None,
            _slot: slot,
            _counted: Counted::new(&self.census, |census| &census.futures),
            _pinned: PhantomPinned,
        }
    }
}

/// The answer future of a [`Difficult`] service. It is `!Unpin`, and checks that it is never moved between two polls.
#[pin_project]
pub(crate) struct Answering {
    request: u32,
    call: usize,
    answer: Answer,
    polls: usize,
    sleep: Option<Pin<Box<Sleep>>>,
    address: Option<usize>,
    _slot: Option<OwnedSemaphorePermit>,
    _counted: Counted,
    #[pin]
    _pinned: PhantomPinned,
}

impl Future for Answering {
    type Output = Result<u32, Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert_no_lock_is_held();
        let here = std::ptr::from_ref(self.as_ref().get_ref()).addr();
        let this = self.project();
        assert_eq!(*this.address.get_or_insert(here), here, "the future was moved after it had been polled");
        *this.polls += 1;
        match *this.answer {
            Answer::AtOnce => {}
            Answer::AfterPolls(n) if *this.polls > n => {}
            Answer::AfterPolls(_) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Answer::After(delay) | Answer::FailsAfter(delay) => {
                ready!(this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay))).as_mut().poll(cx));
            }
            Answer::Fails => {}
            Answer::Never => return Poll::Pending,
            Answer::PanicsInCall | Answer::PanicsInPoll => panic!("the callee panics when its answer is polled"),
        }
        Poll::Ready(match *this.answer {
            Answer::Fails | Answer::FailsAfter(_) => Err(Broken::InCall(*this.call)),
            _ => Ok(*this.request),
        })
    }
}
