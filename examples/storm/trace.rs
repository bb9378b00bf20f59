//! The random draws: when requests start, and how long work takes.
//!
//! All of it is drawn from the seed before a run begins, or by the number of the request, so that every contestant
//! sees the same.

use std::time::Duration;

/// The intended start of each request, in order: one Poisson process per period, with its rate per second and its
/// length.
pub(crate) fn arrivals(seed: u64, stretches: impl IntoIterator<Item = (f64, Duration)>) -> Vec<Duration> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut arrivals = Vec::new();
    let mut start = Duration::ZERO;
    for (rate, length) in stretches {
        let gap = Duration::from_secs_f64(1.0 / rate);
        let mut next = start + exponential(&mut rng, gap);
        while next < start + length {
            arrivals.push(next);
            next += exponential(&mut rng, gap);
        }
        start += length;
    }
    arrivals
}

/// A generator of its own for the given attempt (1 = first) of a request.
pub(crate) fn chance_of(seed: u64, request: usize, attempt: u32) -> fastrand::Rng {
    let place = (request as u64) << 32 | u64::from(attempt);
    fastrand::Rng::with_seed(seed.rotate_left(17) ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A draw from the exponential distribution with this mean.
pub(crate) fn exponential(rng: &mut fastrand::Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - rng.f64()).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_its_own_rate() {
        let second = Duration::from_secs(1);
        let arrivals = arrivals(1, [(100.0, 10 * second), (1000.0, 10 * second), (50.0, 10 * second)]);
        let within =
            |from: u32, to: u32| arrivals.iter().filter(|at| (from * second..to * second).contains(at)).count();
        assert!(arrivals.is_sorted());
        assert!((900..1100).contains(&within(0, 10)), "{}", within(0, 10));
        assert!((9500..10500).contains(&within(10, 20)), "{}", within(10, 20));
        assert!((430..570).contains(&within(20, 30)), "{}", within(20, 30));
        assert_eq!(within(30, 60), 0);
    }
}
