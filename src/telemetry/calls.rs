//! Verdicts and durations of calls: a histogram for each verdict that occurs.

use std::sync::OnceLock;
use std::time::Duration;

use histogram::{AtomicHistogram, Config, Histogram};

use crate::ground::verdict::Verdict;

/// A bucket is an eighth as wide as its time, so that its middle is within 6 % of any call in it.
const GROUPING_POWER: u8 = 3;

/// In microseconds: two minutes and a quarter. Longer calls count in the last bucket.
const MAX_POWER: u8 = 27;

/// The calls of one layer value. Lock-free: one relaxed atomic addition a call, and 1.6 kB for each verdict that occurs.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_verdict: [OnceLock<AtomicHistogram>; Verdict::COUNT],
}

impl Calls {
    #[inline]
    pub(crate) fn record(&self, verdict: Verdict, took: Duration) {
        let Some(cell) = self.by_verdict.get(verdict.index()) else { return };
        let histogram = match cell.get() {
            Some(histogram) => histogram,
            None => cell.get_or_init(|| AtomicHistogram::with_config(&config())),
        };
        let micros = (took.as_nanos() / 1000).min((1 << MAX_POWER) - 1) as u64;
        let _ = histogram.increment(micros);
    }

    /// The verdicts that occurred, each with a histogram in microseconds.
    pub(crate) fn load(&self) -> impl Iterator<Item = (&'static str, Histogram)> {
        let recorded = self.by_verdict.iter().zip(Verdict::NAMES);
        recorded.filter_map(|(cell, name)| cell.get().map(|histogram| (name, histogram.load())))
    }

    /// The latency of successes.
    pub(crate) fn latency(&self) -> Option<LatencyQuantiles> {
        let histogram = self.by_verdict.get(Verdict::Success.index())?.get()?.load();
        let count = count(&histogram);
        let at = |quantile| {
            let bucket = histogram.quantile_bucket(quantile).ok().flatten();
            bucket.map_or(Duration::ZERO, |bucket| middle(&bucket))
        };
        (count > 0).then(|| LatencyQuantiles { count, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) })
    }
}

/// The successes up to an instant; the difference of two gives the latency in between.
#[cfg(feature = "dashboard")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Successes(Option<Histogram>);

#[cfg(feature = "dashboard")]
impl Successes {
    pub(crate) fn of(calls: &Calls) -> Self {
        Self(calls.by_verdict.get(Verdict::Success.index()).and_then(OnceLock::get).map(AtomicHistogram::load))
    }

    /// The 99th percentile of the successes since `before`, if there were any.
    pub(crate) fn p99_since(&self, before: &Self) -> Option<Duration> {
        let now = self.0.as_ref()?;
        let quantile = |calls: &Histogram| calls.quantile_bucket(0.99).ok().flatten().map(|bucket| middle(&bucket));
        match &before.0 {
            Some(before) => quantile(&now.checked_sub(before).ok()?),
            None => quantile(now),
        }
    }
}

/// Latencies by quantile. The times are those of buckets, within 6 % of the exact ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatencyQuantiles {
    pub(crate) count: u64,
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

pub(crate) fn count(histogram: &Histogram) -> u64 {
    histogram.as_slice().iter().sum()
}

/// The middle of a bucket, which represents its calls.
pub(crate) fn middle(bucket: &histogram::Bucket) -> Duration {
    Duration::from_micros(bucket.start().midpoint(bucket.end()))
}

fn config() -> Config {
    const CONFIG: Config = match Config::new(GROUPING_POWER, MAX_POWER) {
        Ok(config) => config,
        Err(_) => panic!("eight parts of each power of two"),
    };
    CONFIG
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn latency_is_none_without_successes() {
        let calls = Calls::default();
        assert_eq!((calls.load().count(), calls.latency()), (0, None));
        calls.record(Verdict::Lost, MS);
        assert_eq!((calls.load().count(), calls.latency()), (1, None), "failures have no part in the latency");
    }

    #[test]
    fn quantiles_are_within_six_percent() {
        let calls = Calls::default();
        (1..=1000).for_each(|ms| calls.record(Verdict::Success, ms * MS));
        let LatencyQuantiles { count, p50, p90, p99, max } = calls.latency().expect("a thousand calls");
        assert_eq!(count, 1000);
        for (found, expected) in [(p50, 500), (p90, 900), (p99, 990), (max, 1000)] {
            let off = found.as_secs_f64() / f64::from(expected) * 1000.0 - 1.0;
            assert!(off.abs() < 0.07, "{found:?} for {expected} ms");
        }
    }

    #[cfg(feature = "dashboard")]
    #[test]
    fn recent_p99_covers_the_successes_in_between() {
        let calls = Calls::default();
        let none = Successes::of(&calls);
        assert_eq!(none.p99_since(&none), None);
        (0..1000).for_each(|_| calls.record(Verdict::Success, MS));
        let early = Successes::of(&calls);
        let about =
            |found: Option<Duration>, expected: f64| (found.unwrap().as_secs_f64() / expected - 1.0).abs() < 0.07;
        assert!(about(early.p99_since(&none), 0.001));
        assert_eq!(early.p99_since(&early), None);
        (0..10).for_each(|_| calls.record(Verdict::Success, 100 * MS));
        let late = Successes::of(&calls);
        assert!(about(late.p99_since(&early), 0.1));
        assert_eq!(early.p99_since(&late), None, "of another component of the same name");
    }

    #[test]
    fn extreme_durations_are_counted() {
        let calls = Calls::default();
        for took in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(134), Duration::MAX] {
            calls.record(Verdict::Success, took);
        }
        assert_eq!(calls.latency().map(|latency| latency.count), Some(4));
    }
}
