//! A streaming quantile of latencies, which forgets.
//!
//! The samples are counted in buckets of a log-linear histogram, as in Gil Tene's *HdrHistogram*: sixteen buckets for each power of
//! two, so that a bound of a bucket is at most 6.25 % above its samples. All counts are halved once per half-life (exponential
//! decay: Cormode, Korn and Tirthapura, *Exponentially Decayed Aggregates on Data Streams*, 2008), so that a shift of the latencies
//! shows within a few half-lives, and old samples do not count as samples at all.
//!
//! The bucket of the quantile is tracked as samples come, with the weight below it. So a sample costs a few additions, and reading
//! the quantile costs one. A sample stays above or below the quantile by itself, so that a sample that is only known to be at least
//! some latency, such as that of a cancelled call, counts with that bound if it is above the quantile.

use std::time::Duration;

use crate::ground::time::{self, Instant};

/// Nanoseconds in a unit of the smallest buckets, as a power of two: 16 µs.
const UNIT_BITS: u32 = 14;
/// Buckets for each power of two, as a power of two.
const PRECISION_BITS: u32 = 4;
const PER_OCTAVE: usize = 1 << PRECISION_BITS;
/// Powers of two above the smallest buckets: up to about 69 s.
const OCTAVES: usize = 18;
/// The last bucket counts what is longer than all others.
const BUCKETS: usize = PER_OCTAVE * (OCTAVES + 1) + 1;
const LONGER: usize = BUCKETS - 1;
/// The weight of a new sample: it can be halved eight times before it is lost.
const WEIGHT: u32 = 1 << 8;

/// What to estimate, and from what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuantileRules {
    /// Within 0 and 1.
    pub(crate) quantile: f64,
    /// The least weight of all samples, in fresh samples.
    pub(crate) min_samples: u32,
    /// The time in which the weight of a sample halves.
    pub(crate) half_life: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DecayingQuantile {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    /// The bucket of the quantile, and the weight in the buckets before it.
    bucket: usize,
    below: u64,
    /// The latest rules.
    rules: QuantileRules,
    /// When the counts were halved last.
    halved_at: Instant,
}

impl DecayingQuantile {
    pub(crate) fn new(rules: QuantileRules, now: Instant) -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, bucket: 0, below: 0, rules, halved_at: now }
    }

    /// Counts a sample.
    pub(crate) fn record(&mut self, sample: Duration, rules: &QuantileRules, now: Instant) {
        self.advance(rules, now);
        let bucket = bucket_of(sample);
        if self.count(bucket) > u32::MAX - WEIGHT {
            self.halve(1);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += WEIGHT;
        }
        self.total += u64::from(WEIGHT);
        if bucket < self.bucket {
            self.below += u64::from(WEIGHT);
        }
        self.track();
    }

    /// Counts a sample that is only known to be at least this long. It counts if it is above the quantile; otherwise it may belong to
    /// either side.
    pub(crate) fn record_at_least(&mut self, sample: Duration, rules: &QuantileRules, now: Instant) {
        self.advance(rules, now);
        if self.total > 0 && bucket_of(sample) >= self.bucket {
            self.record(sample, rules, now);
        }
    }

    /// The least latency that this share of the samples does not exceed, rounded up. `None` with too few samples, or if it is longer
    /// than can be measured.
    pub(crate) fn get(&mut self, rules: &QuantileRules, now: Instant) -> Option<Duration> {
        self.advance(rules, now);
        let enough = u64::from(rules.min_samples.max(1)) * u64::from(WEIGHT);
        (self.total >= enough && self.bucket != LONGER).then(|| bound_of(self.bucket))
    }

    /// Whether it holds no sample that counts.
    pub(crate) fn is_empty(&mut self, now: Instant) -> bool {
        let rules = self.rules;
        self.advance(&rules, now);
        self.total == 0
    }

    fn count(&self, bucket: usize) -> u32 {
        self.counts.get(bucket).copied().unwrap_or(0)
    }

    /// Applies the rules and the time that has passed.
    fn advance(&mut self, rules: &QuantileRules, now: Instant) {
        let is_moved = self.rules.quantile != rules.quantile;
        self.rules = *rules;
        if is_moved {
            self.track();
        }
        let half_life = time::nanos(rules.half_life).max(1);
        let halvings = now.nanos_since(self.halved_at) / half_life;
        if halvings > 0 {
            self.halved_at = self.halved_at + Duration::from_nanos(halvings * half_life);
            self.halve(u32::try_from(halvings).unwrap_or(u32::MAX));
        }
    }

    fn halve(&mut self, times: u32) {
        if self.total == 0 {
            return;
        }
        (self.total, self.bucket, self.below) = (0, 0, 0);
        for count in self.counts.iter_mut() {
            *count = count.checked_shr(times).unwrap_or(0);
            self.total += u64::from(*count);
        }
        self.track();
    }

    /// Moves to the bucket of the quantile.
    fn track(&mut self) {
        // At least one, so that the bucket is one with samples.
        let target = ((self.total as f64 * self.rules.quantile).ceil() as u64).clamp(1, self.total.max(1));
        while self.bucket < LONGER && self.below + u64::from(self.count(self.bucket)) < target {
            self.below += u64::from(self.count(self.bucket));
            self.bucket += 1;
        }
        while self.bucket > 0 && self.below >= target {
            self.bucket -= 1;
            self.below -= u64::from(self.count(self.bucket));
        }
    }
}

fn bucket_of(sample: Duration) -> usize {
    let units = time::nanos(sample) >> UNIT_BITS;
    // The smallest buckets are as wide as one unit, those of each later octave twice as wide as the ones before.
    let octave = (u64::BITS - (units >> PRECISION_BITS).leading_zeros()).saturating_sub(1);
    let bucket =
        if units < PER_OCTAVE as u64 { units } else { (u64::from(octave) << PRECISION_BITS) + (units >> octave) };
    usize::try_from(bucket).unwrap_or(LONGER).min(LONGER)
}

/// The end of the bucket.
fn bound_of(bucket: usize) -> Duration {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let units = (bucket - octave * PER_OCTAVE + 1) as u64;
    Duration::from_nanos(units << octave << UNIT_BITS)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(1 << 63);
    const P95: QuantileRules = QuantileRules { quantile: 0.95, min_samples: 1, half_life: Duration::from_secs(60) };

    fn of(samples: impl IntoIterator<Item = Duration>) -> Option<Duration> {
        let mut quantile = DecayingQuantile::new(P95, START);
        for sample in samples {
            quantile.record(sample, &P95, START);
        }
        quantile.get(&P95, START)
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn bounds_of_buckets_are_close_and_ascend() {
        let mut before = Duration::ZERO;
        for bucket in 0..LONGER {
            let bound = bound_of(bucket);
            assert!(bound > before, "bucket {bucket}");
            assert_eq!(bucket_of(bound - Duration::from_nanos(1)), bucket);
            assert_eq!(bucket_of(bound), bucket + 1);
            if bucket >= PER_OCTAVE {
                assert!(bound - before <= before / PER_OCTAVE as u32, "bucket {bucket}");
            }
            before = bound;
        }
        assert!(before > Duration::from_secs(60), "{before:?}");
        assert_eq!([Duration::ZERO, Duration::MAX].map(bucket_of), [0, LONGER]);
    }

    #[test]
    fn few_samples_have_no_quantile() {
        let rules = QuantileRules { min_samples: 20, ..P95 };
        let mut quantile = DecayingQuantile::new(P95, START);
        for _ in 0..19 {
            quantile.record(millis(5), &rules, START);
            assert_eq!(quantile.get(&rules, START), None);
        }
        quantile.record(millis(5), &rules, START);
        assert!(quantile.get(&rules, START).is_some_and(|bound| bound > millis(5) && bound <= millis(5) * 17 / 16));
    }

    #[test]
    fn quantile_longer_than_measurable_is_none() {
        assert_eq!(of([Duration::from_secs(3600); 100]), None);
        assert!(of([millis(2); 99].into_iter().chain([Duration::MAX])).is_some());
    }

    #[test]
    fn samples_age_and_are_forgotten() {
        let mut quantile = DecayingQuantile::new(P95, START);
        for _ in 0..100 {
            quantile.record(millis(100), &P95, START);
        }
        let later = START + 4 * P95.half_life;
        let rules = QuantileRules { min_samples: 6, ..P95 };
        assert!(quantile.get(&rules, later).is_some_and(|bound| bound > millis(100)));
        assert_eq!(quantile.get(&QuantileRules { min_samples: 7, ..P95 }, later), None, "100 / 16 are left");
        for _ in 0..200 {
            quantile.record(millis(5), &rules, later);
        }
        assert!(quantile.get(&rules, later).is_some_and(|bound| bound < millis(6)), "old samples weigh little");
        assert!(!quantile.is_empty(later));
        assert!(quantile.is_empty(later + 100 * P95.half_life));
        assert_eq!(quantile.get(&P95, later + 100 * P95.half_life), None);
    }

    #[test]
    fn full_bucket_halves_all() {
        let mut quantile = DecayingQuantile::new(P95, START);
        quantile.counts[bucket_of(millis(5))] = u32::MAX - 1;
        quantile.total = u64::from(u32::MAX - 1);
        quantile.record(millis(5), &P95, START);
        assert!(quantile.total < 1 << 31 | u64::from(WEIGHT));
        assert!(quantile.get(&P95, START).is_some_and(|bound| bound < millis(6)));
    }

    #[test]
    fn clock_that_goes_back_and_extreme_rules_do_no_harm() {
        let mut quantile = DecayingQuantile::new(P95, START);
        for rules in [
            QuantileRules { quantile: 0.0, min_samples: 0, half_life: Duration::ZERO },
            QuantileRules { quantile: 1.0, min_samples: u32::MAX, half_life: Duration::MAX },
        ] {
            for now in [START, Instant::from_nanos(1), Instant::MAX, START] {
                quantile.record(millis(1), &rules, now);
                let _ = quantile.get(&rules, now);
            }
        }
    }

    proptest! {
        /// A naive model: all samples, sorted.
        #[test]
        fn quantile_is_that_of_the_sorted_samples(
            micros in prop::collection::vec(0..70_000_000u64, 1..300),
            quantiles in prop::collection::vec(0.01..1.0f64, 1..4),
        ) {
            let mut quantile = DecayingQuantile::new(P95, START);
            for (index, sample) in micros.iter().enumerate() {
                let rules = QuantileRules { quantile: quantiles[index % quantiles.len()], ..P95 };
                quantile.record(Duration::from_micros(*sample), &rules, START);
                let mut sorted = micros[..=index].to_vec();
                sorted.sort_unstable();
                let rank = (sorted.len() as f64 * rules.quantile).ceil().max(1.0) as usize;
                let bucket = bucket_of(Duration::from_micros(sorted[rank - 1]));
                let expected = (bucket != LONGER).then(|| bound_of(bucket));
                prop_assert_eq!(quantile.get(&rules, START), expected);
            }
        }
    }
}
