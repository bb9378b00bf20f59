//! The calls of a closed breaker.

use super::*;

#[test]
fn good_answer_ends_the_streak() {
    let mut rig = Rig::new(BreakerPolicy { minimum_calls: 100, bad_in_a_row: Some(3), ..policy() });
    for end in [FAILED, FAILED, QUICK, FAILED, FAILED, Evidence::Alive, FAILED, FAILED] {
        assert_eq!(rig.call(end), State::Closed);
    }
    assert_eq!(rig.call(FAILED), State::Open);
}

#[test]
fn stale_good_answer_leaves_the_streak_unchanged() {
    let mut rig = Rig::new(BreakerPolicy { minimum_calls: 100, bad_in_a_row: Some(3), ..policy() });
    let late = rig.enter();
    drop(rig.machine.replace_window(OutcomeWindow::new(Span::Calls(10)), rig.now));
    assert_eq!(rig.call(FAILED), State::Closed);
    assert_eq!(rig.call(FAILED), State::Closed);
    assert_eq!(rig.leave(late, QUICK), State::Closed);
    assert_eq!(rig.call(FAILED), State::Open);
}

/// The window, the ages and the streak begin again; calls from before neither count nor end the age of another call.
#[test]
fn calls_from_before_a_change_of_window_are_stale() {
    for span in [Span::Calls(2), Span::Time(10 * SECOND), Span::Calls(30)] {
        let mut rig = Rig::new(BreakerPolicy { minimum_calls: 2, bad_in_a_row: Some(3), ..policy() });
        rig.call(FAILED);
        let (answered, failed) = (rig.enter(), rig.enter());
        drop(rig.machine.replace_window(OutcomeWindow::new(span), rig.now));
        let current = rig.enter();
        assert_eq!(rig.leave(answered, QUICK), State::Closed);
        assert_eq!(rig.leave(failed, FAILED), State::Closed);
        assert_eq!(rig.machine.in_flight(&rig.policy, rig.now), (1, 0));
        assert_eq!(rig.machine.counts(rig.now).calls, 0, "{span:?}");
        assert_eq!(rig.leave(current, FAILED), State::Closed);
        assert_eq!(rig.call(FAILED), State::Open, "{span:?}");
    }
}

/// The ages of calls that are stale after an outage do not count among those of new calls.
#[test]
fn calls_from_before_an_outage_are_not_in_flight_after_it() {
    let mut rig = Rig::new(policy());
    let old: Vec<_> = (0..40).map(|_| rig.enter()).collect();
    rig.trip();
    assert_eq!(rig.machine.in_flight(&rig.policy, rig.now).0, 40);
    rig.now = rig.machine.open_until().expect("it is open");
    rig.recover();
    let new = rig.enter();
    for call in old {
        rig.leave(call, FAILED);
    }
    assert_eq!(rig.machine.in_flight(&rig.policy, rig.now).0, 1);
    rig.leave(new, QUICK);
    assert_eq!((rig.machine.in_flight(&rig.policy, rig.now).0, rig.machine.counts(rig.now).calls), (0, 1));
}
