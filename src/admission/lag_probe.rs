//! Measures how late a runtime polls ready tasks, and refuses calls for it.
//!
//! A task, the probe, sleeps for [`INTERVAL`] and then goes to the end of the queue of ready tasks: as late as it is polled, a task of a call
//! would be. The first delay is that of the runtime's timers and sockets, which busy workers look at only between tasks; the second that of
//! the queue. Without the second step, tokio would poll the probe right after its timer has fired, ahead of the tasks that wait.
//!
//! On a runtime with several workers, an idle worker takes the probe over: one blocked worker among idle ones is no lag. If all are
//! blocked, none polls it.
//!
//! Why a task: what a layer sees without one is not enough. A handler that computes without a pause is never woken, so no
//! [stamp](super::woken) shows its wait; its connection has waited before the layer is called. The counts of tokio's `RuntimeMetrics` that are
//! stable have no times, and not the queues of workers. A thread of our own would measure the operating system's queue, too, and would not
//! know paused time.
//!
//! Each runtime has its own probe, started by its first call, and its own state: a layer value may serve several runtimes with one thread
//! each. A probe ends within an interval after the layer value is gone or the option is off, or with its runtime. It wakes up at most
//! twenty times a second.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as Shared;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};

use crate::admission::timer::{GRAIN, Timer};
use crate::algorithm::runtime_lag::{INTERVAL, LagRefusal, LagShedder};
use crate::ground::chance;
use crate::ground::scope::Priority;
use crate::ground::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::ground::sync::{Arc, Mutex, Swap, foreign, lock};
use crate::ground::time::{self, Instant};

/// The bound of a layer that measures no lag, in nanoseconds.
const OFF: u64 = 0;

/// The probes of a layer value.
#[derive(Debug)]
pub(crate) struct LagProbes {
    /// In nanoseconds.
    max_lag: AtomicU64,
    runtimes: Swap<Vec<Arc<ProbedRuntime>>>,
    /// Held while the runtimes or the bound change.
    changes: Mutex<()>,
}

/// A runtime and its lag.
#[derive(Debug)]
struct ProbedRuntime {
    id: Id,
    max_lag: AtomicU64,
    /// The probe has ended. It is not started again: its runtime is shutting down, or has no timers.
    ended: AtomicBool,
    measured: Mutex<MeasuredLag>,
}

#[derive(Debug)]
struct MeasuredLag {
    shedder: LagShedder,
    /// When an idle runtime would poll the probe.
    due: Instant,
}

/// The lag of a layer's runtimes: the longest, and the largest share of calls that is refused for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LagCondition {
    /// `None` if none is measured.
    pub(crate) lag: Option<Duration>,
    pub(crate) refused_share: f64,
}

impl LagProbes {
    pub(crate) fn new(max_lag: Option<Duration>) -> Self {
        let max_lag = AtomicU64::new(max_lag.map_or(OFF, time::nanos));
        Self { max_lag, runtimes: Swap::from_pointee(Vec::new()), changes: Mutex::new(()) }
    }

    /// Changes the bound; `None` ends the probes.
    pub(crate) fn set_max_lag(&self, max_lag: Option<Duration>) {
        let max_lag = max_lag.map_or(OFF, time::nanos);
        if self.max_lag.load(Ordering::Relaxed) == max_lag {
            return;
        }
        let _changes = lock(&self.changes);
        self.max_lag.store(max_lag, Ordering::Relaxed);
        for runtime in self.runtimes.load().iter() {
            runtime.max_lag.store(max_lag, Ordering::Relaxed);
        }
        if max_lag == OFF {
            self.runtimes.store(Shared::default());
        }
    }

    pub(crate) fn max_lag(&self) -> Option<Duration> {
        Some(self.max_lag.load(Ordering::Relaxed)).filter(|max_lag| *max_lag != OFF).map(Duration::from_nanos)
    }

    /// Admits or refuses a call that is polled now. Starts the probe of this runtime if there is none.
    #[inline]
    pub(crate) fn admit(&self, now: Instant, priority: Priority) -> Result<(), LagRefusal> {
        if self.max_lag.load(Ordering::Relaxed) == OFF {
            return Ok(());
        }
        self.admit_measured(now, priority)
    }

    fn admit_measured(&self, now: Instant, priority: Priority) -> Result<(), LagRefusal> {
        let Ok(handle) = Handle::try_current() else { return Ok(()) };
        let id = handle.id();
        let runtimes = self.runtimes.load();
        match runtimes.iter().find(|runtime| runtime.id == id) {
            Some(runtime) => runtime.admit(now, priority),
            None => {
                self.start(&handle, now);
                Ok(())
            }
        }
    }

    #[cold]
    fn start(&self, handle: &Handle, now: Instant) {
        let Some(runtime) = self.add(handle.id(), now) else { return };
        let wake_at = now + INTERVAL;
        let task = ProbeTask { runtime, timer: Timer::new(), wake_at, is_queued: false };
        // Without a lock: a runtime may run hooks when it spawns a task, and drops the task if it is shutting down.
        foreign(|| drop(handle.spawn(task)));
    }

    /// `None`: another thread has added this runtime, or the option is off.
    fn add(&self, id: Id, now: Instant) -> Option<Arc<ProbedRuntime>> {
        let _changes = lock(&self.changes);
        let max_lag = self.max_lag.load(Ordering::Relaxed);
        let runtimes = self.runtimes.load();
        if max_lag == OFF || runtimes.iter().any(|runtime| runtime.id == id) {
            return None;
        }
        let measured = MeasuredLag { shedder: LagShedder::default(), due: now + INTERVAL + GRAIN };
        let fresh = Arc::new(ProbedRuntime {
            id,
            max_lag: AtomicU64::new(max_lag),
            ended: AtomicBool::new(false),
            measured: Mutex::new(measured),
        });
        let running = runtimes.iter().filter(|runtime| !runtime.ended.load(Ordering::Relaxed)).map(Arc::clone);
        self.runtimes.store(Shared::new(running.chain([Arc::clone(&fresh)]).collect()));
        Some(fresh)
    }

    pub(crate) fn condition(&self) -> LagCondition {
        let mut condition = LagCondition::default();
        for runtime in self.runtimes.load().iter().filter(|runtime| !runtime.ended.load(Ordering::Relaxed)) {
            let shedder = lock(&runtime.measured).shedder;
            condition.lag = condition.lag.max(Some(shedder.lag()));
            condition.refused_share = condition.refused_share.max(shedder.share());
        }
        condition
    }
}

impl Drop for LagProbes {
    fn drop(&mut self) {
        self.set_max_lag(None);
    }
}

impl ProbedRuntime {
    fn max_lag(&self) -> Option<Duration> {
        Some(self.max_lag.load(Ordering::Relaxed)).filter(|max_lag| *max_lag != OFF).map(Duration::from_nanos)
    }

    fn admit(&self, now: Instant, priority: Priority) -> Result<(), LagRefusal> {
        let Some(max_lag) = self.max_lag() else { return Ok(()) };
        if self.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut measured = lock(&self.measured);
        let due = measured.due;
        if now.since(due) > max_lag {
            measured.shedder.overdue(max_lag, now, due);
        }
        measured.shedder.admit(priority, chance::sample)
    }

    /// The probe is polled now, and will be due again then.
    fn polled(&self, max_lag: Duration, now: Instant, due: Instant) {
        let mut measured = lock(&self.measured);
        let before = std::mem::replace(&mut measured.due, due);
        measured.shedder.polled(max_lag, now, before);
    }
}

/// See the module.
struct ProbeTask {
    runtime: Arc<ProbedRuntime>,
    timer: Timer,
    wake_at: Instant,
    /// It has slept, and waits behind the tasks that are ready.
    is_queued: bool,
}

impl Future for ProbeTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(max_lag) = this.runtime.max_lag() else { return Poll::Ready(()) };
            if !this.is_queued {
                let wake_at = this.wake_at;
                ready!(this.timer.poll_until(cx, wake_at));
                if time::now() < wake_at {
                    // The runtime is shutting down.
                    return Poll::Ready(());
                }
                this.is_queued = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let now = time::now();
            (this.is_queued, this.wake_at) = (false, now + INTERVAL);
            this.runtime.polled(max_lag, now, this.wake_at + GRAIN);
        }
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.runtime.ended.store(true, Ordering::Relaxed);
    }
}
