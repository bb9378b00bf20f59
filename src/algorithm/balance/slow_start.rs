//! How much of its weight a new or recovered endpoint has.
//!
//! A cold endpoint (empty caches, no connections, code not yet compiled) is slow, and full load keeps it slow. The factor on its
//! weight is Envoy's: `max(min_weight, (time since start / window)^(1 / aggression))`. See "Slow start mode" in the Envoy
//! documentation. Envoy counts at least one second since the start; here `min_weight` alone sets the start, so that a window of
//! seconds is not shortened.
//!
//! Envoy's factor is of one endpoint, whatever the others are. If one of eight is warm, as after a rollout, or with a discovery that lists
//! others each time, it would get ten times the calls of each other one, and fail under them. So the factor has a [least
//! value](SlowStart::least_factor), by which a warm endpoint is drawn at most [`MOST_OF_WARM`] times as often as
//! its weight says. Comparison by load then adds to that: in the case above it gets two and a half times its share instead of six.

use std::time::Duration;

/// So many times as often as by its weight, a warm endpoint is drawn while others warm up.
const MOST_OF_WARM: f64 = 2.0;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SlowStart {
    /// How long an endpoint warms up. Zero turns slow start off.
    pub(crate) window: Duration,
    /// With 1 the factor grows linearly. With more it grows fast at first, with less it grows fast at the end.
    pub(crate) aggression: f64,
    /// The factor at the start, in `0.0..=1.0`.
    pub(crate) min_weight: f64,
}

/// The defaults of the balancer's config, where each has its reason.
impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::from_secs(10), aggression: 1.0, min_weight: 0.1 }
    }
}

impl SlowStart {
    /// The factor on the weight of an endpoint that has been usable for `age`.
    #[inline]
    pub(crate) fn factor(&self, age: Duration) -> f64 {
        // Most endpoints are warm, and the power is expensive.
        if age >= self.window {
            return 1.0;
        }
        let grown = age.div_duration_f64(self.window).powf(1.0 / self.aggression);
        // `max` ignores a power that is not a number.
        grown.max(self.min_weight).min(1.0)
    }

    /// The least factor in a set, from the weight of each endpoint and its [factor](Self::factor). It is zero if half of the weight is warm.
    pub(crate) fn least_factor(endpoints: impl Iterator<Item = (f64, f64)>) -> f64 {
        let (mut warm, mut warming) = (0.0, 0.0);
        for (weight, factor) in endpoints {
            *(if factor < 1.0 { &mut warming } else { &mut warm }) += weight;
        }
        let missing = (warm + warming) / MOST_OF_WARM - warm;
        if warming > 0.0 { (missing / warming).clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(aggression: f64, min_weight: f64) -> SlowStart {
        SlowStart { window: Duration::from_secs(60), aggression, min_weight }
    }

    #[test]
    fn warm_endpoint_gets_at_most_twice_its_share() {
        let one_of_eight = [(1.0, 1.0)].into_iter().chain([(1.0, 0.1); 7]);
        let least = SlowStart::least_factor(one_of_eight);
        assert!((1.0 / (1.0 + 7.0 * least) - 2.0 / 8.0).abs() < 1e-9, "{least}");
        assert_eq!(SlowStart::least_factor([(3.0, 1.0), (1.0, 0.1), (2.0, 0.1)].into_iter()), 0.0, "half is warm");
        assert_eq!(SlowStart::least_factor([(1.0, 0.1); 8].into_iter()), 0.5);
        assert_eq!(SlowStart::least_factor([(1.0, 1.0); 8].into_iter()), 0.0);
        assert_eq!(SlowStart::least_factor(std::iter::empty()), 0.0);
        assert_eq!(SlowStart::least_factor([(0.0, 0.1), (0.0, 1.0)].into_iter()), 0.0, "no endpoint has weight");
    }

    #[test]
    fn factor_matches_envoys_formula() {
        let table = [
            (1.0, 0.1, 0, 0.1),
            (1.0, 0.1, 3, 0.1),
            (1.0, 0.1, 15, 0.25),
            (1.0, 0.1, 30, 0.5),
            (1.0, 0.1, 59, 59.0 / 60.0),
            (1.0, 0.1, 60, 1.0),
            (1.0, 0.1, 6000, 1.0),
            // The square root: half of the weight after a quarter of the window.
            (2.0, 0.1, 15, 0.5),
            (2.0, 0.1, 0, 0.1),
            // The square: a quarter after half of it.
            (0.5, 0.1, 30, 0.25),
            (0.5, 0.1, 15, 0.1),
            (1.0, 0.0, 0, 0.0),
            (1.0, 0.35, 15, 0.35),
        ];
        for (aggression, min_weight, seconds, expected) in table {
            let factor = start(aggression, min_weight).factor(Duration::from_secs(seconds));
            assert!((factor - expected).abs() < 1e-12, "{aggression} {min_weight} {seconds}: {factor}");
        }
    }

    #[test]
    fn window_of_zero_is_warm_at_once() {
        assert_eq!(SlowStart { window: Duration::ZERO, ..SlowStart::default() }.factor(Duration::ZERO), 1.0);
    }

    #[test]
    fn bad_aggression_is_no_factor_beyond_the_bounds() {
        for aggression in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let factor = start(aggression, 0.1).factor(Duration::from_secs(30));
            assert!((0.1..=1.0).contains(&factor), "{aggression}: {factor}");
        }
    }

    proptest! {
        #[test]
        fn factor_never_falls_with_age(aggression in 0.1..10.0f64, min_weight in 0.0..=1.0f64, younger in 0..90_000u64, more in 0..90_000u64) {
            let slow_start = start(aggression, min_weight);
            let [before, after] = [younger, younger + more].map(|millis| slow_start.factor(Duration::from_millis(millis)));
            prop_assert!(min_weight <= before && before <= after && after <= 1.0);
        }
    }
}
