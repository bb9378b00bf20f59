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
//! There is no fixed duration. Without calls, the weight of old samples halves every [`HALF_LIFE_MEANS`] means, until the estimate
//! is unknown. A sample counts as a call from its beginning: while all calls hang no sample can come, and the old ones are as true
//! as before. Otherwise the few calls that hung would be the whole new estimate, and refuse all calls that waited behind them. With
//! too few samples all quantiles are zero, and refuse no call.
//!
//! A bench justifies the atomics: see the rows `bulkhead` and `load_shed` of `cost`. Only the mean and its weight have to change
//! together. A quantile that loses a step to a race makes it with the next sample.

mod mean;
mod quantile;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use self::mean::Mean;
use self::quantile::{MIN_WEIGHT_FOR_QUANTILES, Quantile, Scaled};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

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

impl ServiceTime {
    /// That of a kind of calls with this median; as it is if there is none. What is unknown of all calls stays unknown.
    pub(crate) fn of_kind(self, median: Duration) -> Self {
        if self.median.is_zero() || median.is_zero() {
            return self;
        }
        let cautious = self.cautious.min(median.mul_f64(CAUTIOUS_MEDIANS)).max(median);
        Self { median, cautious, ..self }
    }

    /// The same, where the kind takes less time than all calls do. A time that is known of a kind alone may be out of date, so no call is
    /// refused for it before it has waited.
    pub(crate) fn of_quick_kind(self, median: Duration) -> Self {
        let of_kind = self.of_kind(median);
        Self { median: self.median.min(of_kind.median), cautious: self.cautious.min(of_kind.cautious), ..self }
    }
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
    /// When the first sample came after the estimate was unknown.
    known_since: AtomicU64,
    least: Quantile,
    median: Quantile,
    high: Quantile,
}

impl Estimate {
    pub(crate) fn new() -> Self {
        Self {
            mean: AtomicU64::new(0),
            sampled_at: AtomicU64::new(0),
            known_since: AtomicU64::new(0),
            least: Quantile::default(),
            median: Quantile::default(),
            high: Quantile::default(),
        }
    }

    /// Records the time of a call.
    #[inline]
    pub(crate) fn sample(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let began = now.minus(took.held);
        let word = self.mean.load(Ordering::Acquire);
        let before = self.decayed(word, began);
        let high = self.high.follow_high(held, before.weight);
        self.least.follow_low(needed, before.weight);
        self.median.follow_middle(needed, before.weight);
        self.add_to_mean(now, began, held.min(high), word, before);
    }

    /// Records a call that was cut or abandoned after this time. It does not count if other calls take longer.
    pub(crate) fn at_least(&self, now: Instant, took: Took) {
        let (held, needed) = (Scaled::of(took.held), Scaled::of(took.needed));
        let began = now.minus(took.held);
        let word = self.mean.load(Ordering::Acquire);
        let before = self.decayed(word, began);
        if before.is_unknown() {
            return self.sample(now, took);
        }
        if needed >= self.median.get() {
            self.least.follow_low(needed, before.weight);
            self.median.follow_middle(needed, before.weight);
        }
        if held.nanos() >= before.nanos {
            let high = self.high.follow_high(held, before.weight);
            self.add_to_mean(now, began, held.min(high), word, before);
        }
    }

    #[inline]
    fn add_to_mean(&self, now: Instant, began: Instant, held: Scaled, mut word: u64, mut before: Mean) {
        loop {
            let mut after = before.with(held.nanos());
            if before.is_unknown() {
                self.known_since.store(now.as_nanos(), Ordering::Release);
            } else if after.weight >= MIN_WEIGHT_FOR_QUANTILES && self.is_of_first_batch(began, before) {
                after.weight = before.weight;
            }
            let after = after.pack();
            match self.mean.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(actual) => (word, before) = (actual, self.decayed(actual, began)),
            }
        }
        // A racing sample may store a time that is earlier by a moment.
        self.sampled_at.store(now.as_nanos(), Ordering::Release);
    }

    /// Whether a call was in flight already when the first sample came. Such calls hang together, or share the same setup, and say no
    /// more about later calls than a few of them would. So they alone do not make the quantiles known.
    #[inline]
    fn is_of_first_batch(&self, began: Instant, before: Mean) -> bool {
        before.weight < MIN_WEIGHT_FOR_QUANTILES && began.as_nanos() < self.known_since.load(Ordering::Acquire)
    }

    /// The mean at `at`: now, or the beginning of the call that is recorded.
    #[inline]
    fn decayed(&self, word: u64, at: Instant) -> Mean {
        let mean = Mean::unpack(word);
        let unit = f64::from(mean.nanos);
        let idle = at.as_nanos().saturating_sub(self.sampled_at.load(Ordering::Acquire)) as f64;
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
        let service = ServiceTime { mean: Duration::from_nanos(mean.nanos as u64), ..ServiceTime::default() };
        if mean.weight < MIN_WEIGHT_FOR_QUANTILES {
            return service;
        }
        let [least, median, high] = [&self.least, &self.median, &self.high].map(|quantile| quantile.get().duration());
        ServiceTime { least, median, cautious: high.min(median.mul_f64(CAUTIOUS_MEDIANS)), ..service }
    }
}
