//! A window over the last stretch of time: a ring of buckets, each stamped with its epoch.

use std::time::Duration;

use super::outcome::{Counts, Outcome};
use crate::algorithm::slot::{Slot, Stamp};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// More buckets slide more smoothly and cost more to sum: with ten, an outcome leaves the window after 0.9 to 1.0 of its length.
#[cfg(not(seawall_loom))]
const BUCKETS: usize = 10;
// The model checker pays for every atomic.
#[cfg(seawall_loom)]
const BUCKETS: usize = 2;

/// Separate counts, so that a good call touches one atomic only.
#[derive(Debug)]
struct Bucket {
    calls: Slot,
    failures: Slot,
    slow: Slot,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    /// The width of a bucket in nanoseconds, at least one.
    width: AtomicU64,
    buckets: [Bucket; BUCKETS],
    /// The end of the bucket of the last bad outcome, in nanoseconds; zero: none.
    last_bad: AtomicU64,
}

impl TimeWindow {
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            width: AtomicU64::new(width(length)),
            buckets: std::array::from_fn(|_| Bucket { calls: Slot::new(), failures: Slot::new(), slow: Slot::new() }),
            last_bad: AtomicU64::new(0),
        }
    }

    /// Sets the length from the next era on, which the caller begins.
    pub(super) fn set_length(&self, length: Duration) {
        self.width.store(width(length), Ordering::Release);
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_nanos(self.width().saturating_mul(BUCKETS as u64))
    }

    #[inline]
    fn width(&self) -> u64 {
        self.width.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn add(&self, era: u8, now: Instant, outcome: Outcome) -> bool {
        let width = self.width();
        let epoch = now.as_nanos() / width;
        let stamp = Stamp::new(era, epoch);
        let bucket = &self.buckets[(epoch % BUCKETS as u64) as usize];
        // Too late to count: a round of the ring has passed since `now` was read, or a new era has begun.
        let _ = bucket.calls.add(stamp, 1);
        if outcome.failure {
            let _ = bucket.failures.add(stamp, 1);
        }
        if outcome.slow {
            let _ = bucket.slow.add(stamp, 1);
        }
        if outcome.is_bad() {
            // An outcome of an earlier era costs the current one a few needless sums.
            self.last_bad.fetch_max(epoch.saturating_add(1).saturating_mul(width), Ordering::AcqRel);
            return true;
        }
        let last_bad = self.last_bad.load(Ordering::Acquire);
        last_bad != 0 && epoch * width < last_bad.saturating_add((BUCKETS as u64 - 1).saturating_mul(width))
    }

    pub(super) fn counts(&self, era: u8, now: Instant) -> Counts {
        let epoch = now.as_nanos() / self.width();
        let mut counts = Counts::default();
        for back in 0..(BUCKETS as u64).min(epoch.saturating_add(1)) {
            let (epoch, stamp) = (epoch - back, Stamp::new(era, epoch - back));
            let bucket = &self.buckets[(epoch % BUCKETS as u64) as usize];
            // Calls are read last and added first, so that no rate exceeds one.
            counts.failures += u64::from(bucket.failures.get(stamp));
            counts.slow += u64::from(bucket.slow.get(stamp));
            counts.calls += u64::from(bucket.calls.get(stamp));
        }
        counts
    }

    pub(super) fn begin(&self) {
        self.last_bad.swap(0, Ordering::AcqRel);
        for bucket in &self.buckets {
            bucket.calls.clear();
            bucket.failures.clear();
            bucket.slow.clear();
        }
    }
}

fn width(length: Duration) -> u64 {
    (time::nanos(length) / BUCKETS as u64).max(1)
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    const FAILURE: Outcome = Outcome { failure: true, slow: false };

    /// Two threads count across the turn of a bucket while a third reads: no outcome is lost, and no rate exceeds one.
    #[test]
    fn loom_turn_of_a_bucket_loses_no_outcome() {
        loom::model(|| {
            let window = Arc::new(TimeWindow::new(Duration::from_nanos(20)));
            let (first, second) = (Instant::from_nanos(109), Instant::from_nanos(110));
            let theirs = Arc::clone(&window);
            let thread = loom::thread::spawn(move || {
                theirs.add(0, second, FAILURE);
            });
            window.add(0, first, FAILURE);
            let seen = window.counts(0, second);
            assert!(seen.failures <= seen.calls, "{seen:?}");
            thread.join().expect("no panic");
            assert_eq!(window.counts(0, second), Counts { calls: 2, failures: 2, slow: 0 });
        });
    }

    /// A new era begins while a stale call is being counted: the new era has its own call only.
    #[test]
    fn loom_stale_call_never_enters_a_new_era() {
        loom::model(|| {
            let window = Arc::new(TimeWindow::new(Duration::from_nanos(20)));
            let now = Instant::from_nanos(100);
            let theirs = Arc::clone(&window);
            let thread = loom::thread::spawn(move || {
                theirs.add(0, now, FAILURE);
            });
            window.begin();
            window.add(1, now, FAILURE);
            thread.join().expect("no panic");
            assert_eq!(window.counts(1, now), Counts { calls: 1, failures: 1, slow: 0 });
        });
    }
}
