//! How many calls in flight are older than a threshold, without a timer and without a list.
//!
//! Calls are counted in a ring of cohorts by their start. A cohort takes the calls that start before its end, which is an eighth of
//! the threshold after its first call; an ended call leaves its cohort. When the end of a cohort is older than the threshold, all
//! its calls are overdue. When the ring reuses the cohort before they end, they move to a counter of overdue calls, and leave from
//! there. So a call costs O(1), and a check is due only when a new cohort begins.
//!
//! No call counts as overdue too early, while the threshold is constant (calls that were evicted from the ring were overdue by the
//! threshold of their time), nor later than an eighth of the threshold after it is. The threshold may change: it decides the end of
//! the *next* cohort, and every cohort stores its own end.

use std::time::Duration;

use crate::ground::time::{self, Instant};

const COHORTS: u64 = 16;

/// The cohorts within one threshold. Fewer than the ring has, so that there is room for the current one.
const COHORTS_PER_THRESHOLD: u64 = 8;

/// The shortest cohort, in nanoseconds.
const SHORTEST: u64 = 1_000_000;

/// The number of a call's cohort. It must be returned once, to [`Ages::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Age(u64);

#[derive(Clone, Copy, Debug)]
struct Cohort {
    /// In nanoseconds.
    end: u64,
    calls: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ages {
    cohorts: [Cohort; COHORTS as usize],
    /// The number of the cohort that takes new calls.
    current: u64,
    /// The first cohort since the counts were cleared. Calls of earlier ones are stale.
    first: u64,
    /// Calls in flight whose cohorts were evicted.
    overdue: u64,
}

impl Ages {
    pub(super) fn new() -> Self {
        let empty = Cohort { end: 0, calls: 0 };
        Self { cohorts: [empty; COHORTS as usize], current: 0, first: 0, overdue: 0 }
    }

    /// Counts a call in the current cohort, unless that has ended or was opened for a threshold much longer than `threshold`: the
    /// call would then become overdue that much later.
    #[inline]
    pub(super) fn join(&mut self, now: Instant, threshold: Duration) -> Option<Age> {
        let (number, now, longest) = (self.current, now.as_nanos(), 2 * width(threshold));
        let current = self.cohort(number);
        let joins = now < current.end && current.end - now <= longest;
        current.calls += u64::from(joins);
        joins.then_some(Age(number))
    }

    /// Counts a call. The flag is set for the first call of a cohort, when a check may find something new.
    pub(super) fn begin(&mut self, now: Instant, threshold: Duration) -> (Age, bool) {
        if let Some(age) = self.join(now, threshold) {
            return (age, false);
        }
        self.current += 1;
        let next = Cohort { end: now.as_nanos().saturating_add(width(threshold)), calls: 1 };
        self.overdue += std::mem::replace(self.cohort(self.current), next).calls;
        (Age(self.current), true)
    }

    /// Removes an ended call.
    #[inline]
    pub(super) fn end(&mut self, Age(number): Age) {
        if number < self.first {
            return;
        }
        let is_evicted = number + COHORTS <= self.current;
        let calls = if is_evicted { &mut self.overdue } else { &mut self.cohort(number).calls };
        *calls = calls.saturating_sub(1);
    }

    #[inline]
    fn cohort(&mut self, number: u64) -> &mut Cohort {
        &mut self.cohorts[(number % COHORTS) as usize]
    }

    /// How many calls are in flight and older than `threshold`.
    pub(super) fn overdue(&self, now: Instant, threshold: Duration) -> u64 {
        let (now, threshold) = (now.as_nanos(), time::nanos(threshold));
        self.overdue + self.count(|cohort| cohort.end <= now && now - cohort.end >= threshold)
    }

    /// The end of the oldest cohort with calls in flight, or `now` if it is not known exactly; `None`: no calls are in flight.
    pub(super) fn oldest(&self, now: Instant) -> Option<Instant> {
        if self.overdue > 0 {
            return Some(now);
        }
        self.cohorts.iter().filter(|cohort| cohort.calls > 0).map(|cohort| Instant::from_nanos(cohort.end)).min()
    }

    /// How many calls are in flight.
    pub(super) fn in_flight(&self) -> u64 {
        self.overdue + self.count(|_| true)
    }

    fn count(&self, included: impl Fn(&Cohort) -> bool) -> u64 {
        self.cohorts.iter().filter(|cohort| included(cohort)).map(|cohort| cohort.calls).sum()
    }

    /// Removes all calls. Their ages become stale.
    pub(super) fn clear(&mut self) {
        *self = Self { current: self.current + COHORTS, first: self.current + 1, ..Self::new() };
    }
}

/// The width of a cohort in nanoseconds.
#[inline]
fn width(threshold: Duration) -> u64 {
    (time::nanos(threshold) / COHORTS_PER_THRESHOLD).max(SHORTEST)
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
        let mut ages = Ages::new();
        let (age, first) = ages.begin(at(0), SECOND);
        assert!(first);
        assert_eq!(ages.overdue(at(1000), SECOND), 0);
        assert_eq!(ages.overdue(at(1128), SECOND), 1);
        ages.end(age);
        assert_eq!(ages.overdue(at(2000), SECOND), 0);
    }

    /// Calls that never end still count, however many come after them.
    #[test]
    fn overdue_calls_outlive_the_ring() {
        let mut ages = Ages::new();
        let held: Vec<_> = (0..100).map(|i| ages.begin(at(100 * i), SECOND)).collect();
        let stale: Vec<_> = (0..100).map(|i| ages.begin(at(100_000 + 200 * i), SECOND)).collect();
        assert_eq!((held.len(), stale.len()), (100, 100));
        assert_eq!(ages.overdue(at(200_000), SECOND), 200);
        for (age, _) in held {
            ages.end(age);
        }
        assert_eq!(ages.overdue(at(200_000), SECOND), 100);
    }

    #[test]
    fn cleared_calls_do_not_count() {
        let mut ages = Ages::new();
        let old: Vec<_> = (0..40).map(|i| ages.begin(at(100 * i), SECOND).0).collect();
        assert!(ages.overdue(at(5000), SECOND) > 30);
        ages.clear();
        let (new, _) = ages.begin(at(5000), SECOND);
        assert_eq!(ages.overdue(at(5500), SECOND), 0);
        for age in old {
            ages.end(age);
        }
        assert_eq!(ages.overdue(at(7000), SECOND), 1);
        ages.end(new);
        assert_eq!(ages.overdue(at(7000), SECOND), 0);
    }

    #[test]
    fn extreme_instants_do_not_panic() {
        let mut ages = Ages::new();
        for instant in [Instant::from_nanos(0), Instant::MAX, Instant::MAX] {
            let (age, _) = ages.begin(instant, Duration::MAX);
            ages.end(age);
        }
        assert_eq!(ages.overdue(Instant::MAX, Duration::ZERO), 0);
    }

    proptest! {
        /// Compared with a list of calls: never too early, never later than an eighth (and a millisecond or two).
        #[test]
        fn ages_match_a_list_of_calls(
            threshold in 1..5000u64,
            steps in proptest::collection::vec((any::<bool>(), 0..400u64, any::<prop::sample::Index>()), 1..400),
        ) {
            let (mut ages, threshold) = (Ages::new(), Duration::from_millis(threshold));
            let mut in_flight: Vec<(u64, Age)> = Vec::new();
            let mut now = 0;
            for (begins, passes, which) in steps {
                now += passes;
                if begins {
                    let (age, _) = ages.begin(at(now), threshold);
                    in_flight.push((now, age));
                } else if !in_flight.is_empty() {
                    let (_, age) = in_flight.swap_remove(which.index(in_flight.len()));
                    ages.end(age);
                }
                let overdue = ages.overdue(at(now), threshold);
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
