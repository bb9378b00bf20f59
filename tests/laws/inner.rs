//! The inner services of the laws: every way in which a callee can be hard to live with, and a census of what is left
//! of it.

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

/// Called by all code of the laws that is foreign to the library. Counted in builds with debug assertions only.
pub(crate) fn assert_no_lock_is_held() {
    assert!(seawall::locks_held() == 0 || std::thread::panicking(), "foreign code runs under a lock of the library");
}

/// How a callee becomes ready. Each clone has to become so by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    AtOnce,
    /// Pending that many times, with a wake-up each.
    AfterPolls(usize),
    After(Duration),
    Never,
    /// As `tower::buffer` does: `poll_ready` reserves one of so many slots, and an idle readied value strands it.
    Slots,
    Fails,
}

/// How a callee answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    AtOnce,
    /// Pending that many times, with a wake-up each.
    AfterPolls(usize),
    After(Duration),
    Never,
    Fails,
    FailsAfter(Duration),
    PanicsInCall,
    PanicsInPoll,
}

/// The callee's own error, which no layer may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    WhenPolledReady,
    /// With the number of the call that failed, 0 being the first.
    InCall(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the callee is broken")
    }
}

impl std::error::Error for Broken {}

/// What is alive of a callee and of all its clones, and what was done to it.
#[derive(Debug, Default)]
pub(crate) struct Census {
    calls: AtomicUsize,
    futures: AtomicUsize,
    readied: AtomicUsize,
    polled_ready: AtomicUsize,
    called_unready: AtomicUsize,
}

impl Census {
    /// How many calls there have been.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many calls are going on.
    pub(crate) fn futures(&self) -> usize {
        self.futures.load(Ordering::SeqCst)
    }

    /// How many values are ready and have not been called.
    pub(crate) fn readied(&self) -> usize {
        self.readied.load(Ordering::SeqCst)
    }

    /// How often any value was asked whether it is ready.
    pub(crate) fn polled_ready(&self) -> usize {
        self.polled_ready.load(Ordering::SeqCst)
    }

    /// How many calls there have been of a value that had not said that it is ready.
    pub(crate) fn called_unready(&self) -> usize {
        self.called_unready.load(Ordering::SeqCst)
    }
}

/// One more in a count, for as long as it lives.
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

/// What one value has been told by its own `poll_ready`.
enum State {
    Unready { polls: usize, asking: Option<Asking> },
    Ready { _counted: Counted, slot: Option<OwnedSemaphorePermit> },
}

/// A callee that is hard to live with.
pub(crate) struct Hard {
    readiness: Readiness,
    plan: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    census: Arc<Census>,
    slots: Arc<Semaphore>,
    state: State,
}

impl Hard {
    pub(crate) fn new(readiness: Readiness, answer: Answer) -> Self {
        Self::scripted(readiness, move |_| answer)
    }

    /// A callee whose answers follow a plan by the number of the call, 0 being the first.
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

    /// The slots that `Readiness::Slots` reserves: one, unless this is given more.
    pub(crate) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }
}

/// Clones start unready, as clones of services do.
impl Clone for Hard {
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

impl Service<u32> for Hard {
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

/// The answer of a [`Hard`] callee. It is not `Unpin`, and sees to it that it is never moved between two polls.
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
