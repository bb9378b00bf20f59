//! How many calls in flight are older than a threshold, without a timer and without a list.
//!
//! Calls are counted in a ring of cohorts by their start. A cohort takes the calls that start before its end, which is an eighth of
//! the threshold after its first call; an ended call leaves its cohort. When the end of a cohort is older than the threshold, all
//! its calls are overdue. When the ring reuses the cohort before they end, they move to a counter of overdue calls, and leave from
//! there. A call costs two atomic updates, and a check is due only when a new cohort begins.
//!
//! No call counts as overdue too early, while the threshold is constant (calls that were evicted from the ring were overdue by the
//! threshold of their time), nor later than an eighth of the threshold after it is. The threshold may change: it decides the end of
//! the *next* cohort, and every cohort stores its own end.

use std::time::Duration;

use super::slot::{Added, Slot, Stamp};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

#[cfg(not(seawall_loom))]
const COHORTS: u64 = 16;
// The model checker pays for every atomic.
#[cfg(seawall_loom)]
const COHORTS: u64 = 2;

/// The cohorts within one threshold. Fewer than the ring has, so that there is room for the current one.
const COHORTS_PER_THRESHOLD: u64 = 8;

/// The ends of cohorts are in units of about a millisecond, which is also the shortest cohort.
const UNIT_SHIFT: u32 = 20;
const END_BITS: u32 = 64 - UNIT_SHIFT;
const END_MASK: u64 = (1 << END_BITS) - 1;

/// The counter of overdue calls shares a word with its era. It can be negative for a moment: a call may leave before the thread
/// that evicted its cohort has added it.
const ERA_BITS: u32 = 8;

/// The cohort of a call. It must be returned once, to [`Ages::end`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Age {
    cohort: u8,
    stamp: Stamp,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ages {
    cohorts: [Slot; COHORTS as usize],
    /// The number of the current cohort (wrapping), above its end.
    filling: AtomicU64,
    overdue: AtomicU64,
}

impl Ages {
    pub(crate) fn new() -> Self {
        Self { cohorts: std::array::from_fn(|_| Slot::new()), filling: AtomicU64::new(0), overdue: AtomicU64::new(0) }
    }

    /// Counts a call. The flag is set for the first call of a cohort, when a check may find something new. `None`: the era is over.
    #[inline]
    pub(crate) fn begin(&self, era: u8, now: Instant, threshold: Duration) -> Option<(Age, bool)> {
        let now = now.as_nanos() >> UNIT_SHIFT;
        let mut word = self.filling.load(Ordering::Acquire);
        loop {
            let (number, end) = (word >> END_BITS, word & END_MASK);
            let width = (units(threshold) / COHORTS_PER_THRESHOLD).max(1);
            let next_end = now.saturating_add(width).min(END_MASK);
            // A cohort that was opened for a much longer threshold is closed: otherwise its calls would become overdue that much
            // later.
            if now < end && end <= now.saturating_add(2 * width) {
                return self.join(era, number, end).map(|age| (age, false));
            }
            if now >= next_end {
                // The end of representable time.
                return None;
            }
            let next = number.wrapping_add(1);
            let opened = next << END_BITS | next_end;
            match self.filling.compare_exchange_weak(word, opened, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.join(era, next, next_end).map(|age| (age, true)),
                Err(actual) => word = actual,
            }
        }
    }

    #[inline]
    fn join(&self, era: u8, number: u64, end: u64) -> Option<Age> {
        let cohort = (number % COHORTS) as u8;
        let stamp = Stamp::new(era, end);
        match self.slot(cohort).add(stamp, 1) {
            Added::Counted => {}
            Added::Evicted(evicted, calls) if evicted.era() == era => self.move_overdue(era, i64::from(calls)),
            // Calls of an earlier era do not count in this one.
            Added::Evicted(..) => {}
            Added::TooLate => return None,
        }
        Some(Age { cohort, stamp })
    }

    /// Removes an ended call.
    #[inline]
    pub(crate) fn end(&self, age: Age) {
        if self.slot(age.cohort).take(age.stamp, 1) == 0 {
            self.move_overdue(age.stamp.era(), -1);
        }
    }

    /// How many calls of the era are in flight and older than `threshold`.
    pub(crate) fn overdue(&self, era: u8, now: Instant, threshold: Duration) -> u64 {
        let (now, threshold) = (now.as_nanos() >> UNIT_SHIFT, i64::try_from(units(threshold)).unwrap_or(i64::MAX));
        self.count(era, |stamp| stamp.epochs_until(now) >= threshold)
    }

    /// The end of the oldest cohort with calls in flight, or `now` if it is not known exactly; `None`: no calls are in flight.
    pub(crate) fn oldest(&self, era: u8, now: Instant) -> Option<Instant> {
        let word = self.overdue.load(Ordering::Acquire);
        if era_of(word) == era && count_of(word) > 0 {
            return Some(now);
        }
        let units = now.as_nanos() >> UNIT_SHIFT;
        let live = self.cohorts.iter().map(Slot::load).filter(|(stamp, calls)| stamp.era() == era && *calls > 0);
        // Positive: the cohort has ended.
        let age = live.map(|(stamp, _)| stamp.epochs_until(units)).max()?;
        let apart = Duration::from_nanos(age.unsigned_abs() << UNIT_SHIFT);
        Some(if age > 0 { now.minus(apart) } else { now + apart })
    }

    /// How many calls of the era are in flight.
    pub(crate) fn in_flight(&self, era: u8) -> u64 {
        self.count(era, |_| true)
    }

    /// Begins an era; calls of earlier ones no longer count. See [`super::window::Window::begin`] for the rules of concurrency.
    pub(crate) fn begin_era(&self, era: u8) {
        self.overdue.swap(u64::from(era), Ordering::AcqRel);
        // Cleared now, not when new calls evict them: after half of all eras, these slots would look as if they were of a later
        // era.
        self.cohorts.iter().for_each(Slot::clear);
    }

    fn count(&self, era: u8, included: impl Fn(Stamp) -> bool) -> u64 {
        // The counter first: a call that moves to it meanwhile is then missed once, not counted twice.
        let word = self.overdue.load(Ordering::Acquire);
        let moved = if era_of(word) == era { count_of(word).max(0) as u64 } else { 0 };
        let ring = self.cohorts.iter().map(Slot::load).filter(|(stamp, _)| stamp.era() == era && included(*stamp));
        moved + ring.map(|(_, calls)| u64::from(calls)).sum::<u64>()
    }

    #[inline]
    fn slot(&self, cohort: u8) -> &Slot {
        &self.cohorts[usize::from(cohort) % COHORTS as usize]
    }

    fn move_overdue(&self, era: u8, by: i64) {
        let mut word = self.overdue.load(Ordering::Acquire);
        while era_of(word) == era {
            let moved = ((count_of(word) + by) << ERA_BITS) as u64 | u64::from(era);
            match self.overdue.compare_exchange_weak(word, moved, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(actual) => word = actual,
            }
        }
    }
}

fn era_of(word: u64) -> u8 {
    word as u8
}

fn count_of(word: u64) -> i64 {
    word as i64 >> ERA_BITS
}

/// Rounded up, so that nothing is overdue too early.
#[inline]
fn units(duration: Duration) -> u64 {
    // Ends are compared over half a range of stamps, about thirty hours.
    const LONGEST: u64 = 1 << 26;
    (time::nanos(duration) >> UNIT_SHIFT).saturating_add(1).min(LONGEST)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 60) + Duration::from_millis(millis)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn call_is_overdue_within_an_eighth_of_the_threshold() {
        let ages = Ages::new();
        let (age, first) = ages.begin(0, at(0), SECOND).expect("the era is current");
        assert!(first);
        assert_eq!(ages.overdue(0, at(1000), SECOND), 0);
        assert_eq!(ages.overdue(0, at(1128), SECOND), 1);
        ages.end(age);
        assert_eq!(ages.overdue(0, at(2000), SECOND), 0);
    }

    /// Calls that never end still count, however many come after them.
    #[test]
    fn overdue_calls_outlive_the_ring() {
        let ages = Ages::new();
        let held: Vec<_> = (0..100).filter_map(|i| ages.begin(0, at(100 * i), SECOND)).collect();
        let stale: Vec<_> = (0..100).filter_map(|i| ages.begin(0, at(100_000 + 200 * i), SECOND)).collect();
        assert_eq!((held.len(), stale.len()), (100, 100));
        assert_eq!(ages.overdue(0, at(200_000), SECOND), 200);
        for (age, _) in held {
            ages.end(age);
        }
        assert_eq!(ages.overdue(0, at(200_000), SECOND), 100);
    }

    #[test]
    fn calls_of_an_earlier_era_do_not_count() {
        let ages = Ages::new();
        let old: Vec<_> = (0..40).filter_map(|i| ages.begin(0, at(100 * i), SECOND)).collect();
        assert!(ages.overdue(0, at(5000), SECOND) > 30);
        ages.begin_era(1);
        let (new, _) = ages.begin(1, at(5000), SECOND).expect("the era is current");
        assert_eq!(ages.overdue(1, at(5500), SECOND), 0);
        for (age, _) in old {
            ages.end(age);
        }
        assert_eq!(ages.overdue(1, at(7000), SECOND), 1);
        ages.end(new);
        assert_eq!(ages.overdue(1, at(7000), SECOND), 0);
    }

    #[test]
    fn extreme_instants_do_not_panic() {
        let ages = Ages::new();
        for instant in [Instant::from_nanos(0), Instant::MAX, Instant::MAX] {
            if let Some((age, _)) = ages.begin(0, instant, Duration::MAX) {
                ages.end(age);
            }
        }
        assert_eq!(ages.overdue(0, Instant::MAX, Duration::ZERO), 0);
    }

    proptest! {
        /// Compared with a list of calls: never too early, never later than an eighth (and a millisecond or two).
        #[test]
        fn ages_match_a_list_of_calls(
            threshold in 1..5000u64,
            steps in proptest::collection::vec((any::<bool>(), 0..400u64, any::<prop::sample::Index>()), 1..400),
        ) {
            let (ages, threshold) = (Ages::new(), Duration::from_millis(threshold));
            let mut in_flight: Vec<(u64, Age)> = Vec::new();
            let mut now = 0;
            for (begins, passes, which) in steps {
                now += passes;
                if begins {
                    let (age, _) = ages.begin(0, at(now), threshold).expect("the era is current");
                    in_flight.push((now, age));
                } else if !in_flight.is_empty() {
                    let (_, age) = in_flight.swap_remove(which.index(in_flight.len()));
                    ages.end(age);
                }
                let overdue = ages.overdue(0, at(now), threshold);
                let older_than = |age: Duration| {
                    in_flight.iter().filter(|(start, _)| Duration::from_millis(now - start) >= age).count() as u64
                };
                let late = threshold + threshold / 8 + Duration::from_millis(4);
                prop_assert!(overdue <= older_than(threshold), "{overdue} too early");
                prop_assert!(overdue >= older_than(late), "{overdue} too late");
            }
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    const UNIT: Duration = Duration::from_nanos(1 << UNIT_SHIFT);

    fn at(units: u32) -> Instant {
        Instant::from_nanos(1 << 30) + UNIT * units
    }

    /// Calls of one cohort leave while others evict that cohort: in the end each call has left exactly once.
    #[test]
    fn loom_call_leaves_an_evicted_cohort_exactly_once() {
        loom::model(|| {
            let ages = Arc::new(Ages::new());
            let (leaving, _) = ages.begin(0, at(0), UNIT).expect("the era is current");
            let (staying, _) = ages.begin(0, at(0), UNIT).expect("the era is current");
            let theirs = Arc::clone(&ages);
            let thread = loom::thread::spawn(move || theirs.end(leaving));
            let evicting = [10, 20].map(|now| ages.begin(0, at(now), UNIT).expect("the era is current").0);
            assert!(ages.overdue(0, at(20), UNIT) <= 3);
            thread.join().expect("no panic");
            assert_eq!(ages.overdue(0, at(20), UNIT), 2, "the remaining call and the first evicting one");
            ages.end(staying);
            for age in evicting {
                ages.end(age);
            }
            assert_eq!(ages.overdue(0, at(100), UNIT), 0);
        });
    }

    /// Two first calls race for a cohort: one opens it, and both are in it.
    #[test]
    fn loom_one_of_two_calls_opens_a_cohort() {
        loom::model(|| {
            let ages = Arc::new(Ages::new());
            let theirs = Arc::clone(&ages);
            let thread = loom::thread::spawn(move || theirs.begin(0, at(0), UNIT).expect("the era is current"));
            let (ours, first) = ages.begin(0, at(0), UNIT).expect("the era is current");
            let (theirs, their_first) = thread.join().expect("no panic");
            assert!(first ^ their_first, "exactly one is first");
            assert_eq!(ages.overdue(0, at(10), UNIT), 2);
            ages.end(ours);
            ages.end(theirs);
            assert_eq!(ages.overdue(0, at(10), UNIT), 0);
        });
    }
}
