use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const S: CallOutcome = CallOutcome { failure: false, slow: false };
const F: CallOutcome = CallOutcome { failure: true, slow: false };
const SLOW_S: CallOutcome = CallOutcome { failure: false, slow: true };
const SLOW_F: CallOutcome = CallOutcome { failure: true, slow: true };

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn counts(calls: u64, failures: u64, slow: u64) -> OutcomeCounts {
    OutcomeCounts { calls, failures, slow }
}

#[test]
fn resilience4j_slow_calls_count_with_any_outcome() {
    let mut window = TimeWindow::new(Duration::from_secs(5));
    for outcome in [SLOW_S, SLOW_F, S, S, S] {
        window.add(at(0), outcome);
    }
    assert_eq!(window.counts(at(0)), counts(5, 1, 2));
}

#[test]
fn polly_rolling_window_is_respected() {
    let mut window = TimeWindow::new(Duration::from_secs(10));
    let mut reads = Vec::new();
    for round in 0..5 {
        window.add(at(2000 * round), if round < 2 { F } else { S });
        window.add(at(2000 * round), S);
        reads.push(window.counts(at(2000 * (round + 1))));
    }
    assert_eq!(reads[0], counts(2, 1, 0));
    assert_eq!(reads[1], counts(4, 2, 0));
    assert_eq!(reads[3], counts(8, 2, 0));
    assert_eq!(reads[4], counts(8, 1, 0));
    assert_eq!(window.counts(at(12_000)), counts(6, 0, 0));
}

#[test]
fn polly_entry_aged_exactly_the_duration_is_out() {
    for late in [10_000, 10_001] {
        let mut window = TimeWindow::new(Duration::from_secs(10));
        window.add(at(0), S);
        window.add(at(0), S);
        assert_eq!(window.counts(at(8_999)), counts(2, 0, 0));
        assert_eq!(window.counts(at(late)), counts(0, 0, 0));
    }
}

#[test]
fn failsafe_count_window_evicts_the_oldest() {
    let mut window = CountWindow::new(100);
    for i in 0..50 {
        window.add(if i % 3 == 0 { S } else { F });
    }
    assert_eq!(window.counts(), counts(50, 33, 0));
    for _ in 0..100 {
        window.add(S);
    }
    assert_eq!(window.counts(), counts(100, 0, 0));
}

/// tower-resilience: after 100,000 successes a "window" of 100 took 100,000 failures to reach one half.
#[test]
fn count_window_slides_after_many_successes() {
    let mut window = CountWindow::new(100);
    for _ in 0..100_000 {
        window.add(S);
    }
    for _ in 0..50 {
        window.add(F);
    }
    assert_eq!(window.counts(), counts(100, 50, 0));
}

/// failsafe-go: after an idle time, stale failures were read as current.
#[test]
fn outcomes_from_before_an_idle_time_are_not_read() {
    let mut window = TimeWindow::new(Duration::from_secs(10));
    for _ in 0..1000 {
        window.add(at(500), F);
    }
    for silence in [10_500, 20_500, 3_600_000, 86_400_000 * 30] {
        assert_eq!(window.counts(at(silence)), counts(0, 0, 0), "after {silence} ms");
    }
    let next_day = at(86_400_000);
    assert!(!window.add(next_day, S), "and a success sees a clean window");
    assert_eq!(window.counts(next_day), counts(1, 0, 0));
}

#[test]
fn success_reads_the_sums_only_beside_bad_outcomes() {
    let windows = [Span::Time(Duration::from_secs(10)), Span::Calls(3)].map(OutcomeWindow::new);
    for mut window in windows {
        assert!(!window.add(at(0), S));
        assert!(window.add(at(1000), F));
        assert!(window.add(at(9000), S));
        assert!(window.add(at(9000), S));
        assert!(!window.add(at(11_000), S), "the failure has left");
    }
}

#[test]
fn window_covers_its_own_span_only() {
    let spans =
        [Span::Time(Duration::from_secs(10)), Span::Time(Duration::from_secs(1)), Span::Calls(10), Span::Calls(1)];
    for (i, own) in spans.into_iter().enumerate() {
        let window = OutcomeWindow::new(own);
        assert_eq!(spans.map(|span| window.covers(span)), std::array::from_fn(|other| other == i), "{own:?}");
    }
    for extreme in [Span::Time(Duration::ZERO), Span::Time(Duration::MAX), Span::Calls(0), Span::Calls(u32::MAX)] {
        assert!(OutcomeWindow::new(extreme).covers(extreme), "{extreme:?}");
    }
}

#[test]
fn extreme_instants_do_not_panic() {
    let mut window = TimeWindow::new(Duration::from_secs(10));
    for end in [Instant::from_nanos(0), Instant::MAX] {
        window.clear();
        window.add(end, F);
        assert_eq!(window.counts(end), counts(1, 1, 0));
    }
}

#[test]
fn count_window_holds_as_many_calls_as_its_size() {
    for size in [1, 2, 65, MAX_CALLS, MAX_CALLS + 1] {
        let (mut window, held) = (CountWindow::new(size), size.min(MAX_CALLS) as u64);
        for n in 0..held {
            window.add(if n == 0 { F } else { S });
        }
        assert_eq!(window.counts(), counts(held, 1, 0), "of {size}");
        window.add(S);
        assert_eq!(window.counts(), counts(held, 0, 0), "of {size}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(CallOutcome),
    Advance(u64),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![4 => Just(S), 2 => Just(F), 1 => Just(SLOW_S), 1 => Just(SLOW_F)];
    let step = prop_oneof![
        20 => outcome.prop_map(Step::Add),
        6 => (0..400u64).prop_map(Step::Advance),
        1 => (0..20_000u64).prop_map(Step::Advance),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..300)
}

fn sum<'a>(events: impl Iterator<Item = &'a CallOutcome>) -> OutcomeCounts {
    events.fold(OutcomeCounts::default(), |sum, outcome| OutcomeCounts {
        calls: sum.calls + 1,
        failures: sum.failures + u64::from(outcome.failure),
        slow: sum.slow + u64::from(outcome.slow),
    })
}

proptest! {
    /// Compared with a list of events, cut at bucket bounds.
    #[test]
    fn time_window_matches_a_list_of_events(start in 0..10_000u64, steps in steps()) {
        let mut window = OutcomeWindow::new(Span::Time(Duration::from_secs(1)));
        let mut events: Vec<(u64, CallOutcome)> = Vec::new();
        let mut now = start;
        for step in steps {
            match step {
                Step::Add(outcome) => {
                    events.push((now / 100, outcome));
                    let anything_bad = window.add(at(now), outcome);
                    let expected = events.iter().any(|(epoch, outcome)| now / 100 - epoch < 10 && outcome.is_bad());
                    prop_assert_eq!(anything_bad, expected);
                }
                Step::Advance(millis) => now += millis,
                Step::Clear => {
                    window.clear();
                    events.clear();
                }
            }
            let expected = sum(events.iter().filter(|(epoch, _)| now / 100 - epoch < 10).map(|(_, outcome)| outcome));
            prop_assert_eq!(window.counts(at(now)), expected);
        }
    }

    #[test]
    fn count_window_matches_a_list_of_outcomes(size in 1..40usize, steps in steps()) {
        let mut window = OutcomeWindow::new(Span::Calls(size as u32));
        let mut events = VecDeque::new();
        for step in steps {
            match step {
                Step::Add(outcome) => {
                    events.push_back(outcome);
                    if events.len() > size {
                        events.pop_front();
                    }
                    let anything_bad = window.add(at(0), outcome);
                    prop_assert_eq!(anything_bad, events.iter().any(|outcome| outcome.is_bad()));
                }
                Step::Advance(_) => {}
                Step::Clear => {
                    window.clear();
                    events.clear();
                }
            }
            prop_assert_eq!(window.counts(at(0)), sum(events.iter()));
        }
    }
}
