//! How many calls in flight are older than a threshold, without a timer and without a list.
//!
//! Calls are counted in a ring of cohorts by when they began. A cohort takes in whoever begins before its end, an eighth of the
//! threshold after its first call; a call that is over leaves its cohort. A cohort whose end is older than the threshold
//! consists of calls that are all overdue, and when the ring comes round to it before they are over, they move to a counter of
//! overdue calls, from which they leave later. Two atomic updates a call, and a reading is due only when a new cohort begins.
//!
//! No call is ever called overdue too early (while the threshold stands; calls that were pushed out of the ring were overdue
//! by the threshold of their time), and none later than an eighth of the threshold after it is. The threshold may move: it
//! decides where the *next* cohort ends, and every cohort carries its own end.

use std::time::Duration;

use super::slot::{Added, Slot, Stamp};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

#[cfg(not(seawall_loom))]
const COHORTS: u64 = 16;
// The model checker pays for every atomic.
#[cfg(seawall_loom)]
const COHORTS: u64 = 2;

/// Cohorts an age of exactly the threshold is divided into. Less than the ring has, with room for the one that is filling.
const COHORTS_PER_THRESHOLD: u64 = 8;

/// Ends of cohorts are kept in units of about a millisecond, which is also the shortest cohort.
const UNIT_SHIFT: u32 = 20;
const END_BITS: u32 = 64 - UNIT_SHIFT;
const END_MASK: u64 = (1 << END_BITS) - 1;

/// The counter of overdue calls, next to its era. It can stand below zero for a moment: a call may leave before whoever
/// pushed its cohort out has added it.
const ERA_BITS: u32 = 8;

/// The place of a call in the ring. To be given back once.
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
    /// The number of the cohort that is filling (wrapping), above its end.
    filling: AtomicU64,
    overdue: AtomicU64,
}

impl Ages {
    pub(crate) fn new() -> Self {
        Self { cohorts: std::array::from_fn(|_| Slot::new()), filling: AtomicU64::new(0), overdue: AtomicU64::new(0) }
    }

    /// A call begins. Says whether it is the first of a cohort, that is, whether a reading may tell something new. `None`: its
    /// era is over.
    #[inline]
    pub(crate) fn begin(&self, era: u8, now: Instant, threshold: Duration) -> Option<(Age, bool)> {
        let now = now.as_nanos() >> UNIT_SHIFT;
        let mut word = self.filling.load(Ordering::Acquire);
        loop {
            let (number, end) = (word >> END_BITS, word & END_MASK);
            let width = (units(threshold) / COHORTS_PER_THRESHOLD).max(1);
            let next_end = now.saturating_add(width).min(END_MASK);
            // A cohort that was begun for a much longer threshold is closed: its calls would be found overdue as late as by that one.
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
            // What an earlier era left behind is not this era's concern.
            Added::Evicted(..) => {}
            Added::TooLate => return None,
        }
        Some(Age { cohort, stamp })
    }

    /// The call is over, however it ended.
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

    /// The end of the oldest cohort of which calls are in flight, or `now` if that is not known exactly; `None`: none are.
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

    /// A new era: nothing of before counts. See [`super::window::Window::begin`] for who may call.
    pub(crate) fn begin_era(&self, era: u8) {
        self.overdue.swap(u64::from(era), Ordering::AcqRel);
        // Not left for newcomers to push out: half the eras on, what is of this one would look as if it were yet to come.
        self.cohorts.iter().for_each(Slot::clear);
    }

    fn count(&self, era: u8, included: impl Fn(Stamp) -> bool) -> u64 {
        // The counter first: a call that moves to it meanwhile is then missed for once, rather than seen twice.
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
    // Ends are compared over half a ring of stamps, some thirty hours.
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
    fn a_call_is_overdue_an_eighth_after_the_threshold_at_the_latest_and_never_before_it() {
        let ages = Ages::new();
        let (age, first) = ages.begin(0, at(0), SECOND).expect("its era stands");
        assert!(first);
        assert_eq!(ages.overdue(0, at(1000), SECOND), 0);
        assert_eq!(ages.overdue(0, at(1128), SECOND), 1);
        ages.end(age);
        assert_eq!(ages.overdue(0, at(2000), SECOND), 0);
    }

    /// Calls that never end are not forgotten, however many came after them.
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
    fn calls_of_an_earlier_era_do_not_count_and_do_not_disturb() {
        let ages = Ages::new();
        let old: Vec<_> = (0..40).filter_map(|i| ages.begin(0, at(100 * i), SECOND)).collect();
        assert!(ages.overdue(0, at(5000), SECOND) > 30);
        ages.begin_era(1);
        let (new, _) = ages.begin(1, at(5000), SECOND).expect("its era stands");
        assert_eq!(ages.overdue(1, at(5500), SECOND), 0);
        for (age, _) in old {
            ages.end(age);
        }
        assert_eq!(ages.overdue(1, at(7000), SECOND), 1);
        ages.end(new);
        assert_eq!(ages.overdue(1, at(7000), SECOND), 0);
    }

    #[test]
    fn at_the_end_of_time_calls_go_uncounted_without_a_panic() {
        let ages = Ages::new();
        for instant in [Instant::from_nanos(0), Instant::MAX, Instant::MAX] {
            if let Some((age, _)) = ages.begin(0, instant, Duration::MAX) {
                ages.end(age);
            }
        }
        assert_eq!(ages.overdue(0, Instant::MAX, Duration::ZERO), 0);
    }

    proptest! {
        /// Against a plain list of calls: never too early, never later than an eighth (and a millisecond or two) after.
        #[test]
        fn it_knows_the_calls_in_flight_by_their_age(
            threshold in 1..5000u64,
            steps in proptest::collection::vec((any::<bool>(), 0..400u64, any::<prop::sample::Index>()), 1..400),
        ) {
            let (ages, threshold) = (Ages::new(), Duration::from_millis(threshold));
            let mut in_flight: Vec<(u64, Age)> = Vec::new();
            let mut now = 0;
            for (begins, passes, which) in steps {
                now += passes;
                if begins {
                    let (age, _) = ages.begin(0, at(now), threshold).expect("its era stands");
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

    /// Calls of one cohort leave while others push that cohort out of the ring: in the end nobody is left behind, and nobody
    /// was taken off twice.
    #[test]
    fn loom_who_leaves_while_the_ring_turns_leaves_exactly_once() {
        loom::model(|| {
            let ages = Arc::new(Ages::new());
            let (leaver, _) = ages.begin(0, at(0), UNIT).expect("its era stands");
            let (stayer, _) = ages.begin(0, at(0), UNIT).expect("its era stands");
            let theirs = Arc::clone(&ages);
            let thread = loom::thread::spawn(move || theirs.end(leaver));
            let pushed = [10, 20].map(|now| ages.begin(0, at(now), UNIT).expect("its era stands").0);
            assert!(ages.overdue(0, at(20), UNIT) <= 3);
            thread.join().expect("no panic");
            assert_eq!(ages.overdue(0, at(20), UNIT), 2, "the stayer and the first of the pushers");
            ages.end(stayer);
            for age in pushed {
                ages.end(age);
            }
            assert_eq!(ages.overdue(0, at(100), UNIT), 0);
        });
    }

    /// Two first calls of a cohort: one opens it, both are in it.
    #[test]
    fn loom_one_of_two_opens_a_cohort() {
        loom::model(|| {
            let ages = Arc::new(Ages::new());
            let theirs = Arc::clone(&ages);
            let thread = loom::thread::spawn(move || theirs.begin(0, at(0), UNIT).expect("its era stands"));
            let (ours, first) = ages.begin(0, at(0), UNIT).expect("its era stands");
            let (theirs, their_first) = thread.join().expect("no panic");
            assert!(first ^ their_first, "one of them");
            assert_eq!(ages.overdue(0, at(10), UNIT), 2);
            ages.end(ours);
            ages.end(theirs);
            assert_eq!(ages.overdue(0, at(10), UNIT), 0);
        });
    }
}
