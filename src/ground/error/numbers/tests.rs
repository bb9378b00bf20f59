use super::*;

const MS: Duration = Duration::from_millis(1);

fn trip() -> Trip {
    Trip { calls: 10, failures: 9, slow: 1, ..Trip::by(TripCause::FailureRate) }
}

#[test]
fn unknown_numbers_are_not_shown() {
    assert_eq!(Numbers::NONE.to_string(), "");
    let numbers = Numbers::NONE.with_waiting(3).with_limit(16);
    assert_eq!(numbers.to_string(), "waiting 3, limit 16");
    assert_eq!((numbers.time_left(), numbers.calls(), numbers.given()), (None, None, None));
    let numbers = numbers.with_time_left(12 * MS).with_expected(80 * MS);
    assert_eq!(numbers.to_string(), "time left 12.0ms, expected 80.0ms, waiting 3, limit 16");
    let numbers = Numbers::NONE.with_limit(5).with_per(60_000 * MS);
    assert_eq!(numbers.to_string(), "limit 5 per 60s");
    let numbers = Numbers::of_timeout(150 * MS, 152 * MS);
    assert_eq!(numbers.to_string(), "given 150.0ms, elapsed 152.0ms");
}

#[test]
fn numbers_of_an_outage_show_calls_age_and_next_probe() {
    let shown = |trip, breaks, next| Numbers::of_outage(trip, breaks, 3200 * MS, next).to_string();
    let text = "9 failed and 1 slow of 10 calls, open for 3.2s, next probe in 800.0ms";
    assert_eq!(shown(trip(), 1, Some(800 * MS)), text);
    let text = "9 failed and 1 slow of 10 calls, open for 3.2s, break 4, probing now";
    assert_eq!(shown(trip(), 4, Some(Duration::ZERO)), text);
    let consecutive = Trip { calls: 30, failures: 30, ..Trip::by(TripCause::ConsecutiveFailures) };
    assert_eq!(shown(consecutive, 1, Some(MS)), "30 failed in a row, open for 3.2s, next probe in 1.0ms");
    let hanging = Trip { calls: 20, overdue: 12, unanswered: 8, ..Trip::by(TripCause::Hanging) };
    let text = "12 hanging and 8 unanswered of 20 calls, open for 3.2s, next probe in 1.0ms";
    assert_eq!(shown(hanging, 1, Some(MS)), text);
    let forced = Numbers::of_outage(Trip::by(TripCause::ForcedOpen), 0, 3200 * MS, None);
    assert_eq!(forced.to_string(), "open for 3.2s");
    assert_eq!((forced.calls(), forced.failures(), forced.next_probe()), (None, None, None));
}

#[test]
fn numbers_of_a_throttle_show_what_was_accepted() {
    let numbers = Numbers::of_throttle(1000, 150, 2.0 / 3.0);
    assert_eq!(numbers.to_string(), "accepted 150 of 1000 calls, refusing 67 %");
    assert_eq!((numbers.requests(), numbers.accepted(), numbers.calls()), (Some(1000), Some(150), None));
    assert_eq!(numbers.share(), Some(0.666_667));
    assert_eq!(Numbers::NONE.share(), None);
}

#[test]
fn numbers_of_a_lag_show_its_bound_and_what_is_refused() {
    let numbers = Numbers::of_lag(120 * MS, Some(50 * MS), 0.4);
    assert_eq!(numbers.to_string(), "lag 120.0ms, limit 50.0ms, refusing 40 %");
    assert_eq!((numbers.lag(), numbers.max_lag(), numbers.share()), (Some(120 * MS), Some(50 * MS), Some(0.4)));
    assert_eq!((numbers.requests(), Numbers::NONE.lag(), Numbers::NONE.max_lag()), (None, None, None));
}

#[test]
fn extreme_numbers_are_not_none() {
    let numbers = Numbers::NONE.with_waiting(u32::MAX).with_time_left(Duration::MAX);
    assert_eq!(numbers.waiting(), Some(u32::MAX - 1));
    assert!(numbers.time_left().is_some_and(|time| time > Duration::from_secs(1 << 33)));
    assert_eq!(Numbers::NONE.with_time_left(Duration::ZERO).time_left(), Some(Duration::ZERO));
}

/// Each future of a layer that can refuse has space for them.
#[test]
fn numbers_are_small() {
    assert!(size_of::<Numbers>() <= 48, "{} bytes", size_of::<Numbers>());
}

#[test]
fn times_are_shown_with_distinguishing_digits() {
    let left = |expected| Numbers::NONE.with_time_left(1000 * MS).with_expected(expected).to_string();
    assert_eq!(left(1004 * MS), "time left 1.000s, expected 1.004s");
    assert_eq!(left(1000 * MS), "time left 1.0s, expected 1.0s");
    assert_eq!(left(1300 * MS), "time left 1.0s, expected 1.3s");
}

#[test]
fn estimate_without_a_sample_is_none() {
    let numbers = Numbers::NONE.with_expected(Duration::ZERO);
    assert_eq!((numbers.expected(), numbers.to_string().as_str()), (None, ""));
}
