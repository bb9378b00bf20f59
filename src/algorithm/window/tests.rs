use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const S: Outcome = Outcome { failure: false, slow: false };
const F: Outcome = Outcome { failure: true, slow: false };
const SLOW_S: Outcome = Outcome { failure: false, slow: true };
const SLOW_F: Outcome = Outcome { failure: true, slow: true };

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn counts(calls: u64, failures: u64, slow: u64) -> Counts {
    Counts { calls, failures, slow }
}

#[test]
fn resilience4j_slow_calls_count_with_any_outcome() {
    let window = TimeWindow::new(Duration::from_secs(5));
    for outcome in [SLOW_S, SLOW_F, S, S, S] {
        window.add(0, at(0), outcome);
    }
    assert_eq!(window.counts(0, at(0)), counts(5, 1, 2));
}

#[test]
fn polly_rolling_window_is_respected() {
    let window = TimeWindow::new(Duration::from_secs(10));
    let mut reads = Vec::new();
    for round in 0..5 {
        window.add(0, at(2000 * round), if round < 2 { F } else { S });
        window.add(0, at(2000 * round), S);
        reads.push(window.counts(0, at(2000 * (round + 1))));
    }
    assert_eq!(reads[0], counts(2, 1, 0));
    assert_eq!(reads[1], counts(4, 2, 0));
    assert_eq!(reads[3], counts(8, 2, 0));
    assert_eq!(reads[4], counts(8, 1, 0));
    assert_eq!(window.counts(0, at(12_000)), counts(6, 0, 0));
}

#[test]
fn polly_entry_aged_exactly_the_duration_is_out() {
    for late in [10_000, 10_001] {
        let window = TimeWindow::new(Duration::from_secs(10));
        window.add(0, at(0), S);
        window.add(0, at(0), S);
        assert_eq!(window.counts(0, at(8_999)), counts(2, 0, 0));
        assert_eq!(window.counts(0, at(late)), counts(0, 0, 0));
    }
}

#[test]
fn failsafe_count_window_evicts_the_oldest() {
    let window = CountWindow::new(100);
    for i in 0..50 {
        window.add(0, if i % 3 == 0 { S } else { F });
    }
    assert_eq!(window.counts(0), counts(50, 33, 0));
    for _ in 0..100 {
        window.add(0, S);
    }
    assert_eq!(window.counts(0), counts(100, 0, 0));
}

/// tower-resilience: after 100,000 successes a "window" of 100 took 100,000 failures to reach one half.
#[test]
fn count_window_slides_after_many_successes() {
    let window = CountWindow::new(100);
    for _ in 0..100_000 {
        window.add(0, S);
    }
    for _ in 0..50 {
        window.add(0, F);
    }
    assert_eq!(window.counts(0), counts(100, 50, 0));
}

/// failsafe-go: after an idle time, stale failures were read as current.
#[test]
fn outcomes_from_before_an_idle_time_are_not_read() {
    let window = TimeWindow::new(Duration::from_secs(10));
    for _ in 0..1000 {
        window.add(0, at(500), F);
    }
    for silence in [10_500, 20_500, 3_600_000, 86_400_000 * 30] {
        assert_eq!(window.counts(0, at(silence)), counts(0, 0, 0), "after {silence} ms");
    }
    let next_day = at(86_400_000);
    assert!(!window.add(0, next_day, S), "and a success sees a clean window");
    assert_eq!(window.counts(0, next_day), counts(1, 0, 0));
}

#[test]
fn success_reads_the_sums_only_beside_bad_outcomes() {
    let windows = [Span::Time(Duration::from_secs(10)), Span::Calls(3)].map(Window::new);
    for window in windows {
        assert!(!window.add(0, at(0), S));
        assert!(window.add(0, at(1000), F));
        assert!(window.add(0, at(9000), S));
        assert!(window.add(0, at(9000), S));
        assert!(!window.add(0, at(11_000), S), "the failure has left");
    }
}

#[test]
fn extreme_instants_do_not_panic() {
    let window = TimeWindow::new(Duration::from_secs(10));
    for end in [Instant::from_nanos(0), Instant::MAX] {
        window.begin();
        window.add(0, end, F);
        assert_eq!(window.counts(0, end), counts(1, 1, 0));
    }
}

/// Each cell of the largest window is used.
#[test]
fn count_window_grows_in_place() {
    let window = CountWindow::new(1);
    let mut era = 0;
    for size in [2, 64, 65, 129, 100_000, 3] {
        window.set_size(size);
        era += 1;
        window.begin(era);
        for n in 0..size {
            window.add(era, if n == 0 { F } else { S });
        }
        assert_eq!(window.counts(era), counts(size as u64, 1, 0), "of {size}");
        window.add(era, S);
        assert_eq!(window.counts(era), counts(size as u64, 0, 0), "of {size}");
    }
}

#[test]
fn change_of_kind_starts_an_empty_window() {
    let spans = [Span::Time(Duration::from_secs(10)), Span::Calls(3), Span::Time(Duration::from_millis(20))];
    let window = Window::new(Span::Calls(2));
    for (era, span) in (1..=255).zip(spans.into_iter().cycle()) {
        window.set_span(span);
        window.begin(era);
        assert!(!window.add(era, at(500_000), S), "nothing bad of before");
        window.add(era.wrapping_sub(1), at(500_000), F);
        assert_eq!(window.counts(era, at(500_000)), counts(1, 0, 0), "{span:?}");
        window.add(era, at(500_000), F);
        assert_eq!(window.counts(era, at(500_001)), counts(2, 1, 0), "{span:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(Outcome),
    Late(Outcome),
    Advance(u64),
    Begin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![4 => Just(S), 2 => Just(F), 1 => Just(SLOW_S), 1 => Just(SLOW_F)];
    let step = prop_oneof![
        20 => outcome.clone().prop_map(Step::Add),
        3 => outcome.prop_map(Step::Late),
        6 => (0..400u64).prop_map(Step::Advance),
        1 => (0..20_000u64).prop_map(Step::Advance),
        1 => Just(Step::Begin),
    ];
    proptest::collection::vec(step, 0..300)
}

fn sum<'a>(events: impl Iterator<Item = &'a Outcome>) -> Counts {
    events.fold(Counts::default(), |sum, outcome| Counts {
        calls: sum.calls + 1,
        failures: sum.failures + u64::from(outcome.failure),
        slow: sum.slow + u64::from(outcome.slow),
    })
}

proptest! {
    /// Compared with a list of events, cut at bucket bounds.
    #[test]
    fn time_window_matches_a_list_of_events(start in 0..10_000u64, steps in steps()) {
        let window = Window::new(Span::Time(Duration::from_secs(1)));
        let mut events: Vec<(u64, Outcome)> = Vec::new();
        let (mut now, mut era, mut late_news) = (start, 7u8, false);
        for step in steps {
            match step {
                Step::Add(outcome) => {
                    events.push((now / 100, outcome));
                    let anything_bad = window.add(era, at(now), outcome);
                    let expected = events.iter().any(|(epoch, outcome)| now / 100 - epoch < 10 && outcome.is_bad());
                    prop_assert!(anything_bad == expected || (late_news && anything_bad));
                }
                // A stale outcome is never read; at worst it makes a success sum the window needlessly.
                Step::Late(outcome) => {
                    late_news |= outcome.is_bad();
                    window.add(era.wrapping_sub(1), at(now), outcome);
                }
                Step::Advance(millis) => now += millis,
                Step::Begin => {
                    era = era.wrapping_add(1);
                    window.begin(era);
                    events.clear();
                    late_news = false;
                }
            }
            let expected = sum(events.iter().filter(|(epoch, _)| now / 100 - epoch < 10).map(|(_, outcome)| outcome));
            prop_assert_eq!(window.counts(era, at(now)), expected);
        }
    }

    #[test]
    fn count_window_matches_a_list_of_outcomes(size in 1..40usize, steps in steps()) {
        let window = Window::new(Span::Calls(size as u32));
        let mut events = VecDeque::new();
        let mut era = 250u8;
        window.begin(era);
        for step in steps {
            match step {
                Step::Add(outcome) => {
                    events.push_back(outcome);
                    if events.len() > size {
                        events.pop_front();
                    }
                    let anything_bad = window.add(era, at(0), outcome);
                    prop_assert_eq!(anything_bad, events.iter().any(|outcome| outcome.is_bad()));
                }
                Step::Late(_) | Step::Advance(_) => {}
                Step::Begin => {
                    era = era.wrapping_add(1);
                    window.begin(era);
                    events.clear();
                }
            }
            prop_assert_eq!(window.counts(era, at(0)), sum(events.iter()));
        }
    }

    /// Stale calls evict nothing and add nothing.
    #[test]
    fn stale_call_leaves_a_count_window_unchanged(size in 1..10usize, turns in proptest::collection::vec(any::<bool>(), 0..60)) {
        let window = CountWindow::new(size);
        window.begin(8);
        let mut added = 0;
        for late in turns {
            window.add(if late { 7 } else { 8 }, F);
            added += u64::from(!late);
            let counts = window.counts(8);
            prop_assert_eq!(counts.failures, counts.calls);
            prop_assert!(counts.calls <= added.min(size as u64));
        }
    }
}
