//! Looks at the calls in flight by the clock: a dependency that hangs may hold all callers, so that none comes any more.
//!
//! The reaper visits a closed breaker while calls are in flight, about once in the time of its slow threshold, and twice more when
//! they look as if the dependency hangs. The first call in flight asks for it, which the others see from one word; when none is in
//! flight, the visits end.

use std::sync::Arc as Shared;

use super::state::Breaker;
use crate::algorithm::breaker::Pass;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::Ordering;
use crate::ground::time::Instant;
use crate::layers::call::upload_waits::Aging;

/// A call passes at `now`: sees to it that the breaker is looked at while the call is in flight. One load, mostly.
#[inline]
pub(super) fn ensure_for(breaker: &Arc<Breaker>, pass: &Pass, now: Instant) {
    if matches!(pass, Pass::Closed(_)) {
        ensure_scheduled(breaker, now);
    }
}

/// The same for a call that passed earlier, and is with the dependency again.
#[inline]
pub(super) fn ensure_scheduled(breaker: &Arc<Breaker>, now: Instant) {
    let expected = breaker.check_schedule().expected.load(Ordering::Acquire);
    if expected < now.as_nanos() {
        begin(breaker, expected, now);
    }
}

/// For uploads, in whose tasks it is seen when a call waits for its caller. There are none where the models are checked.
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

    /// A look that is this late is not waited for: its runtime has ended, or stands still, and another one is asked.
    const CHECK_OVERDUE: Duration = Duration::from_secs(1);

    /// When nothing is in flight, one more look is made so much later: for a call that came in that moment.
    const LAST_CHECK: Duration = Duration::from_millis(50);

    #[derive(Debug)]
    struct WeakBreaker(Weak<Breaker>);

    /// Made once for each breaker.
    fn handles(breaker: &Arc<Breaker>) -> &BreakerHandles {
        breaker.check_schedule().handles.handles.get_or_init(|| {
            let both = Shared::new(WeakBreaker(Arc::downgrade(breaker)));
            BreakerHandles { parked: Shared::clone(&both) as _, aging: both as _ }
        })
    }

    /// For uploads, in whose tasks it is seen when a call waits for its caller.
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
        // Nothing else happens under the lock: what stood there is dropped afterwards.
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
