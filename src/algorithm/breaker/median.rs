//! A streaming median.
//!
//! After Ma, Muthukrishnan and Sandler, "Frugal Streaming for Estimating Quantiles" (2013): a sample above the estimate raises it
//! by a step, a sample below lowers it, so that it settles where half of the samples are on either side. Latencies spread over
//! orders of magnitude, so the step is a factor. It begins large and ends at an eighth, which follows a shift by a factor of five
//! within twenty samples and mostly stays within a factor of two of the median of an exponential distribution.

use std::time::Duration;

use crate::ground::time;

/// See the module.
#[derive(Debug)]
pub(super) struct Median {
    /// In nanoseconds.
    estimate: u64,
    /// The number of samples, which stops at 255.
    count: u8,
}

impl Median {
    pub(super) fn new() -> Self {
        Self { estimate: 0, count: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, sample: Duration) {
        let (sample, estimate, count) = (time::nanos(sample), self.estimate, u64::from(self.count));
        // Integers and shifts, because every call runs this.
        let eighth = estimate >> 3;
        let (up, down) = if count >= 8 {
            (eighth, eighth - (eighth >> 3))
        } else {
            (estimate / (count + 1), estimate / (count + 2))
        };
        let next = match sample {
            _ if count == 0 => sample,
            // Never past the sample, so that equal samples are met exactly.
            _ if sample > estimate => estimate.saturating_add(up.max(1)).min(sample),
            _ => (estimate - down).max(sample),
        };
        self.estimate = next.max(1);
        self.count = self.count.saturating_add(1);
    }

    /// Restarts with this sample, when earlier ones are stale.
    pub(super) fn restart(&mut self, sample: Duration) {
        *self = Self::new();
        self.record(sample);
    }

    /// The estimate, if there were at least as many samples (255 suffice).
    #[inline]
    pub(super) fn after(&self, samples: u32) -> Option<Duration> {
        let enough = self.count > 0 && u32::from(self.count) >= samples.min(u8::MAX.into());
        enough.then(|| Duration::from_nanos(self.estimate))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn estimate(samples: impl IntoIterator<Item = f64>) -> f64 {
        let mut median = Median::new();
        for sample in samples {
            median.record(Duration::from_secs_f64(sample));
        }
        median.after(1).expect("at least one sample").as_secs_f64()
    }

    #[test]
    fn first_sample_is_the_estimate_and_extremes_are_valid() {
        let mut median = Median::new();
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
            let mut median = Median::new();
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
