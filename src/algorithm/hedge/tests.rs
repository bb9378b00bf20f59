use proptest::prelude::*;

use super::*;

const START: Instant = Instant::from_nanos(1 << 63);
const DELAY: Duration = Duration::from_millis(10);
const LIMITS: AttemptLimits = AttemptLimits {
    now: START,
    deadline: Instant::from_nanos((1 << 63) + 1_000_000_000),
    grain: Duration::from_millis(1),
    max_pause: Duration::from_millis(500),
    took: Duration::ZERO,
};

/// A call with this many attempts in flight, the last one sent at the start.
fn with_in_flight(in_flight: u32, max_attempts: u32) -> Hedging {
    let mut hedging = Hedging::new(max_attempts, false);
    for _ in 0..in_flight {
        hedging.start();
        hedging.sent(START, Some(DELAY));
    }
    hedging
}

fn end(hedging: &mut Hedging, verdict: Verdict) -> AfterAttempt {
    hedging.end(verdict, &LIMITS, || None, |_| true)
}

#[test]
fn hedge_is_due_after_the_delay_and_not_after_the_last_attempt() {
    let mut hedging = with_in_flight(1, 2);
    assert_eq!(hedging.due(), Some(START + DELAY));
    hedging.start();
    hedging.sent(START + DELAY, Some(DELAY));
    assert_eq!((hedging.due(), hedging.stopped()), (None, Some(NoAttempt::Attempts)));
    assert_eq!(with_in_flight(1, 1).due(), None);
    let mut never = Hedging::new(2, false);
    never.start();
    never.sent(START, None);
    assert_eq!(never.due(), None);
}

/// gRPC A6: a fatal status ends all, any other failure starts the next attempt at once.
#[test]
fn answer_decides_and_failure_starts_the_next() {
    for verdict in [Verdict::Success, Verdict::CallerFault, Verdict::Failed] {
        for in_flight in 1..3 {
            assert_eq!(end(&mut with_in_flight(in_flight, 3), verdict), AfterAttempt::Decided, "{verdict:?}");
        }
    }
    let overloaded = Verdict::Overloaded { retry_after: None };
    for verdict in [Verdict::Transient, Verdict::Unprocessed, Verdict::TimedOut, Verdict::Unsent, overloaded] {
        assert_eq!(end(&mut with_in_flight(1, 2), verdict), AfterAttempt::Start, "{verdict:?}");
        assert_eq!(end(&mut with_in_flight(2, 3), verdict), AfterAttempt::Start, "{verdict:?}");
        assert_eq!(end(&mut with_in_flight(2, 2), verdict), AfterAttempt::Wait, "{verdict:?}");
        assert_eq!(end(&mut with_in_flight(1, 1), verdict), AfterAttempt::Exhausted(NoAttempt::Attempts));
    }
}

/// Inside a retry, which follows failures: an attempt starts only because others are slow.
#[test]
fn failure_inside_a_retry_starts_nothing() {
    let answers = [Verdict::Success, Verdict::CallerFault, Verdict::Failed];
    let overloaded = Verdict::Overloaded { retry_after: None };
    let failures =
        [Verdict::Transient, Verdict::Unprocessed, Verdict::TimedOut, Verdict::Unsent, overloaded, Verdict::Lost];
    for verdict in answers.into_iter().chain(failures) {
        let inside = |in_flight| {
            let mut hedging = Hedging { inside_retries: true, ..with_in_flight(in_flight, 3) };
            let pause = || Some(Duration::from_millis(20));
            (hedging.end(verdict, &LIMITS, pause, |_| true), hedging.due())
        };
        let is_answer = answers.contains(&verdict);
        let (alone, beside) = match is_answer {
            true => (AfterAttempt::Decided, AfterAttempt::Decided),
            false => (AfterAttempt::Exhausted(NoAttempt::Verdict), AfterAttempt::Wait),
        };
        assert_eq!((inside(1).0, inside(2).0), (alone, beside), "{verdict:?}");
        assert!(is_answer || inside(2).1.is_none(), "{verdict:?}");
    }
}

/// gRPC A6: a negative pushback stops further attempts, and those in flight go on.
#[test]
fn refusal_of_further_attempts_keeps_those_in_flight() {
    for verdict in [Verdict::DoNotRetry, Verdict::Ignored] {
        let mut hedging = with_in_flight(2, 3);
        assert_eq!((end(&mut hedging, verdict), hedging.due()), (AfterAttempt::Wait, None));
        assert_eq!(end(&mut hedging, Verdict::Transient), AfterAttempt::Exhausted(NoAttempt::Verdict));
        assert_eq!(end(&mut with_in_flight(1, 3), verdict), AfterAttempt::Exhausted(NoAttempt::Verdict));
    }
}

#[test]
fn pause_delays_the_next_attempt() {
    let pause = Duration::from_millis(300);
    let overloaded = Verdict::Overloaded { retry_after: Some(pause) };
    let mut hedging = with_in_flight(1, 2);
    assert_eq!((end(&mut hedging, overloaded), hedging.due()), (AfterAttempt::Pause, Some(START + pause)));
    let mut hedging = with_in_flight(2, 3);
    assert_eq!((end(&mut hedging, overloaded), hedging.due()), (AfterAttempt::Wait, Some(START + pause)));
    let asks = |wait| move || Some(wait);
    let mut hedging = with_in_flight(1, 2);
    assert_eq!(hedging.end(Verdict::Transient, &LIMITS, asks(pause), |_| true), AfterAttempt::Pause);
    let too_long = LIMITS.max_pause + Duration::from_millis(1);
    let after = with_in_flight(1, 2).end(Verdict::Transient, &LIMITS, asks(too_long), |_| true);
    assert_eq!(after, AfterAttempt::Exhausted(NoAttempt::RetryAfter));
    let soon = AttemptLimits { deadline: START + pause, ..LIMITS };
    let after = with_in_flight(1, 2).end(Verdict::Transient, &soon, asks(pause), |_| true);
    assert_eq!(after, AfterAttempt::Exhausted(NoAttempt::Deadline));
}

#[test]
fn pause_holds_for_the_attempts_after_other_failures() {
    let pause = Duration::from_millis(200);
    let paused = || {
        let mut hedging = with_in_flight(2, 4);
        let overloaded = Verdict::Overloaded { retry_after: Some(pause) };
        assert_eq!(end(&mut hedging, overloaded), AfterAttempt::Wait);
        assert_eq!(hedging.due(), Some(START + pause));
        hedging
    };
    for delay in [None, Some(DELAY)] {
        let mut hedging = paused();
        hedging.sent(START, delay);
        assert_eq!(hedging.due(), Some(START + pause), "the other attempt was sent later, {delay:?}");
        hedging.sent(START + pause, delay);
        assert_eq!(hedging.due(), delay.map(|delay| START + pause + delay), "the pause is over");
    }
    let mut hedging = paused();
    assert_eq!(end(&mut hedging, Verdict::Transient), AfterAttempt::Pause);
    assert_eq!(hedging.due(), Some(START + pause));
}

/// A request that kills its server is sent to two servers at most.
#[test]
fn lost_request_is_sent_once_more_at_most() {
    let mut hedging = with_in_flight(1, 5);
    assert_eq!(end(&mut hedging, Verdict::Lost), AfterAttempt::Start);
    hedging.start();
    hedging.sent(START, Some(DELAY));
    assert_eq!(hedging.due(), None, "no hedge beside it");
    assert_eq!(end(&mut hedging, Verdict::Lost), AfterAttempt::Exhausted(NoAttempt::Verdict));

    let mut hedging = with_in_flight(2, 5);
    assert_eq!((end(&mut hedging, Verdict::Lost), hedging.due()), (AfterAttempt::Wait, None));
    assert_eq!(end(&mut hedging, Verdict::Transient), AfterAttempt::Exhausted(NoAttempt::Verdict));
}

#[test]
fn attempt_needs_time_and_a_repeatable_request() {
    let after = with_in_flight(1, 2).end(Verdict::Transient, &LIMITS, || None, |_| false);
    assert_eq!(after, AfterAttempt::Exhausted(NoAttempt::NotRepeatable));
    let late = AttemptLimits { now: LIMITS.deadline.minus(LIMITS.grain), ..LIMITS };
    let mut hedging = with_in_flight(1, 2);
    assert!(!hedging.has_time(&late) && !hedging.may_start());
    assert!(with_in_flight(1, 2).has_time(&LIMITS));
    // After a timeout of nine seconds, a second is not left.
    let timed_out = AttemptLimits { took: Duration::from_secs(10), ..LIMITS };
    let after = with_in_flight(1, 2).end(Verdict::TimedOut, &timed_out, || None, |_| true);
    assert_eq!(after, AfterAttempt::Exhausted(NoAttempt::Deadline));
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let wait = prop::option::of((0..800u64).prop_map(Duration::from_millis));
    prop_oneof![
        Just(Verdict::Success),
        Just(Verdict::Failed),
        Just(Verdict::DoNotRetry),
        Just(Verdict::Ignored),
        Just(Verdict::Lost),
        Just(Verdict::Transient),
        Just(Verdict::Unsent),
        Just(Verdict::TimedOut),
        wait.prop_map(|retry_after| Verdict::Overloaded { retry_after }),
    ]
}

proptest! {
    /// Whatever the attempts do: the call ends, within its attempts and before its deadline, and never while an answer is to come.
    #[test]
    fn call_ends_within_its_attempts(
        max_attempts in 1..6u32,
        steps in prop::collection::vec((any::<bool>(), verdict(), 0..200u64), 1..40),
    ) {
        let (mut hedging, mut now, mut lost) = (Hedging::new(max_attempts, false), START, 0);
        hedging.start();
        hedging.sent(now, Some(DELAY));
        for (slow, verdict, after) in steps {
            now = now + Duration::from_millis(after);
            let limits = AttemptLimits { now, ..LIMITS };
            if now >= limits.deadline {
                return Ok(());
            }
            if slow || hedging.in_flight() == 0 {
                // The next attempt is due.
                let Some(due) = hedging.due() else {
                    prop_assert!(hedging.in_flight() > 0, "nothing is in flight or due");
                    continue;
                };
                now = now.max(due);
                if hedging.has_time(&AttemptLimits { now, ..limits }) {
                    hedging.start();
                    hedging.sent(now, Some(DELAY));
                } else if hedging.in_flight() == 0 {
                    return Ok(());
                }
                continue;
            }
            let before = hedging.in_flight();
            lost += u32::from(verdict == Verdict::Lost);
            match hedging.end(verdict, &limits, || None, |_| true) {
                AfterAttempt::Decided => {
                    prop_assert!(matches!(verdict, Verdict::Success | Verdict::Failed));
                    return Ok(());
                }
                AfterAttempt::Exhausted(_) => {
                    prop_assert!(before == 1 && !hedging.may_start());
                    return Ok(());
                }
                AfterAttempt::Wait => prop_assert!(hedging.in_flight() > 0),
                AfterAttempt::Pause => prop_assert!(hedging.in_flight() == 0 && hedging.due() > Some(now)),
                AfterAttempt::Start => {
                    hedging.start();
                    hedging.sent(now, Some(DELAY));
                }
            }
            prop_assert!(hedging.started() <= max_attempts);
            prop_assert!(hedging.due().is_none_or(|_| hedging.may_start()));
            prop_assert!(lost == 0 || hedging.in_flight() + lost <= max_attempts.max(2));
        }
    }
}
