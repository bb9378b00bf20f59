use std::time::Duration;

use super::aimd::Aimd;
use super::gradient::{Gradient, WarmUpMean};
use super::two_point::Bounds;
use super::vegas::Vegas;
use super::*;

const MS: Duration = Duration::from_millis(1);

/// One call that begins and ends.
fn call(limit: &mut Limit, took: Duration, in_flight: usize, outcome: Outcome) -> usize {
    let ticket = limit.begin(in_flight);
    let before = limit.limit();
    let changed = limit.end(ticket, took, outcome);
    assert_eq!(changed, limit.limit() != before);
    limit.limit()
}

fn good(limit: &mut Limit, took: Duration, in_flight: usize) -> usize {
    call(limit, took, in_flight, Outcome::Good)
}

#[test]
fn aimd_follows_the_published_vectors() {
    let aimd = |start, max| Limit::Aimd(Aimd::new(start, max, 5000 * MS));
    assert_eq!(good(&mut aimd(20, 200), MS, 10), 21);
    assert_eq!(call(&mut aimd(30, 200), MS, 30, Outcome::Late), 27);
    assert_eq!(good(&mut aimd(21, 21), MS, 21), 21);
    assert_eq!(good(&mut aimd(20, 200), 5001 * MS, 10), 18, "slower than the timeout");
    assert_eq!(good(&mut aimd(20, 200), MS, 9), 20, "not in use");
    assert_eq!(call(&mut aimd(20, 200), MS, 20, Outcome::Failed), 20);
    assert_eq!(call(&mut aimd(1, 200), MS, 1, Outcome::Late), 1);
}

#[test]
fn vegas_follows_the_published_vectors() {
    let vegas = || Limit::Vegas(Vegas::new(10, 20));
    let mut limit = vegas();
    assert_eq!(good(&mut limit, 10 * MS, 10), 10, "sets the lowest time");
    assert_eq!(good(&mut limit, 10 * MS, 11), 16);

    let mut limit = vegas();
    assert_eq!(good(&mut limit, 10 * MS, 10), 10);
    assert_eq!(good(&mut limit, 50 * MS, 11), 9);

    let mut limit = vegas();
    assert_eq!(good(&mut limit, 10 * MS, 10), 10);
    assert_eq!(good(&mut limit, 14 * MS, 14), 10, "between the thresholds");

    let mut limit = Limit::Vegas(Vegas::new(10_000, 20_000));
    assert_eq!(good(&mut limit, 10_000 * MS, 5000), 10_000);
    assert_eq!(good(&mut limit, 10_000 * MS, 6000), 10_024);
}

#[test]
fn vegas_takes_a_new_lowest_time_after_a_while() {
    let mut limit = Limit::Vegas(Vegas::new(10, 10));
    good(&mut limit, 10 * MS, 10);
    let lowest = (0..2000).map(|_| good(&mut limit, 40 * MS, 10)).min();
    assert_eq!(lowest, Some(8));
    assert_eq!(limit.limit(), 10, "it climbs back");
}

#[test]
fn warm_up_mean_follows_the_published_vector() {
    let mut mean = WarmUpMean::new(100, 10);
    for n in 0..10 {
        assert_eq!(mean.add(10.0 + f64::from(n)), 10.0 + f64::from(n) / 2.0);
    }
    assert!((mean.add(100.0) - 16.2).abs() < 0.1);
}

#[test]
fn fixed_limit_never_changes() {
    let mut limit = Limit::Fixed(7);
    for outcome in [Outcome::Good, Outcome::Failed, Outcome::Late, Outcome::NoRoom] {
        assert_eq!(call(&mut limit, Duration::MAX, 7, outcome), 7);
    }
    assert!(!limit.set_bounds(Bounds { max: 3, ..Bounds::default() }));
}

/// The bar that the published laws miss on the plant: use of 0.9 with times of at most 1.25, whatever the noise.
#[test]
fn published_laws_miss_the_bar() {
    for law in [Limit::Gradient(gradient()), Limit::Vegas(Vegas::new(20, 1000))] {
        let missed = [0.0, 0.5].map(|noise| {
            let plant = plant::Plant::new(50, plant::Noise::Lognormal(noise), 101);
            let [seen] = plant.run(&mut law.clone(), [(2.0, 6.0)]);
            seen.utilisation < 0.9 || seen.inflation > 1.25
        });
        assert_eq!(missed, [true, true], "{law:?}");
    }
}

fn gradient() -> Gradient {
    Gradient::new(20, 20, 200)
}

fn full_sample(law: &mut Gradient, took: Duration) -> f64 {
    let in_flight = law.limit();
    let _ = law.end(Ticket::new(in_flight, 0, 0), took, Outcome::Good);
    law.exact()
}

#[test]
fn gradient_grows_while_times_are_constant() {
    let mut law = gradient();
    for n in 1..=200 {
        let limit = full_sample(&mut law, 10 * MS);
        assert!((limit - (20.0 + 0.8 * f64::from(n))).abs() < 1e-6, "{n}: {limit}");
    }
    let mut law = gradient();
    let _ = law.end(Ticket::new(5, 0, 0), 10 * MS, Outcome::Good);
    assert_eq!(law.limit(), 20, "not in use");
}

#[test]
fn gradient_falls_when_times_quadruple() {
    let mut law = gradient();
    for _ in 0..100 {
        full_sample(&mut law, 10 * MS);
    }
    for expected in [90.8, 82.52, 75.068, 68.3612, 62.3251, 56.8926] {
        let limit = full_sample(&mut law, 40 * MS);
        assert!((limit - expected).abs() < 1e-3, "{limit}, not {expected}");
    }
    for _ in 6..20 {
        full_sample(&mut law, 40 * MS);
    }
    assert_eq!(law.limit(), 20);
}

/// Why Gradient2 alone is no protection: it sees no difference between slow and hanging from the start.
#[test]
fn gradient_runs_to_its_maximum_while_all_calls_time_out() {
    let mut law = gradient();
    let limits: Vec<f64> = (0..300).map(|_| full_sample(&mut law, 5000 * MS)).collect();
    assert!((limits[0] - 20.8).abs() < 1e-6 && (limits[49] - 60.0).abs() < 1e-6, "{} {}", limits[0], limits[49]);
    assert_eq!(law.limit(), 200);
}
