//! Which calls have enough time left to be probes.
//!
//! A call with milliseconds left would end without an answer, and hold its slot meanwhile, so it is no probe. A call with at least
//! the slow threshold left is one. Where no call has that much, a call with at least half of the longest time seen during the break
//! is one, so that a dependency whose callers all have short deadlines is probed, too. The longest time expires when no call has
//! had as much for a while; otherwise one past caller with a long deadline would keep the breaker open.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// The longest times left, in nanoseconds: of the current interval, and of the one before.
#[derive(Debug)]
pub(super) struct TimeLeft {
    longest: AtomicU64,
    before: AtomicU64,
    /// The end of the current interval, and the length of the next one.
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

    /// A break begins; intervals after it have this `length`. `first`: times seen before it do not count.
    pub(super) fn begin_break(&self, first: bool, until: Instant, length: Duration) {
        self.length.store(time::nanos(length), Ordering::Relaxed);
        self.ends.store((until + length).as_nanos(), Ordering::Relaxed);
        let longest = self.longest.swap(0, Ordering::Relaxed);
        self.before.store(if first { 0 } else { longest }, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn record(&self, left: Duration) {
        let left = time::nanos(left);
        if left > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(left, Ordering::Relaxed);
        }
    }

    /// Whether a call with this much time left may be a probe.
    pub(super) fn is_enough(&self, left: Duration, threshold: Duration, now: Instant) -> bool {
        let longest = self.longest.load(Ordering::Relaxed).max(self.before.load(Ordering::Relaxed));
        let enough = left >= threshold || time::nanos(left) >= longest / 2;
        if !enough {
            self.roll_over(now);
        }
        enough
    }

    /// Starts the next interval, if the current one is over.
    fn roll_over(&self, now: Instant) {
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
    fn short_deadline_is_no_probe_beside_long_ones() {
        let left = TimeLeft::new();
        left.begin_break(true, at(1000), 2000 * MS);
        left.record(2000 * MS);
        for (millis, enough) in [(45, false), (499, false), (500, true), (2000, true)] {
            assert_eq!(left.is_enough(millis * MS, THRESHOLD, at(1000)), enough, "{millis} ms");
        }
    }

    #[test]
    fn short_deadline_is_a_probe_if_all_are_short() {
        let left = TimeLeft::new();
        left.begin_break(true, at(1000), 2000 * MS);
        left.record(45 * MS);
        assert!(left.is_enough(23 * MS, THRESHOLD, at(1000)));
        assert!(!left.is_enough(22 * MS, THRESHOLD, at(1000)));
    }

    #[test]
    fn longest_time_left_expires() {
        let left = TimeLeft::new();
        left.record(60_000 * MS);
        left.begin_break(true, at(1000), 2000 * MS);
        assert!(left.is_enough(MS, THRESHOLD, at(1000)), "an earlier break does not count");
        left.record(60_000 * MS);
        let forgotten = (1000..100_000).step_by(5).find(|now| {
            left.record(45 * MS);
            left.is_enough(45 * MS, THRESHOLD, at(*now))
        });
        assert!(forgotten.is_some_and(|now| (3000..=5100).contains(&now)), "{forgotten:?}");
    }
}
