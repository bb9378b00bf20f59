//! What makes an endpoint an outlier. Each criterion names the outliers of one interval and how far out each is; whether one is
//! ejected is decided in [`super`].
//!
//! Success rate and failure percentage are those of gRFC A50 ("gRPC xDS Outlier Detection Support"). One thing is added to the success
//! rate: the law of A50 compares with the standard deviation of the set, here of the tier, so in a set without failures a single failed call in a
//! hundred makes an outlier. A gap must also be worth an ejection and be more than chance; see [`SuccessRate`].
//!
//! Latency is not in A50. The law is: the endpoint's median is more than `factor` times the median of the medians of the others, and
//! more than `floor`.
//! - Medians, because a few slow calls are normal and belong to the calls as often as to the endpoint. The median of the others stays
//!   sound until half of them are slow too, and then slowness is the normal case.
//! - Of the *others*, so that in a set of three the slow one does not raise its own reference.
//! - A floor, because 3 ms instead of 1 ms harms no caller.
//! - In two intervals in a row (see [`super`]), because a restart or a cold cache passes by itself.

use std::time::Duration;

use super::super::call_counter::CallCounts;

/// The success rate of the endpoint is far below that of its tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SuccessRate {
    /// Below the mean by this many thousandths of the standard deviation.
    pub(crate) stdev_factor: u32,
    /// The percentage of outliers that are ejected.
    pub(crate) enforcement: u32,
    /// Fewer endpoints with enough calls have no outlier.
    pub(crate) minimum_hosts: usize,
    /// An endpoint with fewer calls in the interval is left out.
    pub(crate) request_volume: u64,
    /// Below the mean by at least this fraction. A50 has none, which is 0.
    pub(crate) min_gap: f64,
    /// Below the mean by this many standard errors of the endpoint's own rate. A50 has none, which is 0.
    pub(crate) standard_errors: f64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { min_gap: 0.05, standard_errors: 3.0, ..Self::A50 }
    }
}

/// The failure percentage of the endpoint is high, whatever the others do; or, in a tier that is too small for them to show what is usual, it is
/// high and the others are well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailurePercentage {
    /// An outlier fails at least this percentage of its calls. A50 says "greater than or equal" where it defines the setting, as
    /// Envoy does, and "greater" in the algorithm, by which 100 would never eject.
    pub(crate) threshold: u32,
    pub(crate) enforcement: u32,
    /// In a smaller tier, [`small_tier_threshold`](Self::small_tier_threshold) counts.
    pub(crate) minimum_hosts: usize,
    pub(crate) request_volume: u64,
    /// In a small tier an outlier fails at least this percentage of its calls, and four times that of the others together. The standard
    /// deviation of up to four is too large for an outlier among them. A50 ejects none there, which is 101.
    pub(crate) small_tier_threshold: u32,
}

/// The others of a small tier are well if they fail at most this part of what an outlier fails.
const WELL: f64 = 0.25;

impl FailurePercentage {
    /// The defaults of A50, without additions.
    pub(crate) const A50: Self =
        Self { threshold: 85, enforcement: 100, minimum_hosts: 5, request_volume: 50, small_tier_threshold: 101 };
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { small_tier_threshold: 50, ..Self::A50 }
    }
}

/// The endpoint is much slower than the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slowness {
    pub(crate) factor: f64,
    pub(crate) floor: Duration,
    pub(crate) enforcement: u32,
    /// Fewer endpoints with enough successes have no outlier. Of two, nobody knows which one is normal.
    pub(crate) minimum_hosts: usize,
    pub(crate) request_volume: u64,
}

impl Default for Slowness {
    fn default() -> Self {
        Self { factor: 4.0, floor: Duration::from_millis(50), enforcement: 100, minimum_hosts: 3, request_volume: 20 }
    }
}

/// An endpoint by its index, and how far out it is: more is worse.
pub(super) type Outlier = (usize, f64);

impl SuccessRate {
    /// The defaults of A50, without additions.
    pub(crate) const A50: Self = Self {
        stdev_factor: 1900,
        enforcement: 100,
        minimum_hosts: 5,
        request_volume: 100,
        min_gap: 0.0,
        standard_errors: 0.0,
    };

    pub(super) fn outliers(&self, counts: &[(usize, CallCounts)]) -> Vec<Outlier> {
        let judged = || counts.iter().filter(|(_, counts)| counts.volume() >= self.request_volume.max(1));
        let number = judged().count();
        if number == 0 || number < self.minimum_hosts {
            return Vec::new();
        }
        let mean = judged().map(|(_, counts)| counts.success_rate()).sum::<f64>() / number as f64;
        let variance = judged().map(|(_, counts)| (counts.success_rate() - mean).powi(2)).sum::<f64>() / number as f64;
        let threshold = mean - variance.sqrt() * f64::from(self.stdev_factor) / 1000.0;
        judged()
            .filter(|(_, counts)| {
                let rate = counts.success_rate();
                let error = (mean * (1.0 - mean) / counts.volume() as f64).max(0.0).sqrt();
                rate < threshold && mean - rate >= self.min_gap.max(self.standard_errors * error)
            })
            .map(|(endpoint, counts)| (*endpoint, mean - counts.success_rate()))
            .collect()
    }
}

impl FailurePercentage {
    /// `hosts` is the size of the tier, ejected endpoints included.
    pub(super) fn outliers(&self, hosts: usize, counts: &[(usize, CallCounts)]) -> Vec<Outlier> {
        let is_small = hosts < self.minimum_hosts;
        let threshold = if is_small { self.small_tier_threshold } else { self.threshold };
        counts
            .iter()
            .filter(|(_, counts)| counts.volume() >= self.request_volume.max(1))
            // In integers: 85 of 100 are 85 percent.
            .filter(|(_, counts)| {
                u128::from(counts.failures) * 100 >= u128::from(threshold) * u128::from(counts.volume())
            })
            .filter(|(endpoint, own)| !is_small || self.are_others_well(*endpoint, *own, counts))
            .map(|(endpoint, counts)| (*endpoint, 1.0 - counts.success_rate()))
            .collect()
    }
}

impl FailurePercentage {
    fn are_others_well(&self, endpoint: usize, own: CallCounts, counts: &[(usize, CallCounts)]) -> bool {
        let others = counts.iter().filter(|(other, _)| *other != endpoint);
        let (failures, volume) = others.fold((0u64, 0u64), |(failures, volume), (_, counts)| {
            (failures.saturating_add(counts.failures), volume.saturating_add(counts.volume()))
        });
        volume >= self.request_volume.max(1) && failures as f64 / volume as f64 <= WELL * (1.0 - own.success_rate())
    }
}

impl Slowness {
    pub(super) fn outliers(&self, counts: &[(usize, CallCounts)]) -> Vec<Outlier> {
        let mut medians: Vec<(Duration, usize)> = counts
            .iter()
            .filter(|(_, counts)| counts.successes >= self.request_volume.max(1))
            .filter_map(|(endpoint, counts)| counts.latency.map(|latency| (latency, *endpoint)))
            .collect();
        if medians.len() < self.minimum_hosts.max(2) {
            return Vec::new();
        }
        medians.sort_unstable();
        // The lower of the two in the middle, once this one is left out: with two others, the quicker one is the reference.
        let reference = |own: usize| {
            let middle = (medians.len() - 2) / 2;
            let middle = if own <= middle { middle + 1 } else { middle };
            medians.get(middle).map_or(Duration::MAX, |(latency, _)| *latency)
        };
        let outlying = |(place, (latency, endpoint)): (usize, &(Duration, usize))| {
            let reference = reference(place);
            let ratio = latency.as_secs_f64() / reference.as_secs_f64();
            (ratio > self.factor && *latency > self.floor).then_some((*endpoint, ratio))
        };
        medians.iter().enumerate().filter_map(outlying).collect()
    }
}
