//! How long a call holds its permit: an estimate that follows its samples, and forgets when there are none.
//!
//! Calls are not alike, so one number is not enough. Four are kept:
//!
//! | | follows | decides |
//! |---|---|---|
//! | `mean` | the mean of the times that permits are held, each counted up to `high` at the most | how fast a queue moves |
//! | `least` | what about one call in a hundred stays below | whether a call has a chance on a free permit |
//! | `median` | the middle of what calls need | when a wait has become pointless |
//! | `high` | what about one call in thirty exceeds | with the median, what a call should have left while others compete |
//!
//! A queue moves at the mean, and a mean of unlike calls says little about any of them. So it decides nothing else: a few slow calls
//! do not make quick calls hopeless, and a single one moves the mean by no more than `high` allows.
//!
//! The quantiles are tracked by steps on a logarithmic scale: a sample above moves the number up, a sample below moves it down,
//! and the ratio of the steps is the quantile. `least` falls to the sample at once and rises by a small step: one call that was
//! quicker is proof that calls can be, while many are needed to believe that they no longer are. So an estimate that refuses calls
//! needs a single good one to change its mind.
//!
//! Nothing here is a fixed duration. In a silence the samples count for less, by half every [`HALVES_IN`] means, until nothing is
//! known: with too few samples `least` is zero, and refuses no call.
//!
//! A bench justifies the atomics: see the rows `bulkhead` and `load_shed` of `cost`. Only the mean and its weight have to change
//! together. A quantile that loses a step to a race takes it with the next sample.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// How many samples the mean follows: its standard error is then an eighth of the samples' deviation.
const MEMORY: f32 = 32.0;

/// With less than half a sample nothing is known, and the next one is the first.
const KNOWN: f32 = 0.5;

/// With fewer samples nothing is said of what calls take at the least.
const ENOUGH: f32 = 8.0;

/// With fewer samples the median is their mean on the logarithmic scale, and moves by fixed steps afterwards.
const SETTLED: f32 = 16.0;

/// How many means may pass without news before the samples begin to count for less.
const FRESH_FOR: f64 = 4.0;

/// After a further silence of so many means they count for half.
const HALVES_IN: f64 = 16.0;

/// Calls that compete for permits should have that many medians left. For exponential times nine calls in ten take less.
const CAUTION: f64 = 3.5;

/// What is known of the time that calls take; zero where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTime {
    /// How long a permit is held.
    pub(crate) mean: Duration,
    /// What hardly any call stays below.
    pub(crate) least: Duration,
    pub(crate) median: Duration,
    /// What nine calls in ten stay below, unless calls are of several kinds: then what most stay below by far.
    pub(crate) cautious: Duration,
}

/// The time of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// How long it held its permit.
    pub(crate) held: Duration,
    /// How much of that had to fit into its deadline: not the body of a response that may go on beyond it.
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
    least: Level,
    median: Level,
    high: Level,
}

impl Estimate {
    pub(crate) fn new() -> Self {
        Self {
            mean: AtomicU64::new(0),
            sampled_at: AtomicU64::new(0),
            least: Level::default(),
            median: Level::default(),
            high: Level::default(),
        }
    }

    /// A call took that long.
    #[inline]
    pub(crate) fn sample(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let word = self.mean.load(Ordering::Acquire);
        let before = self.faded(word, now);
        let high = self.high.rise(held, before.weight);
        self.least.fall(needed, before.weight);
        self.median.follow(needed, before.weight);
        self.add_to_mean(now, held.min(high), word, before);
    }

    /// A call took at least that long: it was cut or given up. Says nothing if others take longer.
    pub(crate) fn at_least(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let word = self.mean.load(Ordering::Acquire);
        let before = self.faded(word, now);
        if before.is_unknown() {
            return self.sample(now, took);
        }
        if needed >= self.median.get() {
            self.least.fall(needed, before.weight);
            self.median.follow(needed, before.weight);
        }
        if held.nanos() >= before.nanos {
            let high = self.high.rise(held, before.weight);
            self.add_to_mean(now, held.min(high), word, before);
        }
    }

    #[inline]
    fn add_to_mean(&self, now: Instant, held: Scaled, mut word: u64, mut before: Mean) {
        loop {
            let after = before.with(held.nanos()).pack();
            match self.mean.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(actual) => (word, before) = (actual, self.faded(actual, now)),
            }
        }
        // A racing sample may store an earlier time; both are of this moment.
        self.sampled_at.store(now.as_nanos(), Ordering::Release);
    }

    #[inline]
    fn faded(&self, word: u64, now: Instant) -> Mean {
        let mean = Mean::unpack(word);
        let unit = f64::from(mean.nanos);
        let silence = now.as_nanos().saturating_sub(self.sampled_at.load(Ordering::Acquire)) as f64;
        let beyond = silence - FRESH_FOR * unit;
        // Busy services never get past this, and never pay for the power.
        if beyond <= 0.0 || unit == 0.0 {
            return mean;
        }
        Mean { weight: mean.weight * f64::exp2(-beyond / (HALVES_IN * unit)) as f32, ..mean }
    }

    /// Whether a call may well take no longer than `time`. Cheaper than to [`read`](Self::read), and never too strict.
    #[inline]
    pub(crate) fn may_fit(&self, time: Duration) -> bool {
        self.least.get() <= Scaled::of(time)
    }

    /// Whether silence has left more than half of what is known.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        let word = self.mean.load(Ordering::Acquire);
        self.faded(word, now).weight > Mean::unpack(word).weight / 2.0
    }

    #[inline]
    pub(crate) fn read(&self, now: Instant) -> ServiceTime {
        let mean = self.faded(self.mean.load(Ordering::Acquire), now);
        if mean.is_unknown() {
            return ServiceTime::default();
        }
        let (median, high) = (self.median.get().duration(), self.high.get().duration());
        ServiceTime {
            mean: Duration::from_nanos(mean.nanos as u64),
            least: if mean.weight < ENOUGH { Duration::ZERO } else { self.least.get().duration() },
            median,
            cautious: high.min(median.mul_f64(CAUTION)),
        }
    }
}

/// A time of one nanosecond or more as the bits of a number in single precision, which rise with its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scaled(u32);

impl Scaled {
    /// A doubling is 64 of them.
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
struct Level(AtomicU32);

impl Level {
    #[inline]
    fn get(&self) -> Scaled {
        Scaled(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    fn set(&self, level: u32) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Down to the sample, up by a step. A silence does not make calls slower, so it is not forgotten.
    #[inline]
    fn fall(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if level == 0 || sample < level {
            self.set(sample);
        } else if sample > level && weight >= ENOUGH {
            self.set(sample.min(level + Scaled::STEP));
        }
    }

    /// Up by half an octave or, of few samples, by up to an octave; down by a step.
    #[inline]
    fn rise(&self, Scaled(sample): Scaled, weight: f32) -> Scaled {
        let Scaled(level) = self.get();
        let next = if weight < KNOWN {
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

    /// Up and down by the same steps; of few samples up by half an octave at the most, and down by the sample's share.
    #[inline]
    fn follow(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if weight < KNOWN {
            return self.set(sample);
        }
        let distance = sample.abs_diff(level);
        let step = if weight < SETTLED { share(distance, weight) } else { distance.min(4 * Scaled::STEP) };
        if sample > level {
            self.set(level + step.min(32 * Scaled::STEP));
        } else if step > 0 {
            self.set(level - step);
        }
    }
}

/// What one more sample moves a mean of `weight` samples by.
#[inline]
fn share(distance: u32, weight: f32) -> u32 {
    (distance as f32 / (weight + 1.0)) as u32
}

/// The mean in nanoseconds, and how many samples stand behind it: packed into one word, so that they change together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mean {
    nanos: f32,
    weight: f32,
}

impl Mean {
    fn is_unknown(self) -> bool {
        self.weight < KNOWN
    }

    #[inline]
    fn with(self, sample: f32) -> Self {
        if self.is_unknown() {
            return Self { nanos: sample, weight: 1.0 };
        }
        let weight = (self.weight + 1.0).min(MEMORY);
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

    /// Feeds samples as a busy service would, one every tenth of a millisecond, and returns the time after them.
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
    fn new_estimate_knows_nothing() {
        let estimate = Estimate::new();
        assert_eq!(estimate.read(START), ServiceTime::default());
        assert!(estimate.may_fit(Duration::ZERO));
    }

    #[test]
    fn constant_times_are_known_and_need_no_caution() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [8 * MS; 200]);
        let all = ServiceTime { mean: 8 * MS, least: 8 * MS, median: 8 * MS, cautious: 8 * MS };
        assert_eq!(estimate.read(now), all);
        assert!(estimate.may_fit(8 * MS) && !estimate.may_fit(7 * MS));
    }

    #[test]
    fn exponential_times_have_the_quantiles_that_the_page_says() {
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
    fn mean_of_two_kinds_is_their_mean_and_one_stray_call_is_not() {
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

    /// A cold start: the first call pays for all that has to be set up.
    #[test]
    fn first_slow_sample_is_outweighed_by_a_few_quick_ones() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [3000 * MS]);
        assert_eq!(estimate.read(now).least, Duration::ZERO, "one call proves nothing");
        let now = feed(&estimate, now, [5 * MS; 15]);
        let read = estimate.read(now);
        assert!(read.least == 5 * MS && read.median < 10 * MS && read.cautious < 30 * MS, "{read:?}");
        assert!(read.mean < 250 * MS, "{read:?}");
    }

    #[test]
    fn least_of_rare_quick_calls_stays_far_below_the_slow_ones() {
        let estimate = Estimate::new();
        let mut now = START;
        for _ in 0..50 {
            now = feed(&estimate, now, [5 * MS]);
            now = feed(&estimate, now, [2000 * MS; 49]);
            assert!(estimate.may_fit(100 * MS), "{:?}", estimate.read(now));
        }
    }

    #[test]
    fn estimate_follows_a_slow_spell_and_its_end() {
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
    fn silence_makes_samples_count_for_less_and_at_last_for_nothing() {
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
    fn a_body_beyond_the_deadline_slows_the_queue_and_makes_no_call_hopeless() {
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
        fn every_number_stays_within_the_samples(samples in prop::collection::vec(1u64..1_000_000_000, 1..200)) {
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

        /// Whatever came before, one call that was quick enough opens the gate again.
        #[test]
        fn one_quick_call_refutes_any_history(history in prop::collection::vec(1u64..10_000_000_000, 0..200)) {
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
