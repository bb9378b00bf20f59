//! How long a call takes: an estimate that follows its samples, and forgets when there are none.
//!
//! Two numbers are kept, as TCP does for its round trips (RFC 6298): a moving mean, and the mean deviation from it. The
//! *mean* says how fast a queue moves, and what a call needs at the least to be worth starting on a free permit. Where
//! calls compete for permits, one that has only the mean left fails too often to deserve one: there `cautious`, the mean
//! and twice its deviation (0.92 of exponential service times, all of constant ones), decides.
//!
//! A percentile would need a histogram, and would refuse all calls whose deadline lies below it, which is fatal for a service
//! that does well enough on most of them.
//!
//! Nothing here is a fixed duration. In a silence the estimate halves every [`HALVES_IN`] means, and counts for less
//! against new samples in the same measure: an estimate that has led to the refusal of everything fades.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// How many samples the mean follows: its standard error is then an eighth of the samples' deviation.
const MEMORY: f64 = 32.0;

/// How many means may pass without news before the estimate begins to fade, and before a call is let through against it.
const FRESH_FOR: f64 = 4.0;

/// After a further silence of so many means, half of the estimate is left.
const HALVES_IN: f64 = 16.0;

/// What is known about the service time; zero where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTime {
    pub(crate) mean: Duration,
    /// What nine in ten calls stay below.
    pub(crate) cautious: Duration,
}

/// Lock-free, O(1). Samples that race with each other are all counted.
#[derive(Debug)]
pub(crate) struct Estimate {
    /// See [`Moments`].
    moments: AtomicU64,
    sampled_at: AtomicU64,
    tried_at: AtomicU64,
}

impl Estimate {
    pub(crate) fn new() -> Self {
        Self { moments: AtomicU64::new(0), sampled_at: AtomicU64::new(0), tried_at: AtomicU64::new(0) }
    }

    /// The callee took that long.
    #[inline]
    pub(crate) fn sample(&self, now: Instant, took: Duration) {
        self.update(now, |before| before.with(nanos(took) as f64));
    }

    /// The callee took at least that long: the call was cut or given up. Says nothing if others take longer.
    pub(crate) fn at_least(&self, now: Instant, took: Duration) {
        let took = nanos(took) as f64;
        self.update(now, |before| if took > before.mean { before.with(took) } else { before });
    }

    #[inline]
    fn update(&self, now: Instant, change: impl Fn(Moments) -> Moments) {
        let mut word = self.moments.load(Ordering::Acquire);
        loop {
            let before = self.faded(word, now);
            let after = change(before);
            if after == before {
                return;
            }
            match self.moments.compare_exchange_weak(word, after.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(actual) => word = actual,
            }
        }
        // Who races with us may store an earlier time; both are of this moment.
        self.sampled_at.store(now.as_nanos(), Ordering::Release);
    }

    #[inline]
    fn faded(&self, word: u64, now: Instant) -> Moments {
        let moments = Moments::unpack(word);
        let silence = now.as_nanos().saturating_sub(self.sampled_at.load(Ordering::Acquire)) as f64;
        let beyond = silence - FRESH_FOR * moments.mean;
        // Busy services never get past this, and never pay for the power.
        if beyond <= 0.0 || moments.mean == 0.0 {
            return moments;
        }
        moments.scaled(f64::exp2(-beyond / (HALVES_IN * moments.mean)))
    }

    /// Whether a call may well take no longer than `time`. Cheaper than to [`read`](Self::read), and never too strict.
    pub(crate) fn may_fit(&self, time: Duration) -> bool {
        Moments::unpack(self.moments.load(Ordering::Acquire)).mean <= nanos(time) as f64
    }

    /// Whether silence has left more than half of what is known.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        let word = self.moments.load(Ordering::Acquire);
        self.faded(word, now).mean > Moments::unpack(word).mean / 2.0
    }

    #[inline]
    pub(crate) fn read(&self, now: Instant) -> ServiceTime {
        let moments = self.faded(self.moments.load(Ordering::Acquire), now);
        let duration = |nanos: f64| Duration::from_nanos(nanos as u64);
        ServiceTime { mean: duration(moments.mean), cautious: duration(moments.mean + 2.0 * moments.deviation) }
    }

    /// Whether to let one call through although the estimate speaks against it: there has been no news for some time.
    /// Says yes once per such time, to one caller.
    pub(crate) fn try_anyway(&self, now: Instant) -> bool {
        let mean = Moments::unpack(self.moments.load(Ordering::Acquire)).mean;
        let tried_at = self.tried_at.load(Ordering::Acquire);
        let news = tried_at.max(self.sampled_at.load(Ordering::Acquire));
        now.as_nanos().saturating_sub(news) as f64 >= FRESH_FOR * mean
            && self.tried_at.compare_exchange(tried_at, now.as_nanos(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The mean and the mean deviation in nanoseconds, and how many samples stand behind them: packed into one word, so that
/// they change together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moments {
    mean: f64,
    deviation: f64,
    weight: f64,
}

impl Moments {
    const WEIGHT_UNIT: f64 = 7.0;

    #[inline]
    fn with(self, sample: f64) -> Self {
        if self.weight < 1.0 {
            // The first one: as far as anyone knows, the next may as well take half as long or half as long again.
            return Self { mean: sample, deviation: sample / 2.0, weight: 1.0 };
        }
        let weight = (self.weight + 1.0).min(MEMORY);
        let (off, share) = (sample - self.mean, 1.0 / weight);
        Self { mean: self.mean + off * share, deviation: self.deviation + (off.abs() - self.deviation) * share, weight }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { mean: self.mean * factor, deviation: self.deviation * factor, weight: self.weight * factor }
    }

    /// The mean in single precision, the deviation with a third of its digits less, and the weight in sevenths.
    #[inline]
    fn pack(self) -> u64 {
        let deviation = u64::from((self.deviation as f32).to_bits()) & !0xff;
        let weight = (self.weight * Self::WEIGHT_UNIT + 0.5) as u64;
        u64::from((self.mean as f32).to_bits()) << 32 | deviation | weight.min(0xff)
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            mean: f64::from(f32::from_bits((word >> 32) as u32)),
            deviation: f64::from(f32::from_bits(word as u32 & !0xff)),
            weight: (word & 0xff) as f64 / Self::WEIGHT_UNIT,
        }
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
            estimate.sample(now, took);
        }
        now
    }

    #[test]
    fn nothing_is_known_at_first() {
        let estimate = Estimate::new();
        assert_eq!(estimate.read(START), ServiceTime::default());
        assert!(estimate.try_anyway(START));
    }

    #[test]
    fn constant_service_times_are_known_exactly_and_need_no_caution() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [8 * MS; 200]);
        let ServiceTime { mean, cautious } = estimate.read(now);
        assert_eq!(mean, 8 * MS);
        assert!(cautious < 9 * MS, "{cautious:?}");
    }

    #[test]
    fn caution_covers_nine_of_ten_exponential_service_times() {
        let estimate = Estimate::new();
        let mut random = fastrand::Rng::with_seed(7);
        let mut now = START;
        let (mut covered, total) = (0, 20_000);
        for n in 0..total {
            let uniform: f64 = (f64::from(random.u32(..)) + 1.0) / (f64::from(u32::MAX) + 2.0);
            let took = MS.mul_f64(-10.0 * uniform.ln());
            covered += u32::from(n > 100 && took <= estimate.read(now).cautious);
            now = feed(&estimate, now, [took]);
        }
        let share = f64::from(covered) / f64::from(total);
        assert!((0.87..0.95).contains(&share), "{share}");
    }

    #[test]
    fn it_follows_a_change_within_some_hundred_calls() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [10 * MS; 100]);
        let now = feed(&estimate, now, [50 * MS; 150]);
        assert!(estimate.read(now).mean > 49 * MS);
        let now = feed(&estimate, now, [10 * MS; 200]);
        assert!(estimate.read(now).mean < 11 * MS);
    }

    #[test]
    fn a_silence_fades_it_and_makes_the_next_sample_count() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [1000 * MS; 100]);
        let mut last = estimate.read(now).mean;
        for seconds in [5, 10, 20, 60, 600] {
            let mean = estimate.read(now + Duration::from_secs(seconds)).mean;
            assert!(mean < last, "{mean:?} after {seconds} s");
            last = mean;
        }
        assert!((495..505).contains(&estimate.read(now + 20_000 * MS).mean.as_millis()));
        let later = now + Duration::from_secs(600);
        estimate.sample(later, 10 * MS);
        assert_eq!(estimate.read(later).mean.as_millis(), 10, "yesterday is forgotten");
    }

    #[test]
    fn a_lower_bound_never_lowers_it() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [10 * MS; 100]);
        estimate.at_least(now, MS);
        assert_eq!(estimate.read(now).mean, 10 * MS);
        estimate.at_least(now, 42 * MS);
        assert_eq!(estimate.read(now).mean, 11 * MS);
    }

    #[test]
    fn one_call_is_let_through_for_each_stretch_without_news() {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [10 * MS; 100]);
        assert!(!estimate.try_anyway(now + 39 * MS));
        assert!(estimate.try_anyway(now + 41 * MS));
        assert!(!estimate.try_anyway(now + 41 * MS) && !estimate.try_anyway(now + 80 * MS));
        assert!(estimate.try_anyway(now + 82 * MS));
    }

    #[test]
    fn the_ends_of_the_scale_are_no_trouble() {
        let estimate = Estimate::new();
        for took in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::from_nanos(1)] {
            estimate.sample(START, took);
            estimate.at_least(Instant::MAX, took);
            let _ = (estimate.read(START), estimate.read(Instant::MAX), estimate.read(Instant::from_nanos(0)));
        }
    }

    proptest! {
        /// Against the definition, computed in a loop: the mean with weight 1/n, n growing to the memory.
        #[test]
        fn it_is_a_moving_mean_and_deviation(samples in prop::collection::vec(1u64..1_000_000_000, 1..200)) {
            let estimate = Estimate::new();
            let (mut mean, mut deviation) = (samples[0] as f64, samples[0] as f64 / 2.0);
            for (n, &sample) in samples.iter().enumerate() {
                estimate.sample(START, Duration::from_nanos(sample));
                if n > 0 {
                    let n = ((n + 1) as f64).min(MEMORY);
                    let off = sample as f64 - mean;
                    mean += off / n;
                    deviation += (off.abs() - deviation) / n;
                }
                let read = estimate.read(START);
                let close = |a: Duration, b: f64| (nanos(a) as f64 - b).abs() <= 0.01 * b + 100.0;
                prop_assert!(close(read.mean, mean), "{:?} {}", read, mean);
                prop_assert!(close(read.cautious, mean + 2.0 * deviation), "{:?} {} {}", read, mean, deviation);
                let (min, max) = (samples[..=n].iter().min().unwrap(), samples[..=n].iter().max().unwrap());
                prop_assert!(nanos(read.mean) as f64 >= *min as f64 * 0.999 && nanos(read.mean) as f64 <= *max as f64 * 1.001);
            }
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    #[test]
    fn loom_no_sample_is_lost() {
        loom::model(|| {
            let estimate = Arc::new(Estimate::new());
            let now = Instant::from_nanos(1 << 40);
            estimate.sample(now, Duration::from_nanos(64));
            let theirs = Arc::clone(&estimate);
            let thread = loom::thread::spawn(move || theirs.sample(now, Duration::from_nanos(64)));
            estimate.sample(now, Duration::from_nanos(128 + 64));
            thread.join().expect("no panic");
            // 64, 64 and 192 in whatever order; one lost would leave 128 or 64.
            let mean = estimate.read(now).mean.as_nanos();
            assert!((106..=107).contains(&mean), "{mean}");
        });
    }
}
