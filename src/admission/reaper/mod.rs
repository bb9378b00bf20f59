//! Cuts what is kept beyond its time, even if nobody polls it.
//!
//! A timer runs only while whoever owns it is polled. What someone has put aside, such as a response that nobody reads, has
//! to be watched from outside: by one task per runtime, which sleeps until the next thing is due and costs nothing
//! while nothing is. It is started by the first thing that is watched, and ends with its runtime.
//!
//! Due times are rounded up to [`GRAIN`], so that things of about the same age go together. Of things that are due
//! together the youngest goes first: a stack of layers watches from the inside to the outside, and what the outermost
//! lets go of takes the others along.
//!
//! Nothing foreign runs under the schedule's lock.

mod schedule;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};

use self::schedule::{Entry, Schedule};
use crate::admission::timer::Timer;
use crate::ground::time::{self, Instant};

/// How late a cut may be.
pub(crate) const GRAIN: Duration = Duration::from_millis(10);

/// How many visits are made before others have their turn. What is dropped may take some microseconds, and a worker with nothing
/// else to do looks at its sockets and timers only after some sixty turns.
const VISITS_AT_ONCE: usize = 32;

/// Something that must not be kept for ever.
pub(crate) trait Parked: Send + Sync {
    /// Lets go of what is kept if its time is over at `now`. Asked when it is due; it must not block.
    fn visit(&self, now: Instant) -> Visit;
}

/// What follows on a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// There is nothing left to cut.
    Done,
    /// It is to be visited again at this time.
    Again(Instant),
}

/// Has `parked` visited at `due`, for as long as the place is kept. `None` outside a runtime, where nobody could do it.
pub(crate) fn watch(parked: Arc<dyn Parked>, due: Instant) -> Option<Place> {
    let runtime = Handle::try_current().ok()?;
    let reaper = Reaper::of_runtime(&runtime)?;
    let entry = reaper.enter(parked, due);
    Some(Place { reaper, entry, runtime: runtime.id() })
}

/// A place in a reaper's schedule. Dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Place {
    reaper: Arc<Reaper>,
    entry: Entry,
    runtime: Id,
}

impl Place {
    /// Whether there is still someone who comes. A runtime that has shut down takes its reaper along.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        !self.reaper.closed.load(Ordering::Relaxed)
    }

    /// Whether the one who comes belongs to the runtime that this is called in, which is being run, therefore.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.is_watched() && Handle::try_current().is_ok_and(|runtime| runtime.id() == self.runtime)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let parked = self.reaper.lock().schedule.leave(self.entry);
        drop(parked);
    }
}

/// What the task of a runtime and the places share.
#[derive(Debug, Default)]
struct Reaper {
    /// Its runtime is gone, or going.
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schedule: Schedule,
    /// The task, and until when it sleeps.
    sleeper: Option<(Waker, Instant)>,
}

/// The reapers of all runtimes; there is mostly one.
static REAPERS: Mutex<Vec<(Id, Arc<Reaper>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The one that this thread asked for last.
    static LAST: RefCell<Option<(Id, Arc<Reaper>)>> = const { RefCell::new(None) };
}

impl Reaper {
    fn of_runtime(runtime: &Handle) -> Option<Arc<Self>> {
        let id = runtime.id();
        let last = LAST.try_with(|last| match &*last.borrow() {
            Some((of, reaper)) if *of == id && !reaper.is_closed() => Some(Arc::clone(reaper)),
            _ => None,
        });
        if let Ok(Some(reaper)) = last {
            return Some(reaper);
        }
        let reaper = Self::of(runtime, id)?;
        let _ = LAST.try_with(|last| last.replace(Some((id, Arc::clone(&reaper)))));
        Some(reaper)
    }

    fn of(runtime: &Handle, id: Id) -> Option<Arc<Self>> {
        let (reaper, task) = {
            let mut reapers = REAPERS.lock().unwrap_or_else(PoisonError::into_inner);
            reapers.retain(|(_, reaper)| !reaper.is_closed());
            if let Some((_, reaper)) = reapers.iter().find(|(of, _)| *of == id) {
                return Some(Arc::clone(reaper));
            }
            let reaper = Arc::new(Self::default());
            reapers.push((id, Arc::clone(&reaper)));
            let task = Task { reaper: Arc::clone(&reaper), timer: Timer::new() };
            (reaper, task)
        };
        // A runtime that is shutting down drops the task at once.
        drop(runtime.spawn(task));
        (!reaper.is_closed()).then_some(reaper)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, parked: Arc<dyn Parked>, due: Instant) -> Entry {
        let mut state = self.lock();
        let entry = state.schedule.enter(parked, due);
        let sleeper = state.sleeper.take_if(|(_, until)| due < *until);
        drop(state);
        if let Some((waker, _)) = sleeper {
            waker.wake();
        }
        entry
    }
}

/// The task that visits. It lives as long as its runtime.
struct Task {
    reaper: Arc<Reaper>,
    timer: Timer,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut visits = 0;
        loop {
            let now = time::now();
            loop {
                if visits == VISITS_AT_ONCE {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let due = this.reaper.lock().schedule.take_due(now);
                let Some((entry, parked)) = due else { break };
                visits += 1;
                // A body that panics when it is dropped must not take the cuts of all others along. The panic has been reported.
                let visit = catch_unwind(AssertUnwindSafe(|| parked.visit(now))).unwrap_or(Visit::Done);
                if let Visit::Again(at) = visit {
                    this.reaper.lock().schedule.again(entry, at);
                }
            }
            let until = {
                let mut state = this.reaper.lock();
                let until = state.schedule.next().unwrap_or(Instant::MAX);
                state.sleeper = Some((cx.waker().clone(), until));
                until
            };
            if until == Instant::MAX {
                this.timer.disarm();
                return Poll::Pending;
            }
            ready!(this.timer.poll_until(cx, until));
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.reaper.closed.store(true, Ordering::Relaxed);
    }
}
