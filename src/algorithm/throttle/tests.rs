mod closed;
mod model;

use super::*;
use crate::ground::scope::Priority::{Critical, High, Low, Normal};

const START: Instant = Instant::from_nanos(1 << 63);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const POLICY: ThrottlePolicy =
    ThrottlePolicy { window: Duration::from_secs(10), multiplier: 2.0, max_share: 0.9, probe_interval: SECOND };

fn new() -> AdaptiveThrottle {
    AdaptiveThrottle::new(POLICY.window)
}

/// Sends a call, whatever the share is.
fn send(throttle: &mut AdaptiveThrottle, priority: Priority, now: Instant) -> SentCall {
    throttle.admit(&POLICY, priority, now, || 1.0).expect("a chance of one is never below the share")
}

fn accept(throttle: &mut AdaptiveThrottle, priority: Priority, now: Instant) {
    let call = send(throttle, priority, now);
    throttle.answered(call);
}

/// A call that is refused locally if there is any share.
fn is_refused(throttle: &mut AdaptiveThrottle, priority: Priority, now: Instant) -> bool {
    throttle.admit(&POLICY, priority, now, || 0.0).is_err()
}

/// Sends so many calls, of which the first `refused` are refused.
fn traffic(throttle: &mut AdaptiveThrottle, priority: Priority, sent: usize, refused: usize, now: Instant) {
    let calls: Vec<_> = (0..sent).map(|_| send(throttle, priority, now)).collect();
    calls.into_iter().take(refused).for_each(|call| throttle.refused(call, None, now));
}

fn share(throttle: &mut AdaptiveThrottle, now: Instant) -> f64 {
    throttle.counts(&POLICY, now).share
}

#[test]
fn share_follows_the_formula() {
    for (sent, refused, expected) in [
        (0, 0, 0.0),
        (1, 0, 0.0),
        (1, 1, 0.0),
        (9, 9, 0.0),
        (10, 0, 0.0),
        (10, 5, 0.0),
        (10, 6, 2.0 / 11.0),
        (10, 10, 0.9),
        (1000, 10, 0.0),
        (1000, 800, 600.0 / 1001.0),
        (1000, 1000, 0.9),
    ] {
        let mut throttle = new();
        traffic(&mut throttle, Normal, sent, refused, START);
        let counts = throttle.counts(&POLICY, START);
        assert_eq!((counts.requests, counts.accepts), (sent as u64, (sent - refused) as u64));
        assert!((counts.share - expected).abs() < 1e-9, "{sent} sent, {refused} refused: {}", counts.share);
        assert!((throttle.share_of(&POLICY, Normal) - expected).abs() < 1e-9);
    }
}

#[test]
fn local_refusals_count_as_requests() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 10, 6, START);
    let refusal = throttle.admit(&POLICY, Normal, START, || 0.18).expect_err("2 of 11");
    assert_eq!((refusal.counts.requests, refusal.counts.accepts), (10, 4));
    assert!(throttle.admit(&POLICY, Normal, START, || 0.25).is_ok(), "3 of 12 are refused now");
    assert_eq!(throttle.counts(&POLICY, START).requests, 12);
}

#[test]
fn lowest_priorities_are_refused_first() {
    let shares = |refused: usize| {
        let mut throttle = new();
        traffic(&mut throttle, Low, 10, refused.min(10), START);
        traffic(&mut throttle, Normal, 10, refused.saturating_sub(10), START);
        [Low, Normal, High, Critical].map(|priority| (throttle.share_of(&POLICY, priority) * 110.0).round())
    };
    assert_eq!(shares(10), [0.0; 4]);
    assert_eq!(shares(14), [80.0, 0.0, 0.0, 0.0], "an excess of 8 of 10 calls");
    assert_eq!(shares(18), [99.0, 60.0, 0.0, 0.0], "an excess of 16, of which 6 are not of the lowest");
    assert_eq!(shares(20), [99.0, 99.0, 0.0, 0.0], "the dependency refuses all that it gets");
}

#[test]
fn few_refusals_refuse_nothing_locally() {
    for (pause, refused) in [(10, 100), (10, 3), (700, 5), (3000, 2)] {
        let mut throttle = new();
        for call in 0..10_000u32 {
            let now = START + call * pause * MS;
            let sent = throttle.admit(&POLICY, Low, now, || 0.0).expect("most are accepted");
            if call.is_multiple_of(refused) {
                throttle.refused(sent, None, now);
            }
        }
    }
}

#[test]
fn calls_of_the_window_are_forgotten_after_it() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    assert_eq!(share(&mut throttle, START + 8900 * MS), 0.9);
    assert_eq!(throttle.counts(&POLICY, START + 10 * SECOND), ThrottleCounts::default());
    assert!(throttle.is_as_new(START + 10 * SECOND));
    assert!(!is_refused(&mut throttle, Normal, START + 10 * SECOND));
}

#[test]
fn refusal_counts_in_the_slice_of_its_call() {
    let mut throttle = new();
    let call = send(&mut throttle, Normal, START);
    throttle.refused(call, None, START + 8 * SECOND);
    let counts = throttle.counts(&POLICY, START + 8 * SECOND);
    assert_eq!((counts.requests, counts.accepts), (1, 0));
    // Both leave together.
    assert_eq!(throttle.counts(&POLICY, START + 10 * SECOND), ThrottleCounts::default());

    let call = send(&mut throttle, Normal, START + 20 * SECOND);
    let other = send(&mut throttle, Normal, START + 29 * SECOND);
    throttle.refused(call, None, START + 31 * SECOND);
    let counts = throttle.counts(&POLICY, START + 31 * SECOND);
    assert_eq!((counts.requests, counts.accepts), (1, 1), "the call is older than the window");
    throttle.refused(other, None, START + 31 * SECOND);
    assert_eq!(throttle.counts(&POLICY, START + 31 * SECOND).accepts, 0);
}

#[test]
fn withdrawn_call_leaves_no_trace() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 10, 6, START);
    let call = send(&mut throttle, High, START);
    throttle.withdraw(call);
    let counts = throttle.counts(&POLICY, START);
    assert_eq!((counts.requests, counts.accepts), (10, 4));
    assert_eq!(throttle.window.requests_below_and_at(High), (10, 0));
}

#[test]
fn call_after_the_probe_interval_is_sent() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    assert!(is_refused(&mut throttle, Normal, START + 999 * MS));
    let probe = throttle.admit(&POLICY, Low, START + SECOND, || 0.0).expect("it is due");
    throttle.refused(probe, None, START + SECOND);
    assert!(is_refused(&mut throttle, Normal, START + 1999 * MS));
    assert!(!is_refused(&mut throttle, Normal, START + 2 * SECOND));
}

#[test]
fn row_of_accepted_calls_ends_the_throttling() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    for _ in 0..19 {
        accept(&mut throttle, Normal, START + 500 * MS);
    }
    assert!(share(&mut throttle, START + 1100 * MS) > 0.6, "a half of a millionth needs twenty");
    accept(&mut throttle, Normal, START + 1100 * MS);
    assert_eq!(throttle.counts(&POLICY, START + 1100 * MS), ThrottleCounts::default());
}

#[test]
fn row_is_longer_if_fewer_are_refused_in_balance() {
    let policy = ThrottlePolicy { multiplier: 1.1, ..POLICY };
    let rows = [144, 145].map(|row| {
        let mut throttle = new();
        traffic(&mut throttle, Normal, 10_000, 10_000, START);
        for _ in 0..row {
            let call = throttle.admit(&policy, Normal, START, || 1.0).expect("a chance of one");
            throttle.answered(call);
        }
        throttle.counts(&policy, START + 1100 * MS).requests
    });
    assert_eq!(rows, [10_144, 0]);
}

#[test]
fn few_accepted_calls_end_the_throttling_after_half_of_the_window() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    for second in 1..5 {
        accept(&mut throttle, Normal, START + second * SECOND);
    }
    assert!(share(&mut throttle, START + 4999 * MS) > 0.8);
    assert_eq!(share(&mut throttle, START + 5 * SECOND), 0.0);
}

#[test]
fn silence_is_no_recovery() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    assert_eq!(share(&mut throttle, START + 8 * SECOND), 0.9, "nothing was sent since");
}

/// A dependency that stalls, or a breaker that refuses the calls further in, has not recovered.
#[test]
fn calls_without_an_answer_are_no_recovery() {
    for is_withdrawn in [false, true] {
        let mut throttle = new();
        traffic(&mut throttle, Normal, 100, 100, START);
        for _ in 0..50 {
            let call = send(&mut throttle, Normal, START + 500 * MS);
            if is_withdrawn {
                throttle.withdraw(call);
            }
        }
        assert!(share(&mut throttle, START + 1100 * MS) > 0.0 && share(&mut throttle, START + 5 * SECOND) > 0.0);
    }
}

#[test]
fn probe_that_was_not_sent_is_due_again() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 100, 100, START);
    let probe = throttle.admit(&POLICY, Normal, START + SECOND, || 0.0).expect("it is due");
    throttle.withdraw(probe);
    assert!(!is_refused(&mut throttle, Normal, START + SECOND));
    assert!(is_refused(&mut throttle, Normal, START + SECOND), "but once");
}

#[test]
fn answer_to_a_call_from_before_the_recovery_changes_nothing() {
    let mut throttle = new();
    traffic(&mut throttle, Normal, 10, 10, START);
    let calls: Vec<_> = (0..4).map(|_| send(&mut throttle, Normal, START)).collect();
    accept(&mut throttle, Normal, START + SECOND);
    assert_eq!(throttle.counts(&POLICY, START + 5 * SECOND), ThrottleCounts::default());
    let sent = send(&mut throttle, Normal, START + 5 * SECOND);
    for call in &calls {
        throttle.refused(*call, None, START + 5 * SECOND);
        throttle.withdraw(*call);
    }
    assert_eq!(throttle.counts(&POLICY, START + 5 * SECOND).requests, 1);
    assert_eq!(throttle.counts(&POLICY, START + 5 * SECOND).accepts, 1);
    throttle.refused(sent, None, START + 5 * SECOND);
    assert_eq!(throttle.counts(&POLICY, START + 5 * SECOND).accepts, 0);
}

#[test]
fn other_window_starts_empty() {
    let mut throttle = new();
    let calls: Vec<_> = (0..10).map(|_| send(&mut throttle, Normal, START)).collect();
    calls.iter().for_each(|call| throttle.refused(*call, None, START));
    let other = ThrottlePolicy { window: SECOND, ..POLICY };
    assert!(throttle.admit(&other, Normal, START, || 0.0).is_ok());
    throttle.refused(calls[0], None, START);
    let counts = throttle.counts(&other, START);
    assert_eq!((counts.requests, counts.accepts), (1, 1));
}

#[test]
fn refusal_has_the_wait_that_the_dependency_asked_for() {
    let mut throttle = new();
    let calls: Vec<_> = (0..10).map(|_| send(&mut throttle, Normal, START)).collect();
    for (call, wait) in calls.into_iter().zip([None, Some(3 * SECOND)].into_iter().cycle()) {
        throttle.refused(call, wait, START);
    }
    let refusal = throttle.admit(&POLICY, Normal, START, || 0.0).expect_err("all were refused");
    assert_eq!(refusal.retry_after, Some(3 * SECOND));
}

#[test]
fn extreme_instants_and_late_readings_do_no_harm() {
    let mut throttle = AdaptiveThrottle::new(Duration::from_nanos(1));
    for now in [Instant::MAX, Instant::from_nanos(1), START, Instant::MAX, START] {
        let policy = ThrottlePolicy { window: Duration::from_nanos(1), ..POLICY };
        let call = throttle.admit(&policy, Critical, now, || 1.0).expect("sent");
        throttle.refused(call, Some(Duration::MAX), now);
        throttle.withdraw(call);
    }
    let mut throttle = new();
    send(&mut throttle, Normal, START + 5 * SECOND);
    // Two tasks read the clock in another order than they take the lock.
    send(&mut throttle, Normal, START);
    assert_eq!(throttle.counts(&POLICY, START + 13 * SECOND).requests, 2);
}
