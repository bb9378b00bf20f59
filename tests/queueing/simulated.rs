//! The simulation waits as long as the formulas say.
//!
//! Half of the variance of a mean wait comes from the calls that were drawn: a little more of them, or a little longer ones, wait much
//! longer. So the wait is compared with the formula at the rate and the mean time of the drawn calls.

use crate::fifo::{BoundedFifo, Fifo, Random, VARIATION_OF_TWO_KINDS};
use crate::queueing::erlang::bounded;
use crate::queueing::waits::Waits;

const BATCHES: u32 = 40;

/// The sums over some calls.
#[derive(Clone, Copy, Default)]
struct Sums {
    calls: f64,
    gaps: f64,
    takes: f64,
    waits: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.gaps += other.gaps;
        self.takes += other.takes;
        self.waits += other.waits;
    }

    /// The mean wait, as a multiple of that of the formula.
    fn ratio(&self, servers: u32, variation: f64) -> f64 {
        let expected = Waits::of(servers, self.calls / self.gaps, self.takes / self.calls, variation);
        self.waits / self.calls / expected.mean()
    }
}

/// The mean wait, as a multiple of that of the formula, and its standard error.
fn simulated(
    servers: u32,
    utilisation: f64,
    calls: u32,
    variation: f64,
    takes: impl Fn(&mut Random) -> f64,
) -> (f64, f64) {
    let (mut random, mut fifo) = (Random::new(), Fifo::new(servers));
    let gap = 1.0 / (utilisation * f64::from(servers));
    let mut now = 0.0;
    let mut batch = || {
        let mut sums = Sums::default();
        for _ in 0..calls / BATCHES {
            let (gap, takes) = (random.exponential(gap), takes(&mut random));
            now += gap;
            sums.add(Sums { calls: 1.0, gaps: gap, takes, waits: fifo.wait(now, takes) });
        }
        sums
    };
    batch(); // from empty to steady
    let (mut all, mut ratios) = (Sums::default(), Vec::new());
    for _ in 0..BATCHES {
        let sums = batch();
        all.add(sums);
        ratios.push(sums.ratio(servers, variation));
    }
    let mean = ratios.iter().sum::<f64>() / f64::from(BATCHES);
    let variance_of_ratios = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / f64::from(BATCHES - 1);
    (all.ratio(servers, variation), (variance_of_ratios / f64::from(BATCHES)).sqrt())
}

/// Within 3 %, with so many calls that this is three standard errors and more.
#[track_caller]
fn assert_simulated(servers: u32, utilisation: f64, calls: u32, variation: f64, takes: impl Fn(&mut Random) -> f64) {
    let (ratio, error) = simulated(servers, utilisation, calls, variation, takes);
    let shown = format!("{servers} servers at {utilisation}: {ratio:.4} of the formula, with an error of {error:.4}");
    assert!(error < 0.01, "too few calls: {shown}");
    assert!((ratio - 1.0).abs() < 0.03, "{shown}");
}

/// Two exponential phases.
fn two_phases(random: &mut Random) -> f64 {
    random.exponential(0.5) + random.exponential(0.5)
}

const VARIATION_OF_TWO_PHASES: f64 = 0.5;

/// The approximation for several servers and other times than exponential ones.
#[test]
fn other_times_wait_about_as_by_lee_and_longton() {
    for servers in [2, 4, 10] {
        for utilisation in [0.7, 0.9] {
            let (steady, _) = simulated(servers, utilisation, 1_000_000, VARIATION_OF_TWO_PHASES, two_phases);
            let (varied, _) =
                simulated(servers, utilisation, 1_000_000, VARIATION_OF_TWO_KINDS, |random| random.two_kinds(1.0));
            let shown = format!("{servers} servers at {utilisation}: {steady} and {varied} of the formula");
            assert!([steady, varied].iter().all(|ratio| (ratio - 1.0).abs() < 0.12), "{shown}");
        }
    }
}

/// The 99th percentile of simulated waits, as a multiple of that of the formula.
fn simulated_p99(servers: u32, utilisation: f64, variation: f64, takes: impl Fn(&mut Random) -> f64) -> f64 {
    const CALLS: usize = 2_000_000;
    let rate = utilisation * f64::from(servers);
    let (mut random, mut fifo, mut now) = (Random::new(), Fifo::new(servers), 0.0);
    let mut waits: Vec<f64> = std::iter::repeat_with(|| {
        now += random.exponential(1.0 / rate);
        fifo.wait(now, takes(&mut random))
    })
    .take(CALLS)
    .collect();
    let (_, p99, _) = waits.select_nth_unstable_by(CALLS / 100 * 99, f64::total_cmp);
    *p99 / Waits::of(servers, rate, 1.0, variation).quantile(0.99)
}

#[test]
fn slowest_waits_are_about_those_of_the_formula() {
    for (servers, utilisation) in [(1, 0.5), (1, 0.8), (4, 0.8), (10, 0.8)] {
        let exponential = simulated_p99(servers, utilisation, 1.0, |random| random.exponential(1.0));
        let steady = simulated_p99(servers, utilisation, VARIATION_OF_TWO_PHASES, two_phases);
        assert!((exponential - 1.0).abs() < 0.05, "{servers} servers at {utilisation}: {exponential} of the formula");
        assert!((steady - 1.0).abs() < 0.12, "{servers} servers at {utilisation}: {steady} of the formula");
    }
}

/// With these numbers of calls, for each utilisation.
fn assert_exponential(servers: u32, calls: [u32; 4]) {
    for (utilisation, calls) in [0.5, 0.7, 0.8, 0.9].into_iter().zip(calls) {
        assert_simulated(servers, utilisation, calls, 1.0, |random| random.exponential(1.0));
    }
}

#[test]
fn one_server_waits_as_by_erlang_c() {
    assert_exponential(1, [400_000, 1_000_000, 2_000_000, 6_000_000]);
}

#[test]
fn four_servers_wait_as_by_erlang_c() {
    assert_exponential(4, [1_600_000, 1_600_000, 3_000_000, 6_000_000]);
}

#[test]
fn ten_servers_wait_as_by_erlang_c() {
    assert_exponential(10, [10_000_000, 3_000_000, 3_000_000, 6_000_000]);
}

#[test]
fn two_kinds_of_calls_wait_as_by_pollaczek_and_khinchine() {
    for (utilisation, calls) in [(0.5, 1_000_000), (0.7, 4_000_000)] {
        assert_simulated(1, utilisation, calls, VARIATION_OF_TWO_KINDS, |random| random.two_kinds(1.0));
    }
}

/// One million calls have a standard error of half a per cent and less.
#[test]
fn full_queues_refuse_as_many_calls_as_by_the_formula() {
    const CALLS: u32 = 1_000_000;
    for (servers, load, places) in [(1, 1.5, 4), (4, 6.0, 18), (10, 15.0, 45), (4, 3.6, 4), (10, 10.0, 20)] {
        let (mut random, mut fifo) = (Random::new(), BoundedFifo::new(servers, places));
        let (mut now, mut refused) = (0.0, 0);
        for _ in 0..CALLS {
            now += random.exponential(1.0 / load);
            refused += u32::from(!fifo.admits(now, random.exponential(1.0)));
        }
        let share = f64::from(refused) / f64::from(CALLS);
        let expected = bounded(servers, load, places).refused;
        assert!(
            (share / expected - 1.0).abs() < 0.03,
            "{servers} servers, load {load}: {share} refused, not {expected}"
        );
    }
}
