//! An average that is weighted by time: a sample counts for as much as the time that it stands for. An endpoint that gets a call every
//! five seconds is judged by that call. A busy one is judged by all calls of the last second.
//!
//! Of two updates that race one may be lost. The estimates tolerate it, and plain stores are cheaper than atomic updates.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// How long the samples of a busy endpoint count.
const MEMORY: Duration = Duration::from_secs(1);

/// A busy average has at least this share of the newest sample, so that a burst within one reading of the clock counts too.
const MIN_SHARE: f64 = 1.0 / 256.0;

/// An average that is not new or stale has at most this share of the newest sample, so that a single call out of a few is no verdict.
const MAX_SHARE: f64 = 1.0 / 16.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Average {
    /// The bits of an `f64`.
    value: AtomicU64,
    /// The time of the last sample; zero if there was none.
    at: AtomicU64,
    samples: AtomicU32,
}

impl Average {
    pub(super) fn new() -> Self {
        Self { value: AtomicU64::new(0), at: AtomicU64::new(0), samples: AtomicU32::new(0) }
    }

    /// The average, and the time of its last sample.
    #[inline]
    pub(super) fn read(&self) -> Option<(f64, Instant)> {
        let at = self.at.load(Ordering::Acquire);
        (at > 0).then(|| (f64::from_bits(self.value.load(Ordering::Relaxed)), Instant::from_nanos(at)))
    }

    #[inline]
    pub(super) fn at(&self) -> Instant {
        Instant::from_nanos(self.at.load(Ordering::Relaxed))
    }

    /// Records a sample after the average so far.
    pub(super) fn record_next(&self, now: Instant, sample: f64) {
        match self.read() {
            Some((before, _)) => self.record(now, sample, before),
            None => self.restart(now, sample),
        }
    }

    /// Records a sample; `before` replaces the average so far.
    pub(super) fn record(&self, now: Instant, sample: f64, before: f64) {
        let elapsed = now.nanos_since(self.at()) as f64;
        let samples = self.samples.load(Ordering::Relaxed).saturating_add(1);
        let by_time = elapsed / (elapsed + nanos(MEMORY) as f64);
        let share = by_time.clamp(MIN_SHARE, MAX_SHARE).max(1.0 / f64::from(samples));
        self.store(now, before + (sample - before) * share, samples);
    }

    /// Begins with this sample.
    pub(super) fn restart(&self, now: Instant, sample: f64) {
        self.store(now, sample, 1);
    }

    fn store(&self, now: Instant, value: f64, samples: u32) {
        self.samples.store(samples, Ordering::Relaxed);
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.at.store(now.as_nanos(), Ordering::Release);
    }
}
