//! How long a call holds its permit: an estimate that follows samples, and expires without them.
//!
//! Calls differ, so one number is not enough. There are four:
//!
//! | | follows | decides |
//! |---|---|---|
//! | `mean` | the mean of the times that permits are held, each counted up to `high` at most | how fast a queue moves |
//! | `least` | the time that about one call in a hundred stays below | whether a call can end in time on a free permit |
//! | `median` | the middle of the times that calls need | when a wait has become pointless |
//! | `high` | the time that about one call in thirty exceeds | with the median, the time that a call should have left while others compete |
//!
//! A queue moves at the mean, and a mean of unlike calls describes none of them. So the mean decides nothing else: a few slow calls
//! do not make quick calls seem too slow for their deadlines, and a single call moves the mean by no more than `high` allows.
//!
//! The quantiles move by steps on a logarithmic scale: a sample above raises the level, a sample below lowers it, and the ratio of
//! the steps sets the quantile. `least` falls to a lower sample at once and rises by a small step: one quick call proves that calls
//! can be quick, while many slow ones are needed to disprove it. So an estimate that refuses calls needs a single quick call to
//! recover.
//!
//! There is no fixed duration. Without samples, the weight of old ones halves every [`HALF_LIFE_MEANS`] means, until the estimate
//! is unknown. With too few samples `least` is zero, and refuses no call.
//!
//! A bench justifies the atomics: see the rows `bulkhead` and `load_shed` of `cost`. Only the mean and its weight have to change
//! together. A quantile that loses a step to a race makes it with the next sample.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// The most samples that the mean remembers: its standard error is then an eighth of the samples' deviation.
const MAX_WEIGHT: f32 = 32.0;

/// Below this weight the estimate is unknown, and the next sample is the first.
const MIN_WEIGHT: f32 = 0.5;

/// With fewer samples `least` is unknown.
const MIN_WEIGHT_FOR_LEAST: f32 = 8.0;

/// With fewer samples the median is their mean on the logarithmic scale; with more it moves by fixed steps.
const MIN_WEIGHT_FOR_STEPS: f32 = 16.0;

/// The number of means without a sample after which weights begin to decay.
const DECAY_AFTER_MEANS: f64 = 4.0;

/// Weights halve in this many means.
const HALF_LIFE_MEANS: f64 = 16.0;

/// Calls that compete for permits should have this many medians left. For exponential times nine calls in ten take less.
const CAUTIOUS_MEDIANS: f64 = 3.5;

/// The estimated time of calls; zero where it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTime {
    /// The mean time that a permit is held.
    pub(crate) mean: Duration,
    /// Hardly any call takes less.
    pub(crate) least: Duration,
    pub(crate) median: Duration,
    /// Nine calls in ten take less, unless there are several kinds of calls: then most take far less.
    pub(crate) cautious: Duration,
}

/// The time of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// How long the call held its permit.
    pub(crate) held: Duration,
    /// The part of it that had to fit into the deadline: excludes the body of a response that may continue beyond it.
    pub(crate) needed: Duration,
}

impl From<Duration> for Took {
    fn from(held: Duration) -> Self {
        Self { held, needed: held }
    }
}

/// Lock-free, O(1).
#[derive(Debug)]
pub(crate) struct Estimate {
    /// See [`Mean`].
    mean: AtomicU64,
    sampled_at: AtomicU64,
    least: Quantile,
    median: Quantile,
    high: Quantile,
}

impl Estimate {
    pub(crate) fn new() -> Self {
        Self {
            mean: AtomicU64::new(0),
            sampled_at: AtomicU64::new(0),
            least: Quantile::default(),
            median: Quantile::default(),
            high: Quantile::default(),
        }
    }

    /// Records the time of a call.
    #[inline]
    pub(crate) fn sample(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let word = self.mean.load(Ordering::Acquire);
        let before = self.decayed(word, now);
        let high = self.high.follow_high(held, before.weight);
        self.least.follow_low(needed, before.weight);
        self.median.follow_middle(needed, before.weight);
        self.add_to_mean(now, held.min(high), word, before);
    }

    /// Records a call that was cut or abandoned after this time. It does not count if other calls take longer.
    pub(crate) fn at_least(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let word = self.mean.load(Ordering::Acquire);
        let before = self.decayed(word, now);
        if before.is_unknown() {
            return self.sample(now, took);
        }
        if needed >= self.median.get() {
            self.least.follow_low(needed, before.weight);
            self.median.follow_middle(needed, before.weight);
        }
        if held.nanos() >= before.nanos {
            let high = self.high.follow_high(held, before.weight);
            self.add_to_mean(now, held.min(high), word, before);
        }
    }

    #[inline]
    fn add_to_mean(&self, now: Instant, held: Scaled, mut word: u64, mut before: Mean) {
        loop {
            let after = before.with(held.nanos()).pack();
            match self.mean.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(actual) => (word, before) = (actual, self.decayed(actual, now)),
            }
        }
        // A racing sample may store a time that is earlier by a moment.
        self.sampled_at.store(now.as_nanos(), Ordering::Release);
    }

    #[inline]
    fn decayed(&self, word: u64, now: Instant) -> Mean {
        let mean = Mean::unpack(word);
        let unit = f64::from(mean.nanos);
        let idle = now.as_nanos().saturating_sub(self.sampled_at.load(Ordering::Acquire)) as f64;
        let beyond = idle - DECAY_AFTER_MEANS * unit;
        // Busy services return here, and do not pay for `exp2`.
        if beyond <= 0.0 || unit == 0.0 {
            return mean;
        }
        Mean { weight: mean.weight * f64::exp2(-beyond / (HALF_LIFE_MEANS * unit)) as f32, ..mean }
    }

    /// Whether a call can be expected to fit into `time`. Cheaper than [`read`](Self::read), and never too strict.
    #[inline]
    pub(crate) fn may_fit(&self, time: Duration) -> bool {
        self.least.get() <= Scaled::of(time)
    }

    /// Whether more than half of the weight is left since the last sample.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        let word = self.mean.load(Ordering::Acquire);
        self.decayed(word, now).weight > Mean::unpack(word).weight / 2.0
    }

    #[inline]
    pub(crate) fn read(&self, now: Instant) -> ServiceTime {
        let mean = self.decayed(self.mean.load(Ordering::Acquire), now);
        if mean.is_unknown() {
            return ServiceTime::default();
        }
        let (median, high) = (self.median.get().duration(), self.high.get().duration());
        ServiceTime {
            mean: Duration::from_nanos(mean.nanos as u64),
            least: if mean.weight < MIN_WEIGHT_FOR_LEAST { Duration::ZERO } else { self.least.get().duration() },
            median,
            cautious: high.min(median.mul_f64(CAUTIOUS_MEDIANS)),
        }
    }
}

/// A time of one nanosecond or more, as the bits of an `f32`, which rise with its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scaled(u32);

impl Scaled {
    /// A doubling is 64 steps.
    const STEP: u32 = 1 << 17;

    #[inline]
    fn of(time: Duration) -> Self {
        Self((nanos(time) as f32).max(1.0).to_bits())
    }

    #[inline]
    fn nanos(self) -> f32 {
        f32::from_bits(self.0)
    }

    fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos() as u64)
    }
}

/// A quantile.
#[derive(Debug, Default)]
struct Quantile(AtomicU32);

impl Quantile {
    #[inline]
    fn get(&self) -> Scaled {
        Scaled(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    fn set(&self, level: u32) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Down to the sample, up by a step. The level does not decay: a time without calls does not make calls slower.
    #[inline]
    fn follow_low(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if level == 0 || sample < level {
            self.set(sample);
        } else if sample > level && weight >= MIN_WEIGHT_FOR_LEAST {
            self.set(sample.min(level + Scaled::STEP));
        }
    }

    /// Up by half an octave (with few samples, by up to an octave), down by a step.
    #[inline]
    fn follow_high(&self, Scaled(sample): Scaled, weight: f32) -> Scaled {
        let Scaled(level) = self.get();
        let next = if weight < MIN_WEIGHT {
            sample
        } else if sample > level {
            let distance = sample - level;
            level + share(distance, weight).clamp(31 * Scaled::STEP, 64 * Scaled::STEP).min(distance)
        } else {
            sample.max(level.saturating_sub(Scaled::STEP))
        };
        self.set(next);
        Scaled(next)
    }

    /// Up and down by the same steps. With few samples up by half an octave at most, and down by the sample's share.
    #[inline]
    fn follow_middle(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if weight < MIN_WEIGHT {
            return self.set(sample);
        }
        let distance = sample.abs_diff(level);
        let step = if weight < MIN_WEIGHT_FOR_STEPS { share(distance, weight) } else { distance.min(4 * Scaled::STEP) };
        if sample > level {
            self.set(level + step.min(32 * Scaled::STEP));
        } else if step > 0 {
            self.set(level - step);
        }
    }
}

/// How far one more sample moves a mean of `weight` samples.
#[inline]
fn share(distance: u32, weight: f32) -> u32 {
    (distance as f32 / (weight + 1.0)) as u32
}

/// The mean in nanoseconds and the weight of its samples, packed into one word so that they change together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mean {
    nanos: f32,
    weight: f32,
}

impl Mean {
    fn is_unknown(self) -> bool {
        self.weight < MIN_WEIGHT
    }

    #[inline]
    fn with(self, sample: f32) -> Self {
        if self.is_unknown() {
            return Self { nanos: sample, weight: 1.0 };
        }
        let weight = (self.weight + 1.0).min(MAX_WEIGHT);
        Self { nanos: self.nanos + (sample - self.nanos) / weight, weight }
    }

    #[inline]
    fn pack(self) -> u64 {
        u64::from(self.nanos.to_bits()) << 32 | u64::from(self.weight.to_bits())
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        Self { nanos: f32::from_bits((word >> 32) as u32), weight: f32::from_bits(word as u32) }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(1 << 63);

    /// Records one sample every tenth of a millisecond, as a busy service does, and returns the time after them.
    fn feed(estimate: &Estimate, mut now: Instant, samples: impl IntoIterator<Item = Duration>) -> Instant {
        for took in samples {
            now = now + MS / 10;
            estimate.sample(now, took.into());
        }
        now
    }

    fn exponential(random: &mut fastrand::Rng) -> f64 {
        -(1.0 - random.f64()).ln()
    }

    #[test]
    fn new_estimate_is_unknown() {
        let estimate = Estimate::new();
        assert_eq!(estimate.read(START), ServiceTime::default());
        assert!(estimate.may_fit(Duration::ZERO));
    }

    #[test]
    fn constant_times_are_estimated_exactly() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [8 * MS; 200]);
        let all = ServiceTime { mean: 8 * MS, least: 8 * MS, median: 8 * MS, cautious: 8 * MS };
        assert_eq!(estimate.read(now), all);
        assert!(estimate.may_fit(8 * MS) && !estimate.may_fit(7 * MS));
    }

    #[test]
    fn exponential_times_have_the_documented_quantiles() {
        let estimate = Estimate::new();
        let mut random = fastrand::Rng::with_seed(7);
        let (mut now, total) = (START, 20_000);
        let (mut below_least, mut below_median, mut below_cautious, mut sum) = (0, 0, 0, 0.0);
        for _ in 0..total {
            let took = MS.mul_f64(10.0 * exponential(&mut random));
            let read = estimate.read(now);
            below_least += u32::from(took < read.least);
            below_median += u32::from(took < read.median);
            below_cautious += u32::from(took < read.cautious);
            sum += read.mean.as_secs_f64() * 1e3;
            now = feed(&estimate, now, [took]);
        }
        let share = |count: u32| f64::from(count) / f64::from(total);
        assert!((0.005..0.03).contains(&share(below_least)), "{}", share(below_least));
        assert!((0.46..0.54).contains(&share(below_median)), "{}", share(below_median));
        assert!((0.86..0.95).contains(&share(below_cautious)), "{}", share(below_cautious));
        let mean = sum / f64::from(total);
        assert!((9.0..10.5).contains(&mean), "{mean}");
    }

    #[test]
    fn one_outlier_does_not_move_the_mean_of_two_kinds() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, (0..2000).map(|n| if n % 5 == 0 { 200 * MS } else { 10 * MS }));
        let read = estimate.read(now);
        assert!((30..65).contains(&read.mean.as_millis()), "{read:?}");
        assert!(read.least < 11 * MS && read.median < 11 * MS && read.cautious < 40 * MS, "{read:?}");

        for warm in [3, 1000] {
            let estimate = Estimate::new();
            let now = feed(&estimate, START, std::iter::repeat_n(5 * MS, warm));
            let now = feed(&estimate, now, [300_000 * MS]);
            let read = estimate.read(now);
            assert!(read.mean < 20 * MS && read.cautious < 30 * MS && read.least < 6 * MS, "{warm}: {read:?}");
        }
    }

    /// A cold start: the first call includes all setup.
    #[test]
    fn few_quick_samples_outweigh_a_slow_first_one() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [3000 * MS]);
        assert_eq!(estimate.read(now).least, Duration::ZERO, "one call proves nothing");
        let now = feed(&estimate, now, [5 * MS; 15]);
        let read = estimate.read(now);
        assert!(read.least == 5 * MS && read.median < 10 * MS && read.cautious < 30 * MS, "{read:?}");
        assert!(read.mean < 250 * MS, "{read:?}");
    }

    #[test]
    fn least_follows_rare_quick_calls() {
        let estimate = Estimate::new();
        let mut now = START;
        for _ in 0..50 {
            now = feed(&estimate, now, [5 * MS]);
            now = feed(&estimate, now, [2000 * MS; 49]);
            assert!(estimate.may_fit(100 * MS), "{:?}", estimate.read(now));
        }
    }

    #[test]
    fn estimate_follows_a_slow_phase_and_its_end() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [10 * MS; 100]);
        let now = feed(&estimate, now, [100 * MS; 250]);
        let read = estimate.read(now);
        assert!(read.mean > 95 * MS && read.median > 95 * MS && read.least > 95 * MS, "{read:?}");
        let now = feed(&estimate, now, [10 * MS]);
        assert!(estimate.may_fit(10 * MS), "one good call is enough");
        let now = feed(&estimate, now, [10 * MS; 200]);
        let read = estimate.read(now);
        assert!(read.mean < 11 * MS && read.median < 11 * MS && read.cautious < 20 * MS, "{read:?}");
    }

    #[test]
    fn samples_decay_without_calls() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [1000 * MS; 100]);
        assert_eq!(estimate.read(now + Duration::from_secs(4)).least, 1000 * MS);
        assert_eq!(estimate.read(now + Duration::from_secs(40)).least, Duration::ZERO, "few samples say little");
        assert_eq!(estimate.read(now + Duration::from_secs(40)).mean, 1000 * MS);
        let later = now + Duration::from_secs(600);
        assert_eq!(estimate.read(later), ServiceTime::default());
        estimate.sample(later, (10 * MS).into());
        assert_eq!(estimate.read(later).mean, 10 * MS, "yesterday is forgotten");
    }

    #[test]
    fn lower_bound_never_lowers_the_estimate() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [10 * MS; 100]);
        let before = estimate.read(now);
        estimate.at_least(now, MS.into());
        assert_eq!(estimate.read(now), before);
        for _ in 0..300 {
            estimate.at_least(now, (40 * MS).into());
        }
        let read = estimate.read(now);
        assert!(read.mean > 39 * MS && read.median > 39 * MS && read.least > 39 * MS, "{read:?}");
    }

    #[test]
    fn long_body_slows_the_queue_and_refuses_no_call() {
        let estimate = Estimate::new();
        for _ in 0..100 {
            estimate.sample(START, Took { held: 1000 * MS, needed: 10 * MS });
        }
        let read = estimate.read(START);
        assert_eq!((read.mean, read.least, read.median), (1000 * MS, 10 * MS, 10 * MS));
    }

    #[test]
    fn extreme_times_and_instants_do_not_panic() {
        let estimate = Estimate::new();
        for took in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::from_nanos(1)] {
            for _ in 0..20 {
                estimate.sample(START, took.into());
                estimate.at_least(Instant::MAX, took.into());
                let _ = (estimate.read(START), estimate.read(Instant::MAX), estimate.read(Instant::from_nanos(0)));
            }
        }
    }

    proptest! {
        #[test]
        fn estimates_stay_within_the_samples(samples in prop::collection::vec(1u64..1_000_000_000, 1..200)) {
            let estimate = Estimate::new();
            for (n, &sample) in samples.iter().enumerate() {
                estimate.sample(START, Duration::from_nanos(sample).into());
                let (min, max) = (samples[..=n].iter().min().unwrap(), samples[..=n].iter().max().unwrap());
                let ServiceTime { mean, least, median, cautious } = estimate.read(START);
                for time in [mean, median, cautious] {
                    let time = nanos(time) as f64;
                    prop_assert!(time >= *min as f64 * 0.999 - 1.0 && time <= *max as f64 * 1.001, "{time}");
                }
                prop_assert!(nanos(least) as f64 <= *max as f64 * 1.001);
            }
        }

        /// After any history, one quick call makes calls admissible again.
        #[test]
        fn one_quick_call_admits_again_after_any_history(history in prop::collection::vec(1u64..10_000_000_000, 0..200)) {
            let estimate = Estimate::new();
            let now = feed(&estimate, START, history.into_iter().map(Duration::from_nanos));
            feed(&estimate, now, [MS]);
            prop_assert!(estimate.may_fit(MS));
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    #[test]
    fn loom_mean_loses_no_sample() {
        loom::model(|| {
            let estimate = Arc::new(Estimate::new());
            let now = Instant::from_nanos(1 << 40);
            let took = |nanos| Took::from(Duration::from_nanos(nanos));
            estimate.sample(now, took(64));
            let theirs = Arc::clone(&estimate);
            let thread = loom::thread::spawn(move || theirs.sample(now, took(64)));
            estimate.sample(now, took(64));
            thread.join().expect("no panic");
            let mean = Mean::unpack(estimate.mean.load(Ordering::Acquire));
            assert_eq!((mean.nanos, mean.weight), (64.0, 3.0));
        });
    }
}
