//! Calls that race with each other and with a reload.

use super::*;
use crate::algorithm::breaker::{SlowAfter, State};

const NOW: Instant = Instant::from_nanos(1 << 40);
const SECOND: Duration = Duration::from_secs(1);

/// One failure opens it, one successful probe closes it.
fn breaker() -> Arc<Breaker> {
    let policy = BreakerPolicy {
        failure_rate: 1.0,
        slow_rate: None,
        bad_in_a_row: Some(1),
        minimum_calls: 1,
        slow_after: SlowAfter::Fixed(SECOND),
        break_for: SECOND,
        short_breaks: 1,
        break_growth: 1.0,
        max_break: SECOND,
        jitter: 0.0,
        rounds: 1,
    };
    let settings = Arc::new(Settings::new(BreakerSettings { policy, max_hold: SECOND }));
    Arc::new(Breaker::new(settings, Span::Calls(1), Mode::Enforcing, None, Instruments::new(super::super::KIND)))
}

fn pass(breaker: &Breaker, now: Instant) -> Pass {
    breaker.admit(SECOND, now).unwrap_or_else(|_| panic!("refused"))
}

/// Two calls of a closed breaker fail at once: it opens once, and nothing stays in flight.
#[test]
fn loom_two_failures_open_once() {
    loom::model(|| {
        let breaker = breaker();
        let (ours, theirs) = (pass(&breaker, NOW), pass(&breaker, NOW));
        let other = Arc::clone(&breaker);
        let thread = loom::thread::spawn(move || other.settle(theirs, Evidence::Bad(SECOND), NOW));
        breaker.settle(ours, Evidence::Bad(SECOND), NOW);
        thread.join().expect("no panic");
        let snapshot = breaker.snapshot(NOW);
        assert_eq!((snapshot.state, snapshot.in_flight), (State::Open, 0));
        let refused = breaker.admit(SECOND, NOW).err();
        assert_eq!(refused.map(|refused| refused.retry_after), Some(Some(SECOND)), "one break, not two");
    });
}

/// The break is over, and two calls arrive: exactly one of them is the probe.
#[test]
fn loom_one_of_two_calls_is_the_probe() {
    loom::model(|| {
        let breaker = breaker();
        breaker.settle(pass(&breaker, NOW), Evidence::Bad(SECOND), NOW);
        let other = Arc::clone(&breaker);
        let thread = loom::thread::spawn(move || other.admit(SECOND, NOW + SECOND).is_ok());
        let ours = breaker.admit(SECOND, NOW + SECOND).is_ok();
        assert!(ours ^ thread.join().expect("no panic"));
    });
}

/// A stale failure of the closed state races with the probe that closes the breaker again: it does not open it.
#[test]
fn loom_stale_failure_does_not_reopen() {
    loom::model(|| {
        let breaker = breaker();
        let late = pass(&breaker, NOW);
        breaker.settle(pass(&breaker, NOW), Evidence::Bad(SECOND), NOW);
        let probe = pass(&breaker, NOW + SECOND);
        let other = Arc::clone(&breaker);
        let thread = loom::thread::spawn(move || other.settle(late, Evidence::Bad(SECOND), NOW + SECOND));
        breaker.settle(probe, Evidence::Good(Duration::ZERO), NOW + SECOND);
        thread.join().expect("no panic");
        let snapshot = breaker.snapshot(NOW + SECOND);
        assert_eq!((snapshot.state, snapshot.calls, snapshot.in_flight), (State::Closed, 0, 0));
    });
}

/// The window changes while an earlier call fails: the failure is not counted in the new window, and the breaker opens at most
/// once.
#[test]
fn loom_stale_failure_is_not_counted_in_a_new_window() {
    loom::model(|| {
        let breaker = breaker();
        let late = pass(&breaker, NOW);
        let other = Arc::clone(&breaker);
        let thread = loom::thread::spawn(move || other.settle(late, Evidence::Bad(SECOND), NOW));
        breaker.reloaded(Some(Span::Calls(2)), NOW);
        let state = breaker.snapshot(NOW).state;
        thread.join().expect("no panic");
        let snapshot = breaker.snapshot(NOW);
        assert_eq!((snapshot.state, snapshot.calls, snapshot.in_flight), (state, 0, 0));
    });
}
