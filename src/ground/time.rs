//! Readings of the clock, which the layers of a stack share.

pub use crate::ground::instant::CalendarTime;
use crate::ground::instant::read_clock;
pub(crate) use crate::ground::instant::{Instant, nanos, wall_clock};
use crate::ground::scope;

/// A fresh reading of the clock. The end of an attempt is always one.
#[inline]
pub(crate) fn now() -> Instant {
    let now = read_clock();
    scope::set_latest_reading(Some(now));
    now
}

/// Clears the latest reading, so that [`latest_or_now`] uses only later ones.
#[inline]
pub(crate) fn forget_latest() {
    scope::set_latest_reading(None);
}

/// The latest reading on this thread since [`forget_latest`], or a fresh one. For reports, which may be off by the time of the code
/// between two layers in one poll.
#[inline]
pub(crate) fn latest_or_now() -> Instant {
    scope::latest_reading().unwrap_or_else(now)
}

/// The latest reading on this thread since [`forget_latest`], if there was any. It may be old.
#[cfg(feature = "metrics")]
#[inline]
pub(crate) fn latest() -> Option<Instant> {
    scope::latest_reading()
}

/// The start of a call: the latest reading of the outer layer, or a fresh one.
///
/// Layers call each other directly, so a stack needs one reading (a reading costs more than the rest of a cheap layer). It can be
/// taken once.
#[inline]
pub(crate) fn call_start() -> Instant {
    scope::replace_start(None).unwrap_or_else(now)
}

/// Runs `call`, which calls the inner service, with `now` as its [`call_start`]. Clears it afterwards, so that no later call
/// mistakes it for the current time.
#[inline]
pub(crate) fn with_start<T>(now: Instant, call: impl FnOnce() -> T) -> T {
    let _started = start_at(now);
    call()
}

/// The same, until the guard is dropped.
#[inline]
pub(crate) fn start_at(now: Instant) -> Started {
    scope::replace_start(Some(now));
    Started
}

/// See [`start_at`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Started;

impl Drop for Started {
    #[inline]
    fn drop(&mut self) {
        scope::replace_start(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn call_start_is_taken_once_and_cleared() {
        let start = now();
        tokio::time::advance(Duration::from_secs(1)).await;
        with_start(start, || {
            assert_eq!(call_start(), start);
            assert_eq!(call_start(), now(), "the second reads the clock");
        });
        with_start(start, || ());
        assert_eq!(call_start(), now(), "it was not taken, and is cleared");
    }
}
