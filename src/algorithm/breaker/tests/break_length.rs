//! How long a break is, and what refused calls are told about it.

use super::*;

#[test]
fn breaks_grow_up_to_the_longest() {
    let mut rig = Rig::open(policy());
    let mut breaks = Vec::new();
    for _ in 0..10 {
        let until = rig.machine.open_until().expect("it is open");
        breaks.push(until.since(rig.now).as_secs());
        assert_eq!(rig.fail(), 3, "probes");
    }
    assert_eq!(breaks, [1, 1, 1, 2, 4, 8, 16, 30, 30, 30]);
}

/// A probe that fails at once costs nobody time.
#[test]
fn breaks_stay_short_while_probes_fail_at_once() {
    let mut rig = Rig::open(policy());
    for _ in 0..10 {
        let until = rig.machine.open_until().expect("it is open");
        assert_eq!(until.since(rig.now), SECOND);
        assert_eq!(rig.fail_with(FAILED), 3, "probes");
    }
}

/// Finagle: "markDeadFor resets on revived".
#[test]
fn breaks_are_short_again_after_a_close() {
    let mut rig = Rig::open(policy());
    for _ in 0..8 {
        rig.fail();
    }
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.recover(), 15, "1 + 2 + 4 + 8 probes");
    rig.trip();
    assert_eq!(rig.retry_after(), Some(SECOND));
}

/// Breaks grow only while nothing answers.
#[test]
fn break_after_a_good_probe_is_short() {
    let mut rig = Rig::open(policy());
    for _ in 0..8 {
        rig.fail();
    }
    rig.now = rig.machine.open_until().expect("it is open");
    rig.calls([QUICK]);
    while rig.machine.state() == State::HalfOpen {
        rig.calls([FAILED]);
    }
    assert_eq!(rig.retry_after(), Some(SECOND));
}

/// A break ends by time or after enough refused calls.
#[test]
fn long_break_ends_early_after_enough_refusals() {
    let mut rig = Rig::open(policy());
    for _ in 0..6 {
        rig.fail();
    }
    let until = rig.machine.open_until().expect("it is open");
    assert_eq!(until.since(rig.now), 16 * SECOND);
    for (after, refused_enough, passes) in
        [(SECOND / 2, true, false), (2 * SECOND, false, false), (2 * SECOND, true, true)]
    {
        let since = until.minus(16 * SECOND);
        rig.now = since + after;
        let admission = rig.step(|machine, moment| machine.admit(true, refused_enough, moment).0);
        assert_eq!(matches!(admission, Admission::Probe(_)), passes, "{after:?} {refused_enough}");
    }
}

#[test]
fn jitter_only_shortens_breaks() {
    for (chance, millis) in [(0.0, 1000), (0.5, 900), (0.999_999, 800)] {
        let jittered = BreakerPolicy { jitter: 0.2, ..policy() };
        let mut rig = Rig::new(jittered);
        let _ = rig.step(|machine, moment| machine.trip(0, TRIP, &Moment { chance, ..*moment }));
        let left = rig.retry_after().expect("the break has an end");
        assert_eq!((left.as_secs_f64() * 1000.0).round() as u64, millis);
    }
}

/// Polly: the instant of the end of a break saturates instead of overflowing.
#[test]
fn break_near_the_end_of_time_saturates() {
    let mut rig = Rig::new(BreakerPolicy { break_for: Duration::MAX, max_break: Duration::MAX, ..policy() });
    rig.now = Instant::MAX.minus(SECOND);
    rig.trip();
    assert_eq!(rig.machine.open_until(), Some(Instant::MAX));
    assert_eq!(rig.retry_after(), Some(SECOND));
}

#[test]
fn unbounded_growth_stays_at_the_longest_break() {
    let policy = BreakerPolicy { break_growth: f64::MAX, ..policy() };
    assert_eq!(policy.pause(u32::MAX), 30 * SECOND);
    assert_eq!(BreakerPolicy { break_growth: f64::NAN, ..policy }.pause(9), 30 * SECOND);
}

/// failsafe-go: the remaining delay counts down, and is none when half-open. Polly: 1 ms after re-opening, a refusal says break - 1 ms.
#[test]
fn refusal_has_the_rest_of_the_break_as_retry_after() {
    let mut rig = Rig::open(policy());
    for (at, left) in [(0, 1000), (1, 999), (110, 890), (999, 1)] {
        rig.now = start() + Duration::from_millis(at);
        assert_eq!(rig.retry_after(), Some(Duration::from_millis(left)));
    }
    rig.now = start() + SECOND;
    assert!(rig.probe().is_some());
}
