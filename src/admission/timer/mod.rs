//! Timers that cost nothing until a task waits, and little then: pooled tokio sleeps.
//!
//! Registering a fresh tokio `Sleep` is the most expensive step on a call's path: it takes the lock of the runtime's timer wheel to
//! insert it, and the same lock to remove it. But nearly every timer of ours is dropped long before it fires. So an unused sleep
//! stays registered and goes into the [pool](pooled) of its thread, and the next timer that has to fire *later* reuses it as it is. When the
//! sleep fires too early, which happens once per wait and not once per call, it is moved. In between no call touches the wheel.
//!
//! Consequences:
//! - Tokio may reuse the id of a runtime that has ended. (Today it is a counter and never repeats.) A sleep of an ended runtime can be
//!   detected: tokio fires all sleeps when a runtime shuts down, and then at once whenever one is moved. Such a sleep is dropped.
//! - A waiting task may be woken once before its deadline.
//! - Under a paused clock, auto-advance also stops at the deadlines of pooled sleeps.

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::admission::pooled::{self, Alarm};
use crate::ground::time::{self, Instant};

/// How late a timer may be: tokio's wheel has a resolution of whole milliseconds, and rounds up.
pub(crate) const GRAIN: Duration = Duration::from_millis(1);

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
                pooled::take_alarm(runtime, deadline)
            }
        };
        // A waker that panics leaves the relay unusable. Out of `self`, the panic drops such an alarm, which must not return to the
        // pool.
        let mut poll = alarm.as_mut().poll(cx, deadline);
        if poll.is_ready() && time::now() < deadline && alarm.is_foreign() {
            // Its runtime has ended, and the wait continues in the current one.
            alarm = pooled::take_alarm(None, deadline);
            poll = alarm.as_mut().poll(cx, deadline);
        }
        self.alarm = Some(alarm);
        poll
    }

    /// Returns the sleep to the pool. The timer can be armed again.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            pooled::give_back_alarm(alarm);
        }
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Ends once `at` has passed.
pub(crate) async fn until(at: Instant) {
    let mut timer = Timer::new();
    poll_fn(|cx| timer.poll_until(cx, at)).await;
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
