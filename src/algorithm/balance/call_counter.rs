//! The results of an endpoint's calls in one interval of outlier detection.
//!
//! Latencies are counted in buckets whose bounds grow by a quarter of a power of two, from a microsecond to two minutes. The median of
//! an interval is then known to within 12 %, whatever the order of the calls, which is enough for a law that asks for a factor of
//! several. It takes 432 bytes an endpoint, and one addition a call.

use std::array;
use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::time::nanos;

/// What an endpoint did in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallCounts {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// The median latency of the successes; `None` if there was no success.
    pub(crate) latency: Option<Duration>,
}

impl CallCounts {
    pub(crate) fn volume(&self) -> u64 {
        self.successes.saturating_add(self.failures)
    }

    /// The fraction of successes; 1 if there was no call.
    pub(crate) fn success_rate(&self) -> f64 {
        if self.volume() == 0 { 1.0 } else { self.successes as f64 / self.volume() as f64 }
    }
}

/// The first bucket has all below 2^10 ns, and the last all from 2^37 ns.
const MIN_EXPONENT: u32 = 10;
const EXPONENTS: usize = 27;
const BUCKETS: usize = EXPONENTS * 4;

/// Counts until the end of the interval. Lock-free.
#[derive(Debug)]
pub(crate) struct CallCounter {
    failures: AtomicU64,
    /// The successes, by latency.
    successes: [AtomicU32; BUCKETS],
}

impl CallCounter {
    pub(crate) fn new() -> Self {
        Self { failures: AtomicU64::new(0), successes: array::from_fn(|_| AtomicU32::new(0)) }
    }

    pub(crate) fn succeeded(&self, took: Duration) {
        if let Some(count) = self.successes.get(bucket(took)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Only what speaks about the endpoint: a refusal that names itself comes from a live endpoint, and is no failure.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the interval.
    pub(crate) fn take(&self) -> CallCounts {
        let by_latency: [u32; BUCKETS] =
            array::from_fn(|i| self.successes.get(i).map_or(0, |count| count.swap(0, Ordering::Relaxed)));
        let successes: u64 = by_latency.iter().copied().map(u64::from).sum();
        let mut below = 0;
        let latency = by_latency.into_iter().position(|count| {
            below += u64::from(count);
            below > 0 && below * 2 >= successes
        });
        CallCounts { successes, failures: self.failures.swap(0, Ordering::Relaxed), latency: latency.map(middle) }
    }
}

/// The exponent and the two bits that follow the leading one.
#[inline]
fn bucket(took: Duration) -> usize {
    let nanos = nanos(took).max(1 << MIN_EXPONENT);
    let exponent = nanos.ilog2();
    let quarter = (nanos >> (exponent - 2)) & 3;
    let index = (exponent - MIN_EXPONENT) as usize * 4 + quarter as usize;
    index.min(BUCKETS - 1)
}

/// The latency in the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let eighths = 8 + 2 * (bucket as u64 % 4) + 1;
    Duration::from_nanos((eighths << MIN_EXPONENT << (bucket / 4)) / 8)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn interval_forgets_the_one_before() {
        let counter = CallCounter::new();
        (0..100).for_each(|_| counter.succeeded(100 * MS));
        counter.failed();
        let counts = counter.take();
        assert_eq!((counts.successes, counts.failures, counts.volume()), (100, 1, 101));
        assert_eq!(counts.success_rate(), 100.0 / 101.0);
        assert_eq!(counter.take(), CallCounts::default());
        assert_eq!(CallCounts::default().success_rate(), 1.0);
        counter.succeeded(MS);
        assert!(counter.take().latency.is_some_and(|latency| latency < 2 * MS));
    }

    #[test]
    fn extreme_latencies_are_in_the_outer_buckets() {
        assert_eq!([Duration::ZERO, MS / 2000, Duration::MAX, Duration::from_secs(200)].map(bucket), [0, 0, 107, 107]);
        let counter = CallCounter::new();
        [Duration::ZERO, Duration::MAX, Duration::MAX].into_iter().for_each(|took| counter.succeeded(took));
        assert!(counter.take().latency.is_some_and(|latency| latency > Duration::from_secs(100)));
    }

    proptest! {
        /// The naive model sorts.
        #[test]
        fn median_is_within_an_eighth(mut latencies in prop::collection::vec(2_000..100_000_000_000u64, 1..50)) {
            let counter = CallCounter::new();
            latencies.iter().for_each(|latency| counter.succeeded(Duration::from_nanos(*latency)));
            latencies.sort_unstable();
            let exact = latencies[(latencies.len() - 1) / 2] as f64;
            let median = counter.take().latency.map_or(0.0, |latency| latency.as_nanos() as f64);
            prop_assert!((median / exact - 1.0).abs() <= 0.125, "{median} {exact}");
        }
    }
}
