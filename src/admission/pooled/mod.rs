//! What a thread keeps for its next calls: sleeps and wakers. So a call that waits allocates nothing, and touches the timer wheel of
//! tokio only rarely, once a thread has made some calls.
//!
//! A sleep belongs to the runtime that made it. A thread keeps the sleeps of one runtime only (the last one used on the thread), and
//! drops them when another runtime is used. Neither an unused sleep nor an unused waker keeps a task alive.

mod alarm;
mod relay;
mod stamped_waker;

use std::cell::RefCell;
use std::mem;
use std::pin::Pin;

use tokio::runtime::{Handle, Id};

pub(crate) use self::alarm::Alarm;
pub(crate) use self::stamped_waker::StampedWaker;
use crate::ground::time::{self, Instant};

/// How many unused sleeps a thread keeps (about 400 bytes each), and how many unused wakers (about 60 bytes each).
pub(crate) const POOLED: usize = 256;

/// How many of the sleeps are checked for one that fires no later than needed. Two or three different timeouts in a stack are
/// common; more are not.
const LOOKED_AT: usize = 4;

thread_local! {
    /// A thread-local, because a call takes from the pool at most of its waits: a shared pool would need a lock there, which all
    /// threads contend for. So a sleep may be returned on another thread than that which took it, and each pool is bounded.
    static POOL: RefCell<WaitPool> =
        const { RefCell::new(WaitPool { runtime: None, alarms: Vec::new(), wakers: Vec::new() }) };
}

/// The last one returned is reused first.
struct WaitPool {
    /// The runtime of the sleeps.
    runtime: Option<Id>,
    alarms: Vec<Pin<Box<Alarm>>>,
    wakers: Vec<StampedWaker>,
}

impl WaitPool {
    /// `None` while the thread ends: the pool no longer exists then. `act` must drop nothing that it removes, because destructors
    /// may use the pool.
    #[inline]
    fn with<T>(act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        POOL.try_with(|pool| act(&mut pool.borrow_mut())).ok()
    }

    fn pick(&mut self, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
        let last = self.alarms.len().checked_sub(1)?;
        let nearest = self.alarms.iter().rev().take(LOOKED_AT).position(|alarm| alarm.fires_at() <= deadline);
        Some(self.alarms.swap_remove(last - nearest.unwrap_or(0)))
    }
}

/// A sleep that can wait until `deadline`, from the pool or fresh. Panics outside a runtime.
pub(crate) fn take_alarm(runtime: Option<Handle>, deadline: Instant) -> Pin<Box<Alarm>> {
    let runtime = runtime.unwrap_or_else(Handle::current).id();
    if let Some(mut alarm) = unused_alarm(runtime, deadline) {
        if !alarm.is_elapsed() {
            return alarm;
        }
        alarm.as_mut().move_to(deadline);
        // Ready at once and before its deadline? Then its runtime has ended, and the current one has the same id.
        if !alarm.is_elapsed() || time::now() >= deadline {
            return alarm;
        }
    }
    let mut alarm = Alarm::fresh(runtime, deadline);
    alarm.as_mut().move_to(deadline);
    alarm
}

fn unused_alarm(runtime: Id, deadline: Instant) -> Option<Pin<Box<Alarm>>> {
    let (alarm, of_another_runtime) = WaitPool::with(|pool| {
        if pool.runtime == Some(runtime) {
            return (pool.pick(deadline), Vec::new());
        }
        pool.runtime = Some(runtime);
        (None, mem::take(&mut pool.alarms))
    })?;
    // Dropping the last sleep of an ended runtime frees the rest of that runtime, which may use the pool.
    drop(of_another_runtime);
    alarm
}

/// A thread that has not used the sleeps of this runtime does not keep them either.
pub(crate) fn give_back_alarm(alarm: Pin<Box<Alarm>>) {
    alarm.forget_task();
    let mut alarm = Some(alarm);
    WaitPool::with(|pool| {
        if pool.alarms.len() < POOLED && alarm.as_ref().is_some_and(|alarm| pool.runtime == Some(alarm.runtime())) {
            pool.alarms.extend(alarm.take());
        }
    });
}

/// A waker from the pool, or a fresh one.
#[inline]
pub(crate) fn take_waker() -> StampedWaker {
    WaitPool::with(|pool| pool.wakers.pop()).flatten().unwrap_or_else(StampedWaker::fresh)
}

/// `has_waited`: it may have a task to wake.
#[inline]
pub(crate) fn give_back_waker(waker: StampedWaker, has_waited: bool) {
    if has_waited {
        waker.forget_task();
    }
    let mut waker = waker.reset();
    WaitPool::with(|pool| {
        if pool.wakers.len() < POOLED {
            pool.wakers.extend(waker.take());
        }
    });
}

/// The number of unused sleeps.
#[cfg(all(test, not(seawall_loom)))]
pub(crate) fn unused_alarms() -> usize {
    POOL.with_borrow(|pool| pool.alarms.len())
}
