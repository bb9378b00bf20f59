//! Which calls have time enough to be probes.
//!
//! A call that has milliseconds left is no probe: it ends without an answer, and others wait for its place meanwhile. A call that
//! has as long as the slow threshold is one. Where no caller has that much, one with at least half of the longest time that was
//! seen during the break is one, so that a dependency whose callers are all in a hurry is probed as well. The longest is forgotten
//! when no call with so much time has come for long, or one patient caller of the past would keep the breaker open.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// The longest times left, in nanoseconds: in the present stretch of time, and in the one before it.
#[derive(Debug)]
pub(super) struct TimeLeft {
    longest: AtomicU64,
    before: AtomicU64,
    /// When the present stretch ends, and how long the next one is.
    ends: AtomicU64,
    length: AtomicU64,
}

impl TimeLeft {
    pub(super) fn new() -> Self {
        Self {
            longest: AtomicU64::new(0),
            before: AtomicU64::new(0),
            ends: AtomicU64::new(0),
            length: AtomicU64::new(0),
        }
    }

    /// A break begins, after which stretches are of that length. `first`: nothing is known of a break before it.
    pub(super) fn begin_break(&self, first: bool, until: Instant, length: Duration) {
        self.length.store(time::nanos(length), Ordering::Relaxed);
        self.ends.store((until + length).as_nanos(), Ordering::Relaxed);
        let longest = self.longest.swap(0, Ordering::Relaxed);
        self.before.store(if first { 0 } else { longest }, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn note(&self, left: Duration) {
        let left = time::nanos(left);
        if left > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(left, Ordering::Relaxed);
        }
    }

    /// Whether a call with so much time left may be a probe.
    pub(super) fn is_enough(&self, left: Duration, threshold: Duration, now: Instant) -> bool {
        let longest = self.longest.load(Ordering::Relaxed).max(self.before.load(Ordering::Relaxed));
        let enough = left >= threshold || time::nanos(left) >= longest / 2;
        if !enough {
            self.forget(now);
        }
        enough
    }

    /// Begins another stretch, if it is time.
    fn forget(&self, now: Instant) {
        let ends = self.ends.load(Ordering::Relaxed);
        let next = now + Duration::from_nanos(self.length.load(Ordering::Relaxed));
        let due = now.as_nanos() >= ends;
        if due && self.ends.compare_exchange(ends, next.as_nanos(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let longest = self.longest.swap(0, Ordering::Relaxed);
            self.before.store(longest, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const THRESHOLD: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 60) + Duration::from_millis(millis)
    }

    #[test]
    fn hurried_calls_are_no_probes_beside_patient_ones() {
        let left = TimeLeft::new();
        left.begin_break(true, at(1000), 2000 * MS);
        left.note(2000 * MS);
        for (millis, enough) in [(45, false), (499, false), (500, true), (2000, true)] {
            assert_eq!(left.is_enough(millis * MS, THRESHOLD, at(1000)), enough, "{millis} ms");
        }
    }

    #[test]
    fn hurried_calls_are_probes_where_all_are_in_a_hurry() {
        let left = TimeLeft::new();
        left.begin_break(true, at(1000), 2000 * MS);
        left.note(45 * MS);
        assert!(left.is_enough(23 * MS, THRESHOLD, at(1000)));
        assert!(!left.is_enough(22 * MS, THRESHOLD, at(1000)));
    }

    #[test]
    fn patient_caller_that_never_comes_again_is_forgotten() {
        let left = TimeLeft::new();
        left.note(60_000 * MS);
        left.begin_break(true, at(1000), 2000 * MS);
        assert!(left.is_enough(MS, THRESHOLD, at(1000)), "of a break long ago");
        left.note(60_000 * MS);
        let forgotten = (1000..100_000).step_by(5).find(|now| {
            left.note(45 * MS);
            left.is_enough(45 * MS, THRESHOLD, at(*now))
        });
        assert!(forgotten.is_some_and(|now| (3000..=5100).contains(&now)), "{forgotten:?}");
    }
}
