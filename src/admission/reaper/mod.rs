//! Cuts what is kept beyond its deadline, even if it is not polled.
//!
//! A timer works only while its owner is polled. A response that was put aside and is not read has to be watched from outside: by
//! one task per runtime, which sleeps until the next entry is due and costs nothing while there is none. The first entry starts it,
//! and it ends with its runtime.
//!
//! Due times are rounded up to [`GRAIN`](schedule::GRAIN), so that entries of about the same age are visited together. Of entries
//! that are due together the youngest goes first: a stack of layers registers from the inside to the outside, and what the outermost
//! releases drops the others.
//!
//! A visit may run foreign code, such as the destructor of a body. So visits are made in rounds, each in a task of its own. A visit
//! that hangs blocks its round's task, and after [`ROUND_TIMEOUT`] another round continues with the rest. (On a runtime with one
//! thread nothing runs while one task hangs.) No foreign code runs under the schedule's lock.

mod parked;
mod schedule;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;

pub(crate) use self::parked::{Parked, Visit};
#[cfg(any(test, feature = "http"))]
pub(crate) use self::schedule::GRAIN;
#[cfg(feature = "http")]
pub(crate) use self::schedule::rounded_up;
use self::schedule::{EntryId, Schedule};
use crate::admission::timer::Timer;
use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};
use crate::ground::time::{self, Instant};

/// How many visits a round makes before other tasks run. A drop may take some microseconds, and a busy worker checks its sockets and
/// timers only every sixty polls or so.
const VISITS_AT_ONCE: usize = 32;

/// A round that takes longer is assumed to hang.
const ROUND_TIMEOUT: Duration = Duration::from_millis(100);

/// Schedules a visit of `parked` at `due`, for as long as the guard is kept. `None` outside a runtime, where no task could make it.
pub(crate) fn watch(parked: Arc<dyn Parked>, due: Instant) -> Option<WatchGuard> {
    let runtime = Handle::try_current().ok()?;
    let reaper = Reaper::of_runtime(&runtime)?;
    let entry = reaper.insert(parked, due);
    Some(WatchGuard { reaper, entry, runtime: runtime.id() })
}

/// The number of entries in the current runtime.
#[cfg(all(test, feature = "http", not(seawall_loom)))]
pub(crate) fn watched() -> usize {
    let reaper = Handle::try_current().ok().and_then(|runtime| Reaper::of_runtime(&runtime));
    reaper.map_or(0, |reaper| reaper.lock().schedule.len())
}

/// An entry in a reaper's schedule. Dropping the guard removes it.
#[derive(Debug)]
pub(crate) struct WatchGuard {
    reaper: Arc<Reaper>,
    entry: EntryId,
    runtime: Id,
}

impl WatchGuard {
    /// Whether the reaper still runs. It ends when its runtime shuts down.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        !self.reaper.closed.load(Ordering::Relaxed)
    }

    /// Whether the reaper runs in the current runtime, which is therefore alive.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.is_watched() && Handle::try_current().is_ok_and(|runtime| runtime.id() == self.runtime)
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let parked = self.reaper.lock().schedule.remove(self.entry);
        foreign(|| drop(parked));
    }
}

/// The state shared by the task of a runtime and the guards.
#[derive(Debug, Default)]
struct Reaper {
    /// Its runtime has shut down, or is shutting down.
    closed: AtomicBool,
    state: Mutex<ReaperState>,
}

#[derive(Debug, Default)]
struct ReaperState {
    schedule: Schedule,
    /// The waker of the task, and until when the task sleeps.
    sleeper: Option<(Waker, Instant)>,
}

/// The reapers of all runtimes; usually there is one. Calls find theirs without a lock.
static REAPERS: ArcSwapOption<Vec<(Id, Arc<Reaper>)>> = ArcSwapOption::const_empty();

impl Reaper {
    #[inline]
    fn of_runtime(runtime: &Handle) -> Option<Arc<Self>> {
        let id = runtime.id();
        Self::running(id).or_else(|| Self::start(runtime, id))
    }

    #[inline]
    fn running(id: Id) -> Option<Arc<Self>> {
        let reapers = REAPERS.load();
        let (_, reaper) = reapers.as_ref()?.iter().find(|(of, reaper)| *of == id && !reaper.is_closed())?;
        Some(Arc::clone(reaper))
    }

    #[cold]
    fn start(runtime: &Handle, id: Id) -> Option<Arc<Self>> {
        let fresh = Arc::new(Self::default());
        // Of several threads, one adds its reaper.
        REAPERS.rcu(|reapers| {
            let reapers = reapers.iter().flat_map(|reapers| reapers.iter());
            let mut running: Vec<_> = reapers.filter(|(_, reaper)| !reaper.is_closed()).cloned().collect();
            if running.iter().all(|(of, _)| *of != id) {
                running.push((id, Arc::clone(&fresh)));
            }
            Some(Arc::new(running))
        });
        let reaper = Self::running(id)?;
        if Arc::ptr_eq(&reaper, &fresh) {
            // A runtime that is shutting down drops the task at once, which closes the reaper.
            let task = ReaperTask { reaper: fresh, timer: Timer::new(), round: None };
            foreign(|| drop(runtime.spawn(task)));
        }
        (!reaper.is_closed()).then_some(reaper)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ReaperState> {
        lock(&self.state)
    }

    fn insert(&self, parked: Arc<dyn Parked>, due: Instant) -> EntryId {
        self.schedule(due, |schedule| schedule.insert(parked, due))
    }

    /// `put` adds an entry that is due at `due`. The task is woken if it would sleep longer.
    fn schedule<T>(&self, due: Instant, put: impl FnOnce(&mut Schedule) -> T) -> T {
        let mut state = self.lock();
        let output = put(&mut state.schedule);
        let sleeper = state.sleeper.take_if(|(_, until)| due < *until);
        drop(state);
        if let Some((waker, _)) = sleeper {
            foreign(|| waker.wake());
        }
        output
    }

    /// The entries that are due now, as many as fit into a round.
    fn take_due(&self, now: Instant) -> VecDeque<Due> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.schedule.take_due(now)).take(VISITS_AT_ONCE).collect()
    }

    /// When the next entry is due. The task sleeps until then, or is woken for an earlier entry.
    fn sleep(&self, waker: Waker) -> Instant {
        let mut state = self.lock();
        let until = state.schedule.next().unwrap_or(Instant::MAX);
        let before = state.sleeper.replace((waker, until));
        drop(state);
        foreign(|| drop(before));
        until
    }
}

/// An entry that is due.
type Due = (EntryId, Arc<dyn Parked>);

/// The visits in progress.
struct Round {
    task: JoinHandle<()>,
    /// The entries not visited yet. The task removes them one by one.
    rest: Arc<Mutex<VecDeque<Due>>>,
    /// When the round is assumed to hang.
    until: Instant,
}

impl Round {
    fn begin(reaper: &Arc<Reaper>, due: VecDeque<Due>, now: Instant) -> Self {
        let rest = Arc::new(Mutex::new(due));
        let (reaper, to_do) = (Arc::clone(reaper), Arc::clone(&rest));
        let task = tokio::spawn(async move {
            loop {
                let next = lock(&to_do).pop_front();
                let Some((entry, parked)) = next else { break };
                // A panic in a visit must not prevent the other cuts. The panic hook has reported it.
                let visit = move || parked.visit(now);
                if let Ok(Visit::Again(at)) = catch_unwind(AssertUnwindSafe(|| foreign(visit))) {
                    reaper.schedule(at, |schedule| schedule.again(entry, at));
                }
            }
        });
        Self { task, rest, until: now + ROUND_TIMEOUT }
    }
}

/// The task that visits what is due. It lives as long as its runtime.
struct ReaperTask {
    reaper: Arc<Reaper>,
    timer: Timer,
    round: Option<Round>,
}

impl Future for ReaperTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let mut rest = VecDeque::new();
            if let Some(round) = &mut this.round {
                if Pin::new(&mut round.task).poll(cx).is_pending() {
                    ready!(this.timer.poll_until(cx, round.until));
                    if time::now() < round.until {
                        // The runtime is shutting down.
                        return Poll::Ready(());
                    }
                    rest = std::mem::take(&mut *lock(&round.rest));
                }
                this.round = None;
            }
            let now = time::now();
            let due = if rest.is_empty() { this.reaper.take_due(now) } else { rest };
            if !due.is_empty() {
                this.round = Some(Round::begin(&this.reaper, due, now));
                // The round may block this worker. So this task goes to the end of the worker's queue, and tokio wakes another
                // worker, which finds it there. Otherwise no worker would serve timers and sockets meanwhile.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let until = this.reaper.sleep(cx.waker().clone());
            if until == Instant::MAX {
                this.timer.disarm();
                return Poll::Pending;
            }
            ready!(this.timer.poll_until(cx, until));
            if time::now() < until {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for ReaperTask {
    fn drop(&mut self) {
        self.reaper.closed.store(true, Ordering::Relaxed);
    }
}
