//! How long a call takes without any wait: a lognormal distribution, which latencies resemble.

/// Standard deviations above the median.
const P99: f64 = 2.326_348;
const P999: f64 = 3.090_232;

/// In seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceTime {
    pub(crate) mean: f64,
    /// The standard deviation of the logarithm.
    sigma: f64,
}

impl ServiceTime {
    pub(crate) fn with_deviation(mean: f64, deviation: f64) -> Self {
        Self { mean, sigma: (deviation / mean).powi(2).ln_1p().sqrt() }
    }

    /// # Errors
    /// If no lognormal distribution has this mean and this 99th percentile.
    pub(crate) fn with_p99(mean: f64, p99: f64) -> Result<Self, String> {
        let most = (P99 * P99 / 2.0).exp();
        let ratio = p99 / mean;
        if !(1.0..=most).contains(&ratio) {
            return Err(format!(
                "--p99 is {ratio:.2} times --mean, and must be 1 to {most:.0} times of it; for other times give --deviation"
            ));
        }
        let sigma = P99 - (P99 * P99 - 2.0 * ratio.ln()).max(0.0).sqrt();
        Ok(Self { mean, sigma })
    }

    /// The variance, divided by the square of the mean.
    pub(crate) fn variation(self) -> f64 {
        (self.sigma * self.sigma).exp_m1()
    }

    pub(crate) fn median(self) -> f64 {
        self.above_median(0.0)
    }

    pub(crate) fn p99(self) -> f64 {
        self.above_median(P99)
    }

    pub(crate) fn p999(self) -> f64 {
        self.above_median(P999)
    }

    fn above_median(self, deviations: f64) -> f64 {
        self.mean * (deviations * self.sigma - self.sigma * self.sigma / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_and_deviation_describe_the_same_times() {
        for ratio in [1.0, 1.5, 4.0, 10.0, 14.9] {
            let time = ServiceTime::with_p99(0.04, 0.04 * ratio).unwrap();
            assert!((time.p99() / 0.04 - ratio).abs() < 1e-9, "{time:?}");
            let same = ServiceTime::with_deviation(0.04, 0.04 * time.variation().sqrt());
            assert!((same.p99() / time.p99() - 1.0).abs() < 1e-9, "{time:?} {same:?}");
            assert!(time.median() <= time.mean && time.p99() <= time.p999());
        }
    }

    #[test]
    fn impossible_percentiles_are_refused() {
        for p99 in [0.0, 0.039, 0.7, f64::INFINITY] {
            assert!(ServiceTime::with_p99(0.04, p99).is_err(), "{p99}");
        }
    }
}
