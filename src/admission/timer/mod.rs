//! Timers that cost nothing until a task waits, and little then: pooled tokio sleeps.
//!
//! Registering a fresh tokio `Sleep` is the most expensive step on a call's path: it takes the lock of the runtime's timer wheel to
//! insert it, and the same lock to remove it. But nearly every timer of ours is dropped long before it fires. So an unused sleep
//! stays registered and goes into a pool of its thread, and the next timer that has to fire *later* reuses it as it is. When the
//! sleep fires too early, which happens once per wait and not once per call, it is moved. In between no call touches the wheel.
//!
//! Consequences:
//! - A sleep belongs to the runtime that made it. A thread's pool holds the sleeps of one runtime only (the last one used on the
//!   thread) and drops them when another runtime is used.
//! - Tokio may reuse the id of a runtime that has ended. (Today it is a counter and never repeats.) A sleep of an ended runtime can be
//!   detected: tokio fires all sleeps when a runtime shuts down, and then at once whenever one is moved. Such a sleep is dropped.
//! - The pool is bounded, and keeps no task alive: the sleep wakes a [`Relay`] that drops its task's waker.
//! - A waiting task may be woken once before its deadline.
//! - Under a paused clock, auto-advance also stops at the deadlines of pooled sleeps.

mod relay;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project::pin_project;
use tokio::runtime::{Handle, Id};
use tokio::time::Sleep;

use self::relay::Relay;
use crate::ground::time::{self, Instant};

/// How late a timer may be: tokio's wheel has a resolution of whole milliseconds, and rounds up.
pub(crate) const GRAIN: Duration = Duration::from_millis(1);

/// How many unused sleeps a thread keeps (about 400 bytes each).
const POOLED: usize = 256;

/// How many of the pool's sleeps are checked for one that fires no later than needed. Two or three different timeouts in a stack are
/// common; more are not.
const LOOKED_AT: usize = 4;

/// A timer that is armed by the first poll that has to wait.
///
/// Outside a tokio runtime, and in one without a time driver, a wait panics with tokio's message, as any tokio timer does: nothing
/// could wake its task, and the call would never end. When its runtime is shut down, every timer is ready at once, except those that
/// are polled in another runtime.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    alarm: Option<Pin<Box<Alarm>>>,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self { alarm: None }
    }

    /// Ready once `deadline` has passed, at most about a millisecond late. The deadline may change between polls.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut alarm = match self.alarm.take() {
            Some(alarm) => alarm,
            None => {
                let runtime = Handle::try_current().ok();
                if has_passed(deadline, runtime.is_some()) {
                    return Poll::Ready(());
                }
                // The model checker runs without a runtime, and its waits never end by themselves.
                if cfg!(seawall_loom) {
                    return Poll::Pending;
                }
                Alarm::take(runtime, deadline)
            }
        };
        // A waker that panics leaves the relay unusable. Out of `self`, the panic drops such an alarm, which must not return to the
        // pool.
        let mut poll = alarm.as_mut().poll(cx, deadline);
        if poll.is_ready() && time::now() < deadline && alarm.is_foreign() {
            // Its runtime has ended, and the wait continues in the current one.
            alarm = Alarm::take(None, deadline);
            poll = alarm.as_mut().poll(cx, deadline);
        }
        self.alarm = Some(alarm);
        poll
    }

    /// Returns the sleep to the pool. The timer can be armed again.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            alarm.give_back();
        }
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Whether `deadline` has passed. A fresh reading of the clock is needed only to say yes: most calls have read it a moment before, and an
/// alarm for a deadline in the past fires with the next tick.
///
/// The latest reading of this thread may be from a clock that ran ahead (a paused runtime that has advanced), and must not end a call.
/// Without a runtime no alarm can fire, so an older reading is not enough.
#[inline]
fn has_passed(deadline: Instant, in_runtime: bool) -> bool {
    (time::latest_or_now() >= deadline || !in_runtime) && time::now() >= deadline
}

/// A sleep, and what is needed to reuse it.
#[pin_project]
#[derive(Debug)]
struct Alarm {
    #[pin]
    sleep: Sleep,
    /// When the sleep fires: no later than the deadline, and earlier if that is decades away.
    fires_at: Instant,
    /// The sleep was moved, and does not wake its task until it is polled again.
    moved: bool,
    runtime: Id,
    relay: Arc<Relay>,
    waker: Waker,
}

impl Alarm {
    /// An alarm from the pool, or a fresh one. Panics outside a runtime.
    fn take(runtime: Option<Handle>, deadline: Instant) -> Pin<Box<Self>> {
        let runtime = runtime.unwrap_or_else(Handle::current).id();
        if let Some(mut alarm) = Pool::take(runtime, deadline) {
            if !alarm.sleep.is_elapsed() {
                return alarm;
            }
            alarm.as_mut().move_to(deadline);
            // Ready at once and before its deadline? Then its runtime has ended, and the current one has the same id.
            if !alarm.sleep.is_elapsed() || time::now() >= deadline {
                return alarm;
            }
        }
        let mut alarm = Self::fresh(runtime, deadline);
        alarm.as_mut().move_to(deadline);
        alarm
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that makes sleeps, to pool them")]
    fn fresh(runtime: Id, deadline: Instant) -> Pin<Box<Self>> {
        let relay = Relay::new();
        let waker = Waker::from(Arc::clone(&relay));
        let at = deadline.to_tokio();
        Box::pin(Self {
            sleep: tokio::time::sleep_until(at),
            fires_at: Instant::from_tokio(at),
            moved: true,
            runtime,
            relay,
            waker,
        })
    }

    /// Whether the current runtime is another one than that of the sleep.
    fn is_foreign(&self) -> bool {
        Handle::try_current().is_ok_and(|handle| handle.id() != self.runtime)
    }

    fn give_back(self: Pin<Box<Self>>) {
        self.relay.forget_task();
        Pool::put(self);
    }

    fn move_to(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        // A reset also registers a fresh sleep. A first poll would do that too, but panics if the runtime has shut down.
        let at = deadline.to_tokio();
        this.sleep.reset(at);
        *this.fires_at = Instant::from_tokio(at);
        *this.moved = true;
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.fires_at > deadline {
            self.as_mut().move_to(deadline);
        }
        let registered = self.relay.forward_to(cx.waker());
        // The relay must know the task before this check. Otherwise a sleep that fires in between would wake no task.
        if self.sleep.is_elapsed() {
            if self.fires_at < deadline {
                self.as_mut().move_to(deadline);
            }
            // Still elapsed, or elapsed again: the deadline has passed, or the runtime has shut down.
            if self.sleep.is_elapsed() {
                return Poll::Ready(());
            }
        }
        if registered && !self.moved {
            return Poll::Pending;
        }
        let this = self.project();
        *this.moved = false;
        this.sleep.poll(&mut Context::from_waker(this.waker))
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { runtime: None, alarms: Vec::new() }) };
}

/// The unused sleeps of one runtime on this thread; the last one returned is reused first.
struct Pool {
    runtime: Option<Id>,
    alarms: Vec<Pin<Box<Alarm>>>,
}

impl Pool {
    fn take(runtime: Id, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
        let of_another_runtime;
        let alarm = {
            // While a thread ends the pool no longer exists.
            let Ok((alarm, others)) = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.runtime == Some(runtime) {
                    (pool.pick(deadline), Vec::new())
                } else {
                    pool.runtime = Some(runtime);
                    (None, std::mem::take(&mut pool.alarms))
                }
            }) else {
                return None;
            };
            of_another_runtime = others;
            alarm
        };
        // Dropping the last sleep of an ended runtime frees the rest of that runtime, which may use the pool: not while the pool is
        // borrowed.
        drop(of_another_runtime);
        alarm
    }

    fn pick(&mut self, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
        let last = self.alarms.len().checked_sub(1)?;
        let nearest = self.alarms.iter().rev().take(LOOKED_AT).position(|alarm| alarm.fires_at <= deadline);
        Some(self.alarms.swap_remove(last - nearest.unwrap_or(0)))
    }

    /// A thread that has not used this runtime's sleeps does not pool them either.
    fn put(alarm: Pin<Box<Alarm>>) {
        let mut alarm = Some(alarm);
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.alarms.len() < POOLED && alarm.as_ref().is_some_and(|alarm| pool.runtime == Some(alarm.runtime)) {
                pool.alarms.extend(alarm.take());
            }
        });
    }
}

#[cfg(test)]
fn pooled() -> usize {
    POOL.with_borrow(|pool| pool.alarms.len())
}
