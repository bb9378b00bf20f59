//! Timers that cost nothing until something really waits, and little then: pooled tokio sleeps.
//!
//! Registering a fresh tokio `Sleep` is the dearest thing on a call's path: a lock on the runtime's wheel to put it in, the
//! same lock to take it out. But nearly every timer of ours is dropped long before it fires. So a sleep that is no longer
//! needed stays registered as it is and goes into a pool of its thread, and the next timer that has to fire *later* takes it
//! as it is: when the sleep fires too early, which is once in the length of a whole wait and not once a call, it is moved.
//! In between no call touches the wheel.
//!
//! What follows from that:
//! - A sleep belongs to the runtime that made it. A thread's pool holds the sleeps of one runtime only (that which asked
//!   last) and lets go of them when another one asks.
//! - A runtime's id may be used again once it has ended, says tokio. (Today it is a counter, and never is.) A sleep of an
//!   ended runtime shows itself: tokio fires all sleeps when a runtime shuts down, and then at once whenever one is
//!   moved. Such a one is thrown away.
//! - The pool is bounded, and keeps no task alive: what the sleep wakes is a [`Relay`] that forgets its task.
//! - A task that waits may be woken once before its time.
//! - Under a paused clock, pooled sleeps are stops that auto-advance makes on its way.

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

/// How late a timer may be: tokio's wheel turns in whole milliseconds, and rounds up.
pub(crate) const GRAIN: Duration = Duration::from_millis(1);

/// How many unused sleeps a thread keeps (about 400 bytes each).
const POOLED: usize = 256;

/// How many of the pool's sleeps are looked at for one that fires no later than what is wanted. Two or three different
/// waits in a stack are common; more are not.
const LOOKED_AT: usize = 4;

/// A timer that is armed by the first poll that has to wait.
///
/// Outside a tokio runtime, and in one without a time driver, a wait panics in tokio's words, as any timer of tokio's does:
/// nothing could wake its task, and the call would never end. When its runtime is shut down, every timer is
/// up at once, but for those that are polled in another runtime.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    alarm: Option<Pin<Box<Alarm>>>,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self { alarm: None }
    }

    /// Ready once `deadline` has passed, at most about a millisecond late. It may differ from poll to poll.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut alarm = match self.alarm.take() {
            Some(alarm) => alarm,
            // An old reading is enough: an alarm that is taken for a deadline in the past is up at once.
            None if time::latest_or_now() >= deadline => return Poll::Ready(()),
            // The model checker runs without a runtime, and its waits never end by themselves.
            None if cfg!(seawall_loom) => return Poll::Pending,
            None => Alarm::take(deadline),
        };
        // A waker that panics leaves the relay unusable: such an alarm is dropped by the panic, and does not come back into the pool.
        let mut poll = alarm.as_mut().poll(cx, deadline);
        if poll.is_ready() && time::now() < deadline && alarm.is_foreign() {
            // Its runtime has ended, and the wait goes on in ours.
            alarm = Alarm::take(deadline);
            poll = alarm.as_mut().poll(cx, deadline);
        }
        self.alarm = Some(alarm);
        poll
    }

    /// Gives the sleep back, and can be used again.
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

/// A sleep, and what it takes to use it again.
#[pin_project]
#[derive(Debug)]
struct Alarm {
    #[pin]
    sleep: Sleep,
    /// The sleep's own time: no later than what is waited for, and earlier if that is decades away.
    fires_at: Instant,
    /// The sleep was moved, and has to be polled before it may be relied on.
    moved: bool,
    runtime: Id,
    relay: Arc<Relay>,
    waker: Waker,
}

impl Alarm {
    /// From the pool, or a fresh one. Panics outside a runtime.
    fn take(deadline: Instant) -> Pin<Box<Self>> {
        let runtime = Handle::current().id();
        if let Some(mut alarm) = Pool::take(runtime, deadline) {
            if !alarm.sleep.is_elapsed() {
                return alarm;
            }
            alarm.as_mut().move_to(deadline);
            // At once, and before its time? Then its runtime has ended, and ours only has the same id.
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

    /// Whether another runtime is at work here than the one whose sleep this is.
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
        // The task must be known to the relay before this look, or a firing in between would wake nobody.
        if self.sleep.is_elapsed() {
            if self.fires_at < deadline {
                self.as_mut().move_to(deadline);
            }
            // Still, or again: the time has passed, or the runtime has shut down.
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

/// The unused sleeps of one runtime on this thread; the last one given back is the first to be taken.
struct Pool {
    runtime: Option<Id>,
    alarms: Vec<Pin<Box<Alarm>>>,
}

impl Pool {
    fn take(runtime: Id, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
        let of_another_runtime;
        let alarm = {
            // While a thread ends there is no pool any more.
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
        // The last sleep of an ended runtime frees what is left of that runtime: not while the pool is borrowed.
        drop(of_another_runtime);
        alarm
    }

    fn pick(&mut self, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
        let last = self.alarms.len().checked_sub(1)?;
        let nearest = self.alarms.iter().rev().take(LOOKED_AT).position(|alarm| alarm.fires_at <= deadline);
        Some(self.alarms.swap_remove(last - nearest.unwrap_or(0)))
    }

    /// A thread that has never asked for this runtime's sleeps does not collect them either.
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
