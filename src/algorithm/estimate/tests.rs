use proptest::prelude::*;

use super::*;
use crate::ground::time::nanos;

const ZERO: Duration = Duration::ZERO;
const MS: Duration = Duration::from_millis(1);
const START: Instant = Instant::from_nanos(1 << 63);

/// Records calls that run one after the other, and returns the time after them.
fn feed(estimate: &Estimate, mut now: Instant, samples: impl IntoIterator<Item = Duration>) -> Instant {
    for took in samples {
        now = now + took;
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
    let mut now = START;
    for _ in 0..100 {
        now = now + 1000 * MS;
        estimate.sample(now, Took { held: 1000 * MS, needed: 10 * MS });
    }
    let read = estimate.read(now);
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
        let mut now = START;
        for (n, &sample) in samples.iter().enumerate() {
            now = feed(&estimate, now, [Duration::from_nanos(sample)]);
            let (min, max) = (samples[..=n].iter().min().unwrap(), samples[..=n].iter().max().unwrap());
            let ServiceTime { mean, least, median, cautious } = estimate.read(now);
            for time in [mean, median, cautious] {
                if time.is_zero() && n + 1 < MIN_WEIGHT_FOR_QUANTILES as usize {
                    continue;
                }
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

/// Calls that hang are in flight all the time, so nothing has been forgotten when they end.
#[test]
fn samples_do_not_decay_while_calls_are_in_flight() {
    for hung in [1, 4, 16] {
        let estimate = Estimate::new();
        let now = feed(&estimate, START, [5 * MS; 100]);
        let end = now + 2000 * MS;
        (0..hung).for_each(|_| estimate.at_least(end, (2000 * MS).into()));
        let read = estimate.read(end);
        assert!(read.least < 7 * MS && read.median < 15 * MS && read.cautious < 60 * MS, "{hung}: {read:?}");
    }
}

#[test]
fn quantiles_are_unknown_after_the_first_batch_of_calls() {
    let estimate = Estimate::new();
    (0..64).for_each(|_| estimate.sample(START + 2000 * MS, (2000 * MS).into()));
    let read = estimate.read(START + 2000 * MS);
    assert_eq!((read.mean, read.least, read.median, read.cautious), (2000 * MS, ZERO, ZERO, ZERO));
    let now = feed(&estimate, START + 2000 * MS, [2000 * MS; 2]);
    assert_eq!(estimate.read(now).least, 2000 * MS, "the next calls took as long");
}
