//! Checks the calls in flight periodically: if a dependency hangs and holds all callers, no new call arrives to trip the breaker.
//!
//! The reaper visits a closed breaker while calls are in flight, about once per slow threshold, and twice more when the calls look
//! as if the dependency hangs. The first call in flight schedules the visits; the other calls see that from one atomic word. When no
//! call is in flight, the visits end.

use std::sync::Arc as Shared;

use super::state::Breaker;
use crate::algorithm::breaker::Pass;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::Ordering;
use crate::ground::time::Instant;
use crate::layers::call::upload_waits::Aging;

/// Ensures that the breaker is checked while a call that passes at `now` is in flight. Usually one atomic load.
#[inline]
pub(super) fn ensure_for(breaker: &Arc<Breaker>, pass: &Pass, now: Instant) {
    if matches!(pass, Pass::Closed(_)) {
        ensure_scheduled(breaker, now);
    }
}

/// As [`ensure_for`], for a call that passed earlier and is with the dependency again.
#[inline]
pub(super) fn ensure_scheduled(breaker: &Arc<Breaker>, now: Instant) {
    let expected = breaker.check_schedule().expected.load(Ordering::Acquire);
    if expected < now.as_nanos() {
        begin(breaker, expected, now);
    }
}

/// For uploads, whose tasks see when a call waits for its caller. Not available in model checks.
#[cfg(seawall_loom)]
pub(super) fn aging(_: &Arc<Breaker>) -> Option<Shared<dyn Aging>> {
    None
}

#[cfg(seawall_loom)]
fn begin(_: &Arc<Breaker>, _: u64, _: Instant) {}

#[cfg(not(seawall_loom))]
pub(super) use self::handles::aging;
#[cfg(not(seawall_loom))]
use self::handles::begin;

#[cfg(not(seawall_loom))]
mod handles {
    use std::sync::Weak;
    use std::time::Duration;

    use super::*;
    use crate::admission::reaper::{self, Parked, Visit};
    use crate::ground::sync::lock;
    use crate::layers::circuit_breaker::check_schedule::BreakerHandles;

    /// A check that is this late is not waited for: its runtime has ended or is blocked, and another runtime is used.
    const CHECK_OVERDUE: Duration = Duration::from_secs(1);

    /// When no call is in flight, one more check follows after this time, for a call that arrived at that moment.
    const LAST_CHECK: Duration = Duration::from_millis(50);

    #[derive(Debug)]
    struct WeakBreaker(Weak<Breaker>);

    /// Created once per breaker.
    fn handles(breaker: &Arc<Breaker>) -> &BreakerHandles {
        breaker.check_schedule().handles.breaker_handles.get_or_init(|| {
            let both = Shared::new(WeakBreaker(Arc::downgrade(breaker)));
            BreakerHandles { parked: Shared::clone(&both) as _, aging: both as _ }
        })
    }

    /// For uploads, whose tasks see when a call waits for its caller.
    pub(crate) fn aging(breaker: &Arc<Breaker>) -> Option<Shared<dyn Aging>> {
        Some(Shared::clone(&handles(breaker).aging))
    }

    #[cold]
    pub(super) fn begin(breaker: &Arc<Breaker>, expected: u64, now: Instant) {
        let check_schedule = breaker.check_schedule();
        let Some(next) = breaker.next_check(now) else { return };
        let by = (next + CHECK_OVERDUE).as_nanos();
        if check_schedule.expected.compare_exchange(expected, by, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        let watch = reaper::watch(Shared::clone(&handles(breaker).parked), next);
        // Drop the previous guard after the lock is released: its drop takes the reaper's lock.
        let before = std::mem::replace(&mut *lock(&check_schedule.handles.watch), watch);
        drop(before);
    }

    impl Aging for WeakBreaker {
        fn pause(&self, pass: &mut Pass, now: Instant) {
            if let Some(breaker) = self.0.upgrade() {
                breaker.stop_aging(pass, now);
            }
        }

        fn resume(&self, pass: &mut Pass, now: Instant) {
            if let Some(breaker) = self.0.upgrade() {
                breaker.start_aging(pass, || false, now);
            }
        }

        fn ensure_scheduled(&self, now: Instant) {
            if let Some(breaker) = self.0.upgrade() {
                ensure_scheduled(&breaker, now);
            }
        }
    }

    impl Parked for WeakBreaker {
        fn visit(&self, now: Instant) -> Visit {
            let Some(breaker) = self.0.upgrade() else { return Visit::Done };
            let expected = &breaker.check_schedule().expected;
            match breaker.check(now) {
                Some(next) => {
                    expected.store((next + CHECK_OVERDUE).as_nanos(), Ordering::Release);
                    Visit::Again(next)
                }
                None if expected.swap(0, Ordering::AcqRel) != 0 => Visit::Again(now + LAST_CHECK),
                None => Visit::Done,
            }
        }
    }
}
