//! The service changes.

use super::*;

/// Laws that compare the present with the past climb back to the old limit here, after a few hundred windows. At 1250 calls a second
/// and at most 70 calls a window, these are more than a thousand.
#[test]
fn lasting_slowdown_changes_nothing() {
    for noise in [0.05, 0.5] {
        let plant = Plant::new(50, Noise::Lognormal(noise), 101).then(5.0, 50, 4.0);
        let [early, late] = plant.run(&mut law(16), [(10.0, 40.0), (70.0, 100.0)]);
        for seen in [early, late] {
            assert_good(seen);
            assert!((0.9..1.5).contains(&(seen.limit / 50.0)), "{seen:?}");
        }
        assert!((early.limit / late.limit).ln().abs() < 0.1, "a drift: {early:?} {late:?}");
    }
}

#[test]
fn lost_and_returned_capacity_is_followed() {
    for noise in [0.0, 0.2, 0.5] {
        let plant = Plant::new(50, Noise::Lognormal(noise), 102).then(5.0, 12, 1.0).then(35.0, 50, 1.0);
        let [low, high] = plant.run(&mut law(16), [(15.0, 35.0), (35.0, 45.0)]);
        assert_good(low);
        assert!(high.recovered < 10.0 && high.recovered > 0.0 && high.utilisation > 0.8, "{high:?}");
    }
}

/// The times of calls that are cut at a deadline are those of the deadline.
#[test]
fn calls_cut_from_outside_count() {
    let plant = Plant::new(10, Noise::Lognormal(0.2), 101).with(|plant| plant.cut = 0.05);
    let [seen] = plant.run(&mut law(256), [(10.0, 30.0)]);
    assert_good(seen);
    assert_eq!(seen.cut, 0, "{seen:?}");
}

/// A client with 64 connections never fills a limit of 256, and keeps most of its calls waiting inside a service of ten slots.
#[test]
fn limit_that_is_never_reached_comes_down_where_calls_queue() {
    let mut random = fastrand::Rng::with_seed(101);
    let mut limit = Limit::TwoPoint(TwoPoint::new(Bounds { start: 256, max: 256, objective: None }));
    let mut in_flight = std::collections::VecDeque::new();
    for _ in 0..4000 {
        while in_flight.len() < limit.limit().min(64) {
            let among = in_flight.len() + 1;
            in_flight.push_back((limit.begin(among), among));
        }
        // First in, first out.
        let (ticket, among) = in_flight.pop_front().unwrap();
        let took = MS.mul_f64((among as f64).max(10.0) * (0.8 + 0.4 * random.f64()));
        let _ = limit.end(ticket, took, Outcome::Good);
    }
    assert!((9..=16).contains(&limit.limit()), "{}", limit.limit());
}

/// A service that becomes slower for its own reasons needs more calls in flight, and would take long to show that at a low limit.
#[test]
fn limit_is_the_maximum_again_when_calls_have_time() {
    let mut calls = Closed::new(Bounds { start: 64, max: 64, objective: None });
    calls.rest(100, 10 * MS);
    (0..64).for_each(|_| calls.limit.note_time(true));
    calls.run(10_000, ten_slots);
    let learned = calls.limit.limit();
    assert!(learned <= 20, "{learned}");
    calls.rest_with_time(64 * learned as u32 / 2);
    calls.limit.note_time(true);
    calls.rest_with_time(64 * learned as u32 / 2);
    assert_ne!(calls.limit.limit(), 64, "a call was short of time meanwhile");
    calls.rest_with_time(64 * 64);
    assert_eq!(calls.limit.limit(), 64);
}

/// The same for services that can nearly work on the maximum, after any number of measurements.
#[test]
fn limit_finds_back_to_a_maximum_that_is_hardly_too_high() {
    for max in 8..16 {
        for calls_before in (500..4000).step_by(250) {
            let mut calls = Closed::new(Bounds { start: max, max, objective: None });
            calls.rest(100, 5 * MS);
            for n in 0..calls_before {
                calls.limit.note_time(n % 4 == 0);
                calls.run(1, ten_slots);
            }
            for _ in 0..64 * max {
                calls.limit.note_time(false);
                calls.run(1, ten_slots);
            }
            calls.rest_with_time(64 * max as u32);
            assert_eq!(calls.limit.limit(), max, "after {calls_before} calls");
            assert!(calls.limit.is_quiet());
        }
    }
}

/// Calls keep their permits for as long as ever, and the limit is in use: only a call that is short of time shows that it matters.
#[test]
fn limit_in_use_finds_back_when_calls_have_time() {
    let mut calls = Closed::new(Bounds { start: 64, max: 64, objective: None });
    calls.rest(100, 10 * MS);
    calls.run_overloaded(10_000, ten_slots);
    assert!(calls.limit.limit() <= 20);
    for _ in 0..64 * 64 {
        calls.limit.note_time(false);
        calls.run(1, |_| (10 * MS, Outcome::Good));
    }
    assert_eq!(calls.limit.limit(), 64);
}

/// The same where nothing queues: an asynchronous service with as many calls in flight as there are.
#[test]
fn limit_that_is_never_reached_stays_where_nothing_queues() {
    let mut random = fastrand::Rng::with_seed(101);
    let mut limit = Limit::TwoPoint(TwoPoint::new(Bounds { start: 256, max: 256, objective: None }));
    let mut in_flight = std::collections::VecDeque::new();
    for n in 0..40_000 {
        let now = [4, 64, 16, 200][n / 1000 % 4];
        while in_flight.len() < limit.limit().min(now) {
            in_flight.push_back(limit.begin(in_flight.len() + 1));
        }
        while let Some(ticket) = in_flight.pop_front() {
            let _ = limit.end(ticket, MS.mul_f64(-10.0 * (1.0 - random.f64()).ln()), Outcome::Good);
            if in_flight.len() < now {
                break;
            }
        }
        assert_eq!(limit.limit(), 256);
    }
}

/// Calls take long for a reason of their own, and never queue: how many calls end before each measurement.
#[test]
fn measurements_in_vain_become_rare_until_calls_have_time() {
    let mut calls = Closed::new(Bounds { start: 64, max: 64, objective: None });
    for _ in 0..2 {
        calls.rest_with_time(64 * 64);
        let mut starts = Vec::new();
        for n in 0..30_000u32 {
            let before = calls.limit.limit();
            calls.run_overloaded(1, |_| (100 * MS, Outcome::Good));
            if before == 64 && calls.limit.limit() < 64 {
                starts.push(n);
            }
        }
        let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(starts.first().is_some_and(|first| *first < 500), "{starts:?}");
        assert!(pauses.len() >= 2 && pauses[0] >= 1024 && pauses[1] >= 4096, "{pauses:?}");
        assert!(pauses[2..].iter().all(|pause| *pause >= 16_384), "{pauses:?}");
    }
}
