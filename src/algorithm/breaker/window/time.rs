//! A window over the last stretch of time: a ring of buckets, each with its epoch.
//!
//! A bucket of an earlier round of the ring counts as empty, and the first outcome of a new epoch restarts it. So nothing is cleared
//! as time passes, and any idle time costs O(1).

use std::time::Duration;

use super::outcome::{CallOutcome, OutcomeCounts};
use crate::ground::time::{self, Instant};

/// More buckets slide more smoothly and cost more to sum: with ten, an outcome leaves the window after 0.9 to 1.0 of its length.
const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct TimeBucket {
    epoch: u64,
    counts: OutcomeCounts,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    /// The width of a bucket in nanoseconds, at least one.
    width: u64,
    buckets: [TimeBucket; BUCKETS],
    /// The epoch of the last bad outcome.
    last_bad: Option<u64>,
}

impl TimeWindow {
    pub(crate) fn new(length: Duration) -> Self {
        Self { width: width(length), buckets: Default::default(), last_bad: None }
    }

    pub(super) fn covers(&self, length: Duration) -> bool {
        self.width == width(length)
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_nanos(self.width.saturating_mul(BUCKETS as u64))
    }

    #[inline]
    pub(super) fn add(&mut self, now: Instant, outcome: CallOutcome) -> bool {
        let epoch = now.as_nanos() / self.width;
        let bucket = &mut self.buckets[(epoch % BUCKETS as u64) as usize];
        if bucket.epoch < epoch {
            *bucket = TimeBucket { epoch, counts: OutcomeCounts::default() };
        }
        // A call that read its instant before another call, and is counted after it, can be a round of the ring too late.
        if bucket.epoch == epoch {
            bucket.counts.add(outcome);
        }
        if outcome.is_bad() {
            self.last_bad = self.last_bad.max(Some(epoch));
        }
        self.last_bad.is_some_and(|last_bad| is_within(last_bad, epoch))
    }

    pub(super) fn counts(&self, now: Instant) -> OutcomeCounts {
        let epoch = now.as_nanos() / self.width;
        let current = self.buckets.iter().filter(|bucket| bucket.epoch <= epoch && is_within(bucket.epoch, epoch));
        current.fold(OutcomeCounts::default(), |sum, TimeBucket { counts, .. }| OutcomeCounts {
            calls: sum.calls + counts.calls,
            failures: sum.failures + counts.failures,
            slow: sum.slow + counts.slow,
        })
    }

    pub(super) fn clear(&mut self) {
        *self = Self { width: self.width, buckets: Default::default(), last_bad: None };
    }
}

/// The width of a bucket.
fn width(length: Duration) -> u64 {
    (time::nanos(length) / BUCKETS as u64).max(1)
}

/// Whether the window that ends with the epoch `now` covers `epoch`.
#[inline]
fn is_within(epoch: u64, now: u64) -> bool {
    now.saturating_sub(epoch) < BUCKETS as u64
}
