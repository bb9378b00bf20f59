//! What the two points cannot see: refusals, missing answers, and times that are too long at any limit.

use super::*;

fn objective(time: Duration) -> Bounds {
    Bounds { objective: Some(time), ..Bounds::default() }
}

#[test]
fn pool_of_the_service_is_a_ceiling() {
    let mut calls = Closed::new(Bounds::default());
    let pool = |limit: usize| if limit > 10 { (MS / 10, Outcome::NoRoom) } else { (10 * MS, Outcome::Good) };
    calls.run(100, |_| (10 * MS, Outcome::Good));
    calls.run(200, pool);
    let (least, most) = calls.run(5000, pool);
    assert!((6..=10).contains(&least) && (10..=11).contains(&most), "{least} {most}");
}

#[test]
fn ceiling_rises_again() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(100, |_| (10 * MS, Outcome::Good));
    calls.run(2000, |limit| if limit > 4 { (MS / 10, Outcome::NoRoom) } else { (10 * MS, Outcome::Good) });
    assert!(calls.limit.limit() <= 5, "{}", calls.limit.limit());
    calls.run(60_000, |limit| (MS / 5 * (limit as u32).max(50), Outcome::Good));
    assert!(calls.limit.limit() >= 40, "{}", calls.limit.limit());
}

/// A quick failure may have any reason. Then it comes at any number of calls in flight.
#[test]
fn scattered_refusals_are_no_ceiling() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(5000, ten_slots);
    let refused = std::cell::Cell::new(0);
    let (least, _) = calls.run(20_000, |limit| {
        refused.set(refused.get() + 1);
        if refused.get() % 50 == 0 { (MS / 10, Outcome::NoRoom) } else { ten_slots(limit) }
    });
    assert!(least >= 6, "{least}");
}

/// With room to spare the refusals have another cause: an outage, a bad release.
#[test]
fn outage_of_quick_errors_below_the_limit_keeps_it() {
    for in_flight in [1, 10, 200] {
        let mut limit = law(256);
        for n in 0..2000 {
            let outcome = if n < 100 { (100 * MS, Outcome::Good) } else { (MS, Outcome::NoRoom) };
            let ticket = limit.begin(in_flight);
            let _ = limit.end(ticket, outcome.0, outcome.1);
        }
        assert_eq!(limit.limit(), 256, "{in_flight}");
    }
}

#[test]
fn one_batch_of_refusals_lowers_the_limit_by_one_step() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(5000, ten_slots);
    calls.fill();
    let before = calls.limit.limit();
    for _ in 0..before {
        calls.end(MS / 10, Outcome::NoRoom);
    }
    let after = calls.limit.limit();
    assert!(after as f64 >= 0.6 * before as f64, "{before} -> {after}");
}

#[test]
fn one_batch_without_answers_lowers_the_limit_by_one_step() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(5000, ten_slots);
    calls.fill();
    let before = calls.limit.limit();
    for _ in 0..before {
        calls.end(250 * MS, Outcome::Late);
    }
    let after = calls.limit.limit();
    assert!(after as f64 >= 0.6 * before as f64, "{before} -> {after}");
}

/// The load of other clients of the service, who use the same law, is proportional to ours. Each sees next to no effect of its own.
#[test]
fn objective_bounds_times_that_depend_on_other_clients() {
    let shared = |limit: usize| (MS * (20 * limit as u32).max(10), Outcome::Good);
    let twenty_clients = |limit: usize| (shared(16).0.mul_f64(0.95 + limit as f64 / 320.0), Outcome::Good);
    let mut without = Closed::new(Bounds::default());
    without.run(20_000, twenty_clients);
    assert!(without.limit.limit() > 16, "two points see nothing: {}", without.limit.limit());

    let mut with = Closed::new(objective(100 * MS));
    with.run(5000, shared);
    let (_, most) = with.run(5000, shared);
    assert!(most <= 6, "{most}");
}

/// A new version of the service is slower at any limit: a lower one would only lose throughput.
#[test]
fn objective_out_of_reach_gives_the_limit_back() {
    let mut calls = Closed::new(objective(8 * MS));
    calls.run(3000, ten_slots);
    let mut at_least_eight = 0;
    for _ in 0..20_000 {
        calls.run(1, ten_slots);
        at_least_eight += u32::from(calls.limit.limit() >= 8);
    }
    assert!(at_least_eight > 16_000, "{at_least_eight}");
}

#[test]
fn hanging_service_gets_its_limit_back() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(5000, ten_slots);
    let (_, most) = calls.run(5000, |_| (1000 * MS, Outcome::Late));
    assert!(most <= 20, "it must not grow: {most}");
    calls.run(10_000, ten_slots);
    let (least, most) = calls.run(2000, ten_slots);
    assert!(least >= 7 && most <= 15, "{least} {most}");
}

/// However long it hung: it serves as many calls as before, and without a queue nothing is wrong with that.
#[test]
fn service_that_hung_for_a_while_is_served_as_before() {
    let never_queues = |_| (10 * MS, Outcome::Good);
    for hung in (50..2000).step_by(50) {
        let mut calls = Closed::new(Bounds { start: 64, max: 64, objective: None });
        calls.run(2000, never_queues);
        calls.run(hung, |_| (1000 * MS, Outcome::Late));
        // Twenty times as many as may be in flight.
        calls.run(20 * 64, never_queues);
        let mut sum = 0;
        for _ in 0..1000 {
            calls.run(1, never_queues);
            sum += calls.limit.limit();
        }
        assert!(sum >= 56 * 1000, "{hung}: {} of 64", sum / 1000);
    }
}

#[test]
fn limit_stops_at_its_maximum_without_probing_for_ever() {
    let mut calls = Closed::new(Bounds { start: 4, max: 8, objective: None });
    calls.run(3000, ten_slots);
    let mut below = 0;
    for _ in 0..10_000 {
        calls.run(1, ten_slots);
        assert!(calls.limit.limit() <= 8);
        below += u32::from(calls.limit.limit() < 8);
    }
    assert!(below < 1000, "{below}");
}

#[test]
fn one_slot_is_found() {
    let mut calls = Closed::new(Bounds::default());
    let one = |limit: usize| (MS * limit as u32, Outcome::Good);
    calls.run(3000, one);
    let (_, most) = calls.run(3000, one);
    assert!(most <= 2, "{most}");
}

#[test]
fn errors_alone_change_nothing() {
    let mut calls = Closed::new(Bounds::default());
    let (least, most) = calls.run(10_000, |_| (MS, Outcome::Failed));
    assert_eq!((least, most), (16, 16));
}

#[test]
fn new_bounds_apply_at_once() {
    let mut calls = Closed::new(Bounds::default());
    calls.run(5000, ten_slots);
    assert!(calls.limit.limit() > 4);
    assert!(calls.limit.set_bounds(Bounds { max: 4, ..Bounds::default() }));
    assert_eq!(calls.limit.limit(), 4);
    calls.limit.set_bounds(Bounds::default());
    calls.run(2000, ten_slots);
    let (_, most) = calls.run(2000, ten_slots);
    assert!(most >= 10, "{most}");
}
