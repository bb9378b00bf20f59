//! A streaming median in one atomic word.
//!
//! After Ma, Muthukrishnan and Sandler, "Frugal Streaming for Estimating Quantiles" (2013): a sample above the estimate raises it
//! by a step, a sample below lowers it, so that it settles where half of the samples are on either side. Latencies spread over
//! orders of magnitude, so the step is a factor. It begins large and ends at an eighth, which follows a shift by a factor of five
//! within twenty samples and mostly stays within a factor of two of the median of an exponential distribution.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time;

const COUNT_BITS: u32 = 8;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// About two years, in nanoseconds.
const MAX_NANOS: u64 = u64::MAX >> COUNT_BITS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Median {
    /// The estimate in nanoseconds, above the number of samples, which stops at 255.
    word: AtomicU64,
}

impl Median {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Records a sample. Of two racing samples one may be lost: the estimate tolerates that, and a plain store is cheaper than an
    /// atomic update.
    #[inline]
    pub(crate) fn record(&self, sample: Duration) {
        let word = self.word.load(Ordering::Relaxed);
        let next = step(word, time::nanos(sample));
        if next != word {
            self.word.store(next, Ordering::Relaxed);
        }
    }

    /// Restarts with this sample, when earlier ones are stale.
    pub(crate) fn restart(&self, sample: Duration) {
        self.word.store(step(0, time::nanos(sample)), Ordering::Relaxed);
    }

    /// The estimate, if there were at least as many samples (255 suffice).
    #[inline]
    pub(crate) fn after(&self, samples: u32) -> Option<Duration> {
        let word = self.word.load(Ordering::Relaxed);
        let count = word & COUNT_MASK;
        (count > 0 && count >= u64::from(samples).min(COUNT_MASK)).then(|| Duration::from_nanos(word >> COUNT_BITS))
    }
}

#[inline]
fn step(word: u64, sample: u64) -> u64 {
    let (estimate, count) = (word >> COUNT_BITS, word & COUNT_MASK);
    // Integers and shifts, because every call runs this.
    let eighth = estimate >> 3;
    let (up, down) =
        if count >= 8 { (eighth, eighth - (eighth >> 3)) } else { (estimate / (count + 1), estimate / (count + 2)) };
    let next = match sample {
        _ if count == 0 => sample,
        // Never past the sample, so that equal samples are met exactly.
        _ if sample > estimate => (estimate + up.max(1)).min(sample),
        _ => (estimate - down).max(sample),
    };
    next.clamp(1, MAX_NANOS) << COUNT_BITS | (count + 1).min(COUNT_MASK)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn estimate(samples: impl IntoIterator<Item = f64>) -> f64 {
        let median = Median::new();
        for sample in samples {
            median.record(Duration::from_secs_f64(sample));
        }
        median.after(1).expect("at least one sample").as_secs_f64()
    }

    #[test]
    fn first_sample_is_the_estimate_and_extremes_are_valid() {
        let median = Median::new();
        assert_eq!(median.after(0), None);
        median.record(Duration::from_millis(20));
        assert_eq!((median.after(1), median.after(2)), (Some(Duration::from_millis(20)), None));
        median.record(Duration::MAX);
        median.record(Duration::ZERO);
        assert!(median.after(3).is_some_and(|estimate| estimate > Duration::ZERO));
        median.restart(Duration::from_secs(1));
        assert_eq!((median.after(1), median.after(2)), (Some(Duration::from_secs(1)), None));
    }

    #[test]
    fn constant_samples_are_met_exactly() {
        assert_eq!(estimate([0.02; 300]), 0.02);
        assert_eq!(estimate(std::iter::once(5.0).chain([0.02; 300])), 0.02);
    }

    #[test]
    fn shift_by_five_is_followed_within_twenty_samples() {
        let shifted = estimate([0.02; 300].into_iter().chain([0.1; 20]));
        assert!(shifted > 0.09, "{shifted}");
        let back = estimate([0.1; 300].into_iter().chain([0.02; 20]));
        assert!(back < 0.022, "{back}");
    }

    #[test]
    fn outliers_do_not_move_the_median() {
        let stream = (0..1000).map(|i| if i % 5 == 0 { 30.0 } else { 0.02 });
        assert!(estimate(stream) < 0.03);
    }

    proptest! {
        /// Exponential latencies: heavy spread, median = mean · ln 2.
        #[test]
        fn estimate_mostly_stays_within_a_factor_of_two(seed: u64, mean in 0.0005..20.0f64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut draw = || -mean * (1.0 - rng.f64()).ln();
            let median = Median::new();
            for _ in 0..200 {
                median.record(Duration::from_secs_f64(draw()));
            }
            let (mut within, mut far) = (0, 0);
            for _ in 0..1000 {
                median.record(Duration::from_secs_f64(draw()));
                let ratio = median.after(1).expect("samples").as_secs_f64() / (mean * std::f64::consts::LN_2);
                within += u32::from((0.5..2.0).contains(&ratio));
                far += u32::from(!(0.2..5.0).contains(&ratio));
            }
            // A single estimate beyond a factor of five occurs once in a thousand runs.
            prop_assert!(within > 850 && far <= 10, "{within} of 1000 within a factor of two, {far} beyond five");
        }
    }
}
