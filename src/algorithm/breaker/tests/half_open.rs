//! How many probes are sent, and what closes or reopens the breaker.

use super::*;

/// Polly: "exactly one probe"; the second caller is refused with a retry-after.
#[test]
fn half_open_begins_with_exactly_one_probe() {
    let (mut rig, _probe) = Rig::half_open(policy());
    assert_eq!(rig.machine.state(), State::HalfOpen);
    assert!(rig.retry_after().is_some_and(|after| after <= SECOND));
    assert_eq!(rig.machine.state(), State::HalfOpen);
}

/// resilience4j admits a fixed number of probes (four, then no more); here each good answer makes room for one more at a time.
#[test]
fn rounds_of_good_probes_double_until_closed() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, QUICK);
    for size in [2, 4, 8] {
        let probes: Vec<_> = std::iter::from_fn(|| rig.probe()).take(100).collect();
        assert_eq!(probes.len(), size);
        for probe in probes {
            assert_eq!(rig.machine.state(), State::HalfOpen);
            rig.record(probe, QUICK);
        }
    }
    assert_eq!(rig.machine.state(), State::Closed);
}

/// A failing dependency gets one probe at a time.
#[test]
fn failed_probe_allows_no_further_probes() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, FAILED);
    let probe = rig.probe().expect("its slot is free");
    assert!(rig.probe().is_none());
    rig.record(probe, FAILED);
    assert!(rig.probe().is_some() && rig.probe().is_none());
}

/// The half-open tables of resilience4j (failure and slow-call rates), failsafe-go (ratios) and Polly (one probe).
#[test]
fn half_open_is_judged_by_the_rates_of_closed() {
    use State::{Closed, HalfOpen, Open};
    const SLOW: Evidence = Evidence::Good(SECOND);
    // rounds, the answers, and the state after them
    let table: [(&str, u32, &[Evidence], State); 15] = [
        ("polly: a good probe closes, with one round", 1, &[QUICK], Closed),
        ("polly: a bad probe opens, with one round", 1, &[FAILED], Open),
        ("one failure decides nothing", 4, &[FAILED], HalfOpen),
        ("nor do two", 4, &[FAILED; 2], HalfOpen),
        ("three failures without a good answer do", 4, &[FAILED; 3], Open),
        ("slow probes are not good", 4, &[SLOW; 3], Open),
        ("probes that timed out are not good", 4, &[Evidence::TimedOut; 3], Open),
        ("probes given up late are not good", 4, &[Evidence::GivenUpLate; 3], Open),
        ("resilience4j: failures below the rate close", 2, &[FAILED, QUICK, QUICK], Closed),
        ("failsafe: undecided while the rate can still fall", 3, &[QUICK, FAILED, FAILED, FAILED], HalfOpen),
        ("failsafe: failed once the rate cannot fall enough", 3, &[QUICK, FAILED, FAILED, FAILED, FAILED], Open),
        ("resilience4j: slow calls up to their rate open", 3, &[QUICK, SLOW, SLOW, SLOW, SLOW, SLOW, SLOW], Open),
        ("slow calls below their rate do not", 3, &[QUICK, SLOW, SLOW, SLOW, SLOW, SLOW, QUICK], Closed),
        ("refusals of a live dependency are answers", 2, &[Evidence::Alive; 3], Closed),
        ("but too few answers decide nothing", 4, &[Evidence::Alive; 14], HalfOpen),
    ];
    for (case, rounds, ends, expected) in table {
        let mut rig = Rig::open(BreakerPolicy { rounds, ..policy() });
        rig.now = rig.machine.open_until().expect("it is open");
        for end in ends {
            let probe = rig.probe().expect("a slot is free");
            rig.record(probe, *end);
        }
        assert_eq!(rig.machine.state(), expected, "{case}");
    }
}

/// The phase uses the failure rate of the closed state, so failures that a closed breaker tolerates close an open one.
#[test]
fn residual_failures_seldom_reopen() {
    let mut random = fastrand::Rng::with_seed(7);
    for (percent, most) in [(10, 5), (30, 40), (40, 80), (50, 150)] {
        let mut failed = 0;
        for _ in 0..1000 {
            let mut rig = Rig::open(BreakerPolicy { failure_rate: 0.9, ..policy() });
            rig.now = rig.machine.open_until().expect("it is open");
            while let Some(probe) = rig.probe() {
                rig.record(probe, if random.u32(..100) < percent { FAILED } else { QUICK });
            }
            failed += u32::from(rig.machine.state() == State::Open);
        }
        assert!(failed <= most, "{percent} %: {failed} of 1000 phases");
    }
}

/// Otherwise a dependency that refuses connections, or hangs while its callers have short deadlines, would be probed forever.
#[test]
fn unanswered_probes_reopen_without_answers() {
    for end in [Evidence::Unanswered, Evidence::Unsent] {
        let (mut rig, probe) = Rig::half_open(policy());
        assert_eq!(rig.record(probe, end), State::HalfOpen);
        assert_eq!(rig.calls([end; 2]), State::Open);
    }
}

/// Probes without an answer do not count among answered ones, unless ten come in a row.
#[test]
fn unanswered_probes_do_not_reopen_beside_answers() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, QUICK);
    assert_eq!(rig.calls([Evidence::Unsent; 9]), State::HalfOpen);
    assert_eq!(rig.calls([QUICK]), State::HalfOpen);
    assert_eq!(rig.calls([Evidence::Unsent; 9]), State::HalfOpen);
    assert_eq!(rig.calls([Evidence::Unsent]), State::Open, "the tenth in a row");
}

/// Half-open is no stricter than closed: where slow calls never trip, a slow probe does not fail because other calls come
/// meanwhile.
#[test]
fn slow_dependency_closes_where_slow_never_trips() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let (mut rig, probe) = Rig::half_open(BreakerPolicy { slow_rate: None, slow_after, rounds: 1, ..policy() });
    rig.now = rig.now + took;
    assert!(rig.probe().is_some(), "a call comes meanwhile, and has the place");
    assert_eq!(rig.record(probe, Evidence::Good(took)), State::Closed);
}

/// Where slow calls trip, slow probes count as slow, and not also as failures.
#[test]
fn slow_probes_count_for_the_slow_rate_only() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let mut rig = Rig::open(BreakerPolicy { slow_after, rounds: 3, ..policy() });
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.calls([QUICK; 3]), State::HalfOpen);
    let probes: Vec<_> = (0..4).map(|_| rig.probe().expect("a slot is free")).collect();
    rig.record(probes[0], QUICK);
    rig.now = rig.now + took;
    let _ = rig.admit();
    for probe in &probes[1..] {
        rig.record(*probe, Evidence::Good(took));
    }
    assert_eq!(rig.machine.state(), State::Closed, "three of seven are less than 0.8");
}

/// A dependency that is slower after the outage than any earlier threshold is given as long as the break, and breaks grow.
#[test]
fn dependency_that_recovers_slower_closes() {
    let relative = SlowAfter::Relative { factor: 10.0, floor: Duration::from_millis(500) };
    let mut rig = Rig::new(BreakerPolicy { slow_after: relative, ..policy() });
    for _ in 0..10 {
        assert_eq!(rig.call(Evidence::Good(Duration::from_millis(20))), State::Closed);
    }
    rig.trip();
    let (mut failed_phases, began) = (0, rig.now);
    while rig.machine.state() != State::Closed {
        if let Some(until) = rig.machine.open_until() {
            rig.now = rig.now.max(until);
        }
        let probe = rig.probe().expect("it is half-open");
        let took = 7 * SECOND;
        rig.now = rig.now + took;
        rig.record(probe, Evidence::Good(took));
        failed_phases += u32::from(rig.machine.state() == State::Open);
        assert!(rig.now.since(began) < 600 * SECOND, "it never recovers");
    }
    assert_eq!(failed_phases, 5, "until a break of eight seconds");
}

#[test]
fn call_with_too_little_time_is_no_probe() {
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    let hurried = rig.step(|machine, moment| machine.admit(false, true, moment).0);
    assert_eq!(hurried, Admission::Refused { retry_after: Some(SECOND) });
    assert_eq!(rig.machine.state(), State::Open);
    assert!(rig.probe().is_some());
}
