//! Whether a call gets a fault, how long a delay is, and how many faults may be in progress.
//!
//! All randomness is an argument: one sample for each rule that a call matches, and one for its delay.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU32, Ordering};
use crate::ground::time::{self, Instant};

/// Whether a call with this sample, uniform in `0.0..1.0`, is among this share of the calls.
pub(crate) fn is_hit(share: f64, sample: f64) -> bool {
    sample < share
}

/// Whether faults are over at `now`.
pub(crate) fn is_over(end: Option<Instant>, now: Instant) -> bool {
    end.is_some_and(|end| end <= now)
}

/// The end of faults that begin at `now`: the earlier of two bounds.
pub(crate) fn end(now: Instant, lasts: Option<Duration>, left: Option<Duration>) -> Option<Instant> {
    let (by_length, by_clock) = (lasts.map(|lasts| now + lasts), left.map(|left| now + left));
    match (by_length, by_clock) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How long calls are delayed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Delay {
    /// Always as long.
    Fixed(#[cfg_attr(feature = "config", serde(with = "crate::loader::HumanTime"))] Duration),
    /// Any delay between two bounds is equally likely.
    Uniform {
        /// The shortest delay.
        #[cfg_attr(feature = "config", serde(with = "crate::loader::HumanTime"))]
        from: Duration,
        /// The longest delay; at least `from`.
        #[cfg_attr(feature = "config", serde(with = "crate::loader::HumanTime"))]
        to: Duration,
    },
    /// Log-normal, as the latency of real services roughly is: half of the delays are shorter than the median, and one in a hundred
    /// is longer than the 99th percentile. The longest delay that is drawn is that of six standard deviations, one in a thousand
    /// million.
    LogNormal {
        /// The median; more than zero.
        #[cfg_attr(feature = "config", serde(with = "crate::loader::HumanTime"))]
        median: Duration,
        /// The 99th percentile; at least the median.
        #[cfg_attr(feature = "config", serde(with = "crate::loader::HumanTime"))]
        p99: Duration,
    },
}

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

impl Delay {
    /// The delay at this quantile: a sample uniform in `0.0..1.0` draws one.
    pub(crate) fn at(&self, quantile: f64) -> Duration {
        match *self {
            Self::Fixed(delay) => delay,
            Self::Uniform { from, to } => from + seconds(to.saturating_sub(from).as_secs_f64() * quantile),
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z99;
                seconds(median.as_secs_f64() * (sigma * normal_quantile(quantile)).exp())
            }
        }
    }
}

/// A duration of this many seconds, at most that of [`Instant::MAX`]. Not a number is zero.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(if seconds > 0.0 { LONGEST_DELAY } else { Duration::ZERO })
}

const LONGEST_DELAY: Duration = crate::ground::validation::LONGEST;

/// The quantile function of the standard normal distribution, by Peter Acklam's rational approximation (2003): its relative error
/// is below 1.15e-9. Beyond six standard deviations it is cut off.
fn normal_quantile(quantile: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    const LOW: f64 = 0.024_25;
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    let p = quantile.clamp(1e-9, 1.0 - 1e-9);
    if p < LOW {
        tail(p)
    } else if p > 1.0 - LOW {
        -tail(1.0 - p)
    } else {
        let (q, r) = (p - 0.5, (p - 0.5) * (p - 0.5));
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

/// The faults in progress.
#[derive(Debug, Default)]
pub(crate) struct ActiveFaults(AtomicU32);

impl ActiveFaults {
    /// Counts one more, unless there are `max`. Then [`end`](Self::end) must follow.
    pub(crate) fn try_begin(&self, max: u32) -> bool {
        let more = |active| (active < max).then(|| active + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The time from `now` to `end`, for display.
pub(crate) fn time_left(end: Option<Instant>, now: Instant) -> Option<Duration> {
    end.map(|end| Duration::from_nanos(time::nanos(end.since(now))))
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delays() -> impl Strategy<Value = Delay> {
        let duration = || (1_u64..10_000_000).prop_map(Duration::from_micros);
        prop_oneof![
            duration().prop_map(Delay::Fixed),
            (duration(), duration()).prop_map(|(from, more)| Delay::Uniform { from, to: from + more }),
            (duration(), duration()).prop_map(|(median, more)| Delay::LogNormal { median, p99: median + more }),
        ]
    }

    /// Evenly spaced samples, of which a share hits to within one.
    fn grid(n: u32) -> impl Iterator<Item = f64> {
        (0..n).map(move |i| (f64::from(i) + 0.5) / f64::from(n))
    }

    proptest! {
        #[test]
        fn share_of_the_samples_hits(share in 0.0..=1.0_f64) {
            let hits = grid(10_000).filter(|sample| is_hit(share, *sample)).count() as f64;
            prop_assert!((hits - share * 10_000.0).abs() <= 1.0, "{hits}");
        }

        #[test]
        fn delays_grow_with_the_quantile_within_their_bounds(delay in delays()) {
            let drawn: Vec<_> = grid(1000).map(|quantile| delay.at(quantile)).collect();
            prop_assert!(drawn.is_sorted());
            match delay {
                Delay::Fixed(fixed) => prop_assert!(drawn.iter().all(|delay| *delay == fixed)),
                Delay::Uniform { from, to } => {
                    prop_assert!(drawn.iter().all(|delay| (from..=to).contains(delay)));
                }
                Delay::LogNormal { median, p99 } => {
                    let below = |bound| drawn.iter().filter(|delay| **delay < bound).count();
                    prop_assert!((499..=501).contains(&below(median)) || p99 == median, "{}", below(median));
                    prop_assert!((989..=991).contains(&below(p99)) || p99 == median, "{}", below(p99));
                }
            }
        }

        /// Against a plain count: never more than the cap of the moment allows to begin, and each that began ends once.
        #[test]
        fn cap_is_never_exceeded(steps in prop::collection::vec((any::<bool>(), 0_u32..5), 0..200)) {
            let (active, mut count) = (ActiveFaults::default(), 0);
            for (begins, max) in steps {
                if begins {
                    let begun = active.try_begin(max);
                    prop_assert_eq!(begun, count < max);
                    count += u32::from(begun);
                } else if count > 0 {
                    active.end();
                    count -= 1;
                }
                prop_assert_eq!(active.count(), count);
            }
        }

        #[test]
        fn faults_end_at_the_earlier_bound(now in any::<u64>(), one in 0_u64..1 << 60, other in 0_u64..1 << 60) {
            let (now, one, other) = (Instant::from_nanos(now), Duration::from_nanos(one), Duration::from_nanos(other));
            prop_assert_eq!(end(now, None, None), None);
            prop_assert_eq!(end(now, Some(one), None), Some(now + one));
            prop_assert_eq!(end(now, Some(one), Some(other)), Some(now + one.min(other)));
            prop_assert!(is_over(end(now, Some(one), Some(other)), now + one.min(other)));
            prop_assert!(!is_over(None, Instant::MAX));
        }
    }

    #[test]
    fn share_of_zero_never_hits_and_share_of_one_always() {
        for sample in [0.0, 0.5, 1.0 - f64::EPSILON] {
            assert!(!is_hit(0.0, sample) && is_hit(1.0, sample));
        }
    }

    /// Values of the normal distribution from tables.
    #[test]
    fn log_normal_has_its_median_and_percentiles() {
        let delay = Delay::LogNormal { median: 10 * MS, p99: 100 * MS };
        let at = |quantile| delay.at(quantile).as_secs_f64() * 1000.0;
        // 10 · 10^(z/z99)
        for (quantile, expected) in [(0.5, 10.0), (0.99, 100.0), (0.01, 1.0), (0.841_344_746, 26.907), (0.999, 213.04)]
        {
            assert!((at(quantile) / expected - 1.0).abs() < 1e-3, "{quantile}: {} for {expected}", at(quantile));
        }
        assert!(at(1.0).is_finite() && at(0.0) > 0.0);
    }

    #[test]
    fn extreme_delays_do_not_panic() {
        let long = crate::ground::validation::LONGEST;
        for delay in [
            Delay::LogNormal { median: Duration::from_nanos(1), p99: long },
            Delay::LogNormal { median: Duration::ZERO, p99: Duration::ZERO },
            Delay::Uniform { from: long, to: Duration::ZERO },
        ] {
            for quantile in [0.0, 0.5, 1.0, f64::NAN] {
                let _ = delay.at(quantile);
            }
        }
    }
}
