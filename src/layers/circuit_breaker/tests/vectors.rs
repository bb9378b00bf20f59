//! Cases from the suites of resilience4j, failsafe-go, Sentinel and Finagle.

use super::*;

/// The config of most cases of resilience4j's suite. They have no rule for consecutive failures.
fn resilience4j() -> CircuitBreakerConfig {
    CircuitBreakerConfig {
        window: Window::Time(20 * SECOND),
        minimum_calls: 5,
        failure_rate: 0.5,
        slow_rate: Some(0.5),
        slow_after: Some(4 * SECOND),
        consecutive_failures: None,
        break_duration: 5 * SECOND,
        max_break: 5 * SECOND,
        ..default()
    }
}

#[test]
fn resilience4j_success_that_completes_the_minimum_opens() {
    let rig = Rig::new(resilience4j());
    assert_eq!(rig.calls([F, F, F, S]), Closed, "below the minimum of calls there is no rate");
    assert_eq!(rig.call(S), Open);
    assert!(rig.refused());
    let counts = rig.snapshot();
    assert_eq!((counts.calls, counts.failures), (5, 3));
}

#[test]
fn resilience4j_opens_at_exactly_the_rate() {
    let mut rig = Rig::new(resilience4j());
    for end in [S, S, S, F, F] {
        assert_eq!(rig.call(end), Closed);
        rig.wait(SECOND);
    }
    assert_eq!(rig.call(F), Open, "three of six");
}

#[test]
fn resilience4j_opens_at_the_slow_call_rate() {
    let mut rig = Rig::new(resilience4j());
    for seconds in [5, 5, 1, 1] {
        let pass = rig.pass().expect("it is closed");
        rig.wait(seconds * SECOND);
        assert_eq!(rig.settle(pass, Evidence::Good(seconds * SECOND)), Closed);
    }
    let pass = rig.pass().expect("it is closed");
    rig.wait(5 * SECOND);
    assert_eq!(rig.settle(pass, Evidence::Good(5 * SECOND)), Open);
}

#[test]
fn resilience4j_is_half_open_only_after_the_break() {
    for (pause, too_early) in [(5 * SECOND, 3 * SECOND), (7200 * SECOND, 3600 * SECOND)] {
        let mut rig = Rig::new(CircuitBreakerConfig { break_duration: pause, max_break: pause, ..resilience4j() });
        rig.calls([F; 5]);
        rig.wait(too_early);
        assert!(rig.refused());
        rig.wait(pause.saturating_sub(too_early) + SECOND);
        assert!(rig.pass().is_some());
        assert_eq!(rig.state(), HalfOpen);
    }
}

#[test]
fn resilience4j_closing_clears_the_counts() {
    let mut rig = Rig::new(resilience4j());
    rig.calls([F; 5]);
    rig.wait(5 * SECOND);
    assert_eq!(rig.calls([S; 15]), Closed);
    assert_eq!(
        rig.snapshot(),
        BreakerSnapshot { state: Closed, calls: 0, failures: 0, slow: 0, in_flight: 0, overdue: 0 }
    );
    assert_eq!(rig.call(S), Closed);
    assert_eq!(rig.snapshot().calls, 1);
}

#[test]
fn resilience4j_disabled_and_forced_open_ignore_results() {
    let mut rig = Rig::new(resilience4j());
    rig.breaker.set_mode(Mode::Disabled, rig.now);
    assert_eq!(rig.calls([F; 50]), Disabled);
    assert_eq!(rig.snapshot().calls, 0);
    rig.breaker.set_mode(Mode::ForcedOpen, rig.now);
    rig.wait(6 * SECOND);
    let refused = rig.breaker.admit(SECOND, rig.now).expect_err("it is forced open");
    assert_eq!(refused.retry_after, None, "the end of a forced-open is not known");
    assert_eq!(rig.state(), ForcedOpen);
}

/// resilience4j has a separate maximum wait in half-open; here a hanging probe loses its slot after the slow threshold,
/// and fails after the break's length, as three of them together do.
#[test]
fn resilience4j_hanging_probes_end_half_open() {
    let mut rig = Rig::new(resilience4j());
    rig.calls([F; 5]);
    rig.wait(5 * SECOND);
    let began = rig.now;
    let mut hanging = vec![rig.pass().expect("the break is over")];
    while rig.state() == HalfOpen {
        rig.wait(SECOND);
        hanging.extend(rig.pass());
        assert!(rig.now.since(began) < 20 * SECOND, "{:?}", rig.snapshot());
    }
    assert_eq!(hanging.len(), 3);
    assert_eq!(rig.state(), Open);
}

#[test]
fn failsafe_three_consecutive_failures_open() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), minimum_calls: 1000, ..default() });
    assert_eq!(rig.calls([F, S, F, F]), Closed);
    assert_eq!(rig.call(F), Open);
}

#[test]
fn failsafe_ratio_of_the_last_calls_opens() {
    let last = |window, failure_rate| CircuitBreakerConfig {
        window: Window::Calls(window),
        minimum_calls: window,
        failure_rate,
        consecutive_failures: None,
        ..default()
    };
    let two_of_three = Rig::new(last(3, 2.0 / 3.0));
    assert_eq!(two_of_three.calls([F, S]), Closed);
    assert_eq!(two_of_three.call(F), Open);
    let three_of_four = Rig::new(last(4, 0.75));
    for _ in 0..20 {
        assert_eq!(three_of_four.calls([S, F]), Closed);
    }
}

#[test]
fn sentinel_slow_request_ratio_opens() {
    let slow = Evidence::Good(60 * MS);
    let mut rig = Rig::new(CircuitBreakerConfig {
        window: Window::Time(20 * SECOND),
        slow_after: Some(50 * MS),
        break_duration: 5 * SECOND,
        max_break: 5 * SECOND,
        half_open_rounds: 1,
        ..default()
    });
    assert_eq!(rig.calls([slow; 7]), Closed);
    assert_eq!(rig.calls([S; 3]), Closed);
    // Seven and five of fifteen: exactly the rate.
    assert_eq!(rig.calls([slow; 5]), Open);
    rig.wait(SECOND);
    assert!(rig.refused());
    rig.wait(5 * SECOND);
    assert_eq!(rig.call(slow), Open);
    rig.wait(6 * SECOND);
    assert_eq!(rig.call(S), Closed);
}

#[test]
fn finagle_success_resets_consecutive_failures() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), minimum_calls: 1000, ..default() });
    assert_eq!(rig.calls([F, S, F, F]), Closed);
    assert_eq!(rig.call(F), Open);
}

#[test]
fn finagle_success_rate_needs_enough_requests() {
    let five = CircuitBreakerConfig { minimum_calls: 5, consecutive_failures: None, ..default() };
    let rig = Rig::new(CircuitBreakerConfig { window: Window::Calls(5), ..five.clone() });
    assert_eq!(rig.calls([F; 4]), Closed);
    assert_eq!(rig.call(F), Open);
    let mut rig = Rig::new(CircuitBreakerConfig { window: Window::Time(30 * SECOND), failure_rate: 0.01, ..five });
    rig.wait(30 * SECOND);
    assert_eq!(rig.calls([F; 4]), Closed);
    assert_eq!(rig.call(F), Open);
}
