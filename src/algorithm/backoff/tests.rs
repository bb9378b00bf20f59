use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];

fn backoff(growth: Growth, base: Duration, cap: Duration, jitter: Jitter) -> Backoff {
    Backoff { growth, base, cap, jitter }
}

fn plain(growth: Growth, base: Duration, cap: Duration) -> impl Fn(u32) -> Duration {
    move |retry| backoff(growth, base, cap, Jitter::None).delay(retry, Duration::ZERO, 0.7)
}

#[test]
fn growth_matches_the_tables_of_other_libraries() {
    let table = [
        ("Polly: constant", Growth::Constant, SECOND, DAY, vec![1, 1, 1]),
        ("Polly: linear", Growth::Linear, SECOND, DAY, vec![1, 2, 3]),
        ("Polly: exponential", Growth::Exponential(2.0), SECOND, DAY, vec![1, 2, 4]),
        ("Polly: a base of zero", Growth::Exponential(2.0), Duration::ZERO, DAY, vec![0, 0, 0]),
        ("failsafe-go: cap", Growth::Exponential(2.0), 2 * SECOND, 30 * SECOND, vec![2, 4, 8, 16, 30]),
    ];
    for (name, growth, base, cap, expected) in table {
        let delay = plain(growth, base, cap);
        let delays: Vec<_> = (1..).map(&delay).map(|delay| delay.as_secs()).take(expected.len()).collect();
        assert_eq!(delays, expected, "{name}");
    }
}

/// Polly's jitter is a quarter to either side. These are the paper's, which spread wider and never exceed the cap.
#[test]
fn jitter_at_given_samples_is_exact() {
    let millis = |jitter, chance, previous| {
        let backoff = backoff(Growth::Linear, SECOND, 10 * SECOND, jitter);
        backoff.delay(3, previous, chance).as_millis()
    };
    for (chance, full, equal, decorrelated) in
        [(0.0, 0, 1500, 1000), (0.4, 1200, 2100, 3000), (0.6, 1800, 2400, 4000), (1.0, 3000, 3000, 6000)]
    {
        assert_eq!(millis(Jitter::None, chance, 2 * SECOND), 3000);
        assert_eq!(millis(Jitter::Full, chance, 2 * SECOND), full);
        assert_eq!(millis(Jitter::Equal, chance, 2 * SECOND), equal);
        assert_eq!(millis(Jitter::Decorrelated, chance, 2 * SECOND), decorrelated);
    }
}

/// Finagle: decorrelated jitter lies between the previous wait and three times that, so its waits only grow and end at the cap, in
/// step. The paper's starts from the base each time; so does this one, and a long series keeps its spread.
#[test]
fn long_decorrelated_series_keeps_its_spread() {
    let backoff = backoff(Growth::Constant, SECOND, 10 * SECOND, Jitter::Decorrelated);
    let mut random = fastrand::Rng::with_seed(7);
    let mut previous = Duration::ZERO;
    let waits: Vec<_> = (1..=1000)
        .map(|retry| {
            previous = backoff.delay(retry, previous, random.f64());
            previous
        })
        .collect();
    let long = waits.iter().filter(|wait| **wait > 9 * SECOND).count();
    assert!(long < 200, "{long} of 1000 at the cap");
    assert!(waits.iter().any(|wait| *wait < 2 * SECOND));
    let mut again = fastrand::Rng::with_seed(7);
    assert_eq!(waits[0], backoff.delay(1, Duration::ZERO, again.f64()), "Finagle: a function of the seed");
}

#[test]
fn waits_after_a_refusal_at_given_samples_are_exact() {
    let of = |jitter, retry, rest: u64, room: u64, chance| {
        let backoff = backoff(Growth::Exponential(2.0), SECOND, 30 * SECOND, jitter);
        let bounds = RefusalBounds { rest: Duration::from_secs(rest), room: Duration::from_secs(room) };
        backoff.delay_after_refusal(retry, Duration::ZERO, bounds, chance).as_millis()
    };
    // Jitter, retry, rest of the usual time, room, and the waits at the samples 0 and 1.
    for (jitter, retry, rest, room, least, most) in [
        (Jitter::Full, 1, 4, 60, 0, 4000),
        (Jitter::Full, 3, 4, 60, 0, 16000),
        (Jitter::Full, 4, 4, 60, 0, 30000),
        (Jitter::Full, 1, 0, 60, 0, 1000),
        (Jitter::Full, 1, 4, 3, 0, 3000),
        (Jitter::Full, 2, 4, 3, 0, 3000),
        (Jitter::Full, 3, 4, 3, 0, 4000),
        (Jitter::Full, 1, 4, 0, 0, 1000),
        (Jitter::Equal, 1, 4, 60, 2000, 4000),
        (Jitter::Equal, 1, 4, 3, 1500, 3000),
        (Jitter::Decorrelated, 1, 4, 60, 4000, 12000),
        (Jitter::Decorrelated, 1, 4, 6, 4000, 6000),
        (Jitter::None, 2, 4, 60, 2000, 2000),
    ] {
        let waits = [0.0, 1.0].map(|chance| of(jitter, retry, rest, room, chance));
        assert_eq!(waits, [least, most], "{jitter:?}, retry {retry}, rest {rest}, room {room}");
    }
}

#[test]
fn any_retry_number_saturates_at_the_cap() {
    let exponential = Growth::Exponential(2.0);
    assert_eq!(plain(exponential, DAY, Duration::MAX)(1000), Duration::MAX, "Polly: no cap");
    assert_eq!(plain(exponential, DAY, 2 * DAY)(1000), 2 * DAY, "Polly: a cap");
    for growth in [Growth::Constant, Growth::Linear, exponential, Growth::Exponential(1e300)] {
        for retry in [0, 1, 2, 1025, u32::MAX - 1, u32::MAX] {
            for jitter in JITTERS {
                for chance in [0.0, 0.5, 1.0 - f64::EPSILON, 1.0, 7.0, -1.0, f64::NAN] {
                    let longest = backoff(growth, Duration::MAX, Duration::MAX, jitter);
                    let _ = longest.delay(retry, Duration::MAX, chance);
                    let capped = backoff(growth, SECOND, 30 * SECOND, jitter);
                    assert!(capped.delay(retry, Duration::MAX, chance) <= 30 * SECOND);
                }
            }
        }
    }
}

#[test]
fn invalid_fields_are_named() {
    let paths = |backoff: Backoff| -> Vec<String> {
        backoff.validate().err().map_or(Vec::new(), |e| e.faults().iter().map(|f| f.path().to_owned()).collect())
    };
    assert!(paths(Backoff::default()).is_empty());
    for good in [Backoff::constant(SECOND), Backoff::linear(SECOND), Backoff::exponential(SECOND, 1.5)] {
        assert!(paths(good).is_empty());
    }
    assert_eq!(paths(Backoff { cap: Duration::from_millis(1), ..Backoff::default() }), ["cap"]);
    assert_eq!(paths(Backoff { base: Duration::ZERO, ..Backoff::default() }), ["base"]);
    for factor in [0.5, f64::NAN, f64::INFINITY, -2.0] {
        assert_eq!(paths(Backoff::exponential(Duration::MAX, factor)), ["growth", "base", "cap"]);
    }
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (1u64..=3_600_000_000_000).prop_map(Duration::from_nanos)
}

proptest! {
    #[test]
    fn jitter_stays_within_its_bounds(
        base in any_duration(), cap in any_duration(), retry in 1u32..2048, chance in 0.0..1.0f64, factor in 1.0..4.0f64,
        previous in any_duration(), shape in 0..3,
    ) {
        let growth = [Growth::Constant, Growth::Linear, Growth::Exponential(factor)][shape as usize];
        let of = |jitter| backoff(growth, base, cap, jitter).delay(retry, previous, chance);
        let whole = of(Jitter::None);
        prop_assert!(whole <= cap);
        prop_assert!(of(Jitter::Full) <= whole);
        prop_assert!(whole / 2 <= of(Jitter::Equal) && of(Jitter::Equal) <= whole);
        let decorrelated = of(Jitter::Decorrelated);
        prop_assert!(base.min(cap) <= decorrelated && decorrelated <= cap);
        prop_assert!(decorrelated <= base.max(previous).saturating_mul(3));
    }

    /// It is never shorter than another wait, longer than the cap, or the reason why a retry has no time left.
    #[test]
    fn wait_after_a_refusal_is_longer_within_its_bounds(
        base in any_duration(), longer in any_duration(), retry in 1u32..2048, chance in 0.0..1.0f64,
        previous in any_duration(), rest in any_duration(), room in any_duration(), jitter in 0usize..4,
    ) {
        let backoff = backoff(Growth::Exponential(2.0), base, base.saturating_add(longer), JITTERS[jitter]);
        let usual = backoff.delay(retry, previous, chance);
        let wait = backoff.delay_after_refusal(retry, previous, RefusalBounds { rest, room }, chance);
        // A nanosecond for the rounding of the share.
        prop_assert!(usual <= wait + Duration::from_nanos(1), "{:?} {:?}", usual, wait);
        prop_assert!(wait <= backoff.cap);
        prop_assert!(usual > room || wait <= room.max(backoff.bound(retry, previous)));
        prop_assert!(backoff.bound(retry, previous) > room || wait <= room);
    }

    #[test]
    fn waits_never_shrink_without_jitter(base in any_duration(), retry in 1u32..100, factor in 1.0..4.0f64) {
        for growth in [Growth::Constant, Growth::Linear, Growth::Exponential(factor)] {
            let delay = plain(growth, base, DAY);
            prop_assert!(delay(retry) <= delay(retry + 1));
        }
    }
}
