use std::time::Duration;

use proptest::prelude::*;

use super::rated::Rated;
use super::*;

const START: Instant = Instant::from_nanos(1 << 63);
const MS: Duration = Duration::from_millis(1);

fn rate(interval: Duration, burst: u32) -> Rate {
    Rate { interval: interval.as_nanos() as u64, burst }
}

/// Takes `tokens` tokens, each at the first possible instant; returns when the last was taken, in milliseconds after `at`.
fn wait_for(gcra: &Rated, at: u32, tokens: u32, last: &mut Instant) -> u32 {
    let at = START + at * MS;
    for _ in 0..tokens {
        *last = (*last).max(at);
        while let Err(earliest) = gcra.take(*last) {
            assert!(earliest > *last);
            *last = earliest;
        }
    }
    last.since(at).as_millis() as u32
}

/// failsafe-go (G1, G2): an even rate. Several at once cost what they cost one by one (G5). After a pause its cells begin at
/// multiples of the interval and GCRA's at the first call, so the rows after a pause differ by that.
#[test]
fn failsafe_even_rate_spaces_calls() {
    let (gcra, mut last) = (Rated::new(rate(500 * MS, 1)), START);
    let waits = [(0, 7), (800, 3), (2300, 1), (3500, 3)].map(|(at, tokens)| wait_for(&gcra, at, tokens, &mut last));
    assert_eq!(waits, [3000, 3700, 2700, 3000]);
    assert_eq!(wait_for(&gcra, 9100, 3, &mut last), 1000, "its own: 900, to the grid");
    assert_eq!(wait_for(&gcra, 11_000, 1, &mut last), 0);

    let (gcra, mut last) = (Rated::new(rate(200 * MS, 1)), START);
    let waits = [(0, 3), (550, 2)].map(|(at, tokens)| wait_for(&gcra, at, tokens, &mut last));
    assert_eq!(waits, [400, 250]);
    assert_eq!(wait_for(&gcra, 2210, 2, &mut last), 200, "its own: 190, to the grid");
}

/// failsafe-go (G3): two a second in bursts. It refills both at the turn of a second, GCRA one each half second: no call waits
/// longer than there, and in the long run the sum of waits is equal.
#[test]
fn failsafe_bursty_rate_admits_bursts() {
    let (gcra, mut last) = (Rated::new(rate(500 * MS, 2)), START);
    let waits = [(0, 7), (800, 3), (2300, 1), (3500, 3)].map(|(at, tokens)| wait_for(&gcra, at, tokens, &mut last));
    assert_eq!(waits, [2500, 3200, 2200, 2500]);
    assert_eq!(wait_for(&gcra, 7000, 1, &mut last), 0);
}

/// Polly (I7): 60 a minute, in a burst of 60.
#[test]
fn polly_burst_may_equal_the_rate() {
    let gcra = Rated::new(rate(1000 * MS, 60));
    assert!((0..60).all(|_| gcra.take(START).is_ok()));
    assert_eq!(gcra.take(START), Err(START + 1000 * MS));
    assert!(gcra.take(START + 999 * MS).is_err());
    assert!(gcra.take(START + 1000 * MS).is_ok());
}

/// Three a second are a third of a second rounded up: never more than three million in a million seconds.
#[test]
fn odd_rate_is_not_exceeded_in_the_long_run() {
    let (gcra, mut now, mut taken) = (Rated::new(Rate { interval: 1_000_000_000_u64.div_ceil(3), burst: 1 }), START, 0);
    let end = START + Duration::from_secs(100_000);
    while now < end {
        match gcra.take(now) {
            Ok(()) => taken += 1,
            Err(earliest) => now = earliest,
        }
    }
    assert!((299_999..=300_000).contains(&taken), "{taken}");
}

#[test]
fn rate_change_keeps_the_tokens() {
    let gcra = Rated::new(rate(60_000 * MS, 1));
    assert!(gcra.take(START).is_ok());
    assert_eq!(gcra.next(START), START + 60_000 * MS);
    gcra.set_rate(rate(10 * MS, 1), START + 30_000 * MS);
    assert_eq!(gcra.next(START), START + 30_005 * MS, "half a token");
    gcra.set_rate(rate(60_000 * MS, 1), START + 30_000 * MS);
    assert_eq!(gcra.take(START + 30_000 * MS), Err(START + 60_000 * MS), "and there again");
    gcra.set_rate(rate(60_000 * MS, 2), START + 30_000 * MS);
    assert_eq!(gcra.next(START + 30_000 * MS), START + 60_000 * MS, "a larger burst is no gift");
    assert!((0..2).all(|_| gcra.take(START + 120_000 * MS).is_ok()), "but fills");
}

/// From a thousand a second to ten a second, when all tokens are taken: ten a second return at once, not after 99 seconds without
/// any.
#[test]
fn smaller_burst_does_not_block_calls() {
    let gcra = Rated::new(rate(MS, 1000));
    assert!((0..1000).all(|_| gcra.take(START).is_ok()));
    gcra.set_rate(rate(100 * MS, 10), START);
    assert_eq!(gcra.next(START), START + 100 * MS);
}

/// No change of rate adds tokens, however often it happens.
#[test]
fn rate_change_adds_no_token() {
    let (fast, century) = (rate(Duration::from_nanos(1), u32::MAX), rate(Duration::from_secs(100_000_000), 3));
    for (large, small) in [(rate(MS, 1000), rate(MS, 1)), (rate(MS, 1000), rate(60_000 * MS, 3)), (fast, century)] {
        let gcra = Rated::new(large);
        while gcra.take(START).is_ok() {
            if large == fast {
                // As if two billion tokens had been taken.
                gcra.gcra.word.store(pack(ticks(START) + u64::from(u32::MAX), 0), Ordering::Release);
            }
        }
        for _ in 0..100 {
            gcra.set_rate(small, START);
            assert!(gcra.take(START).is_err());
            gcra.set_rate(large, START);
            assert!(gcra.take(START).is_err());
        }
    }
}

/// A caller may hold rates from before a reload; the word shows that.
#[test]
fn stale_rates_are_replaced_by_the_latest() {
    let gcra = Rated::new(rate(60_000 * MS, 1));
    let stale = gcra.rates();
    gcra.set_rate(rate(10 * MS, 1), START);
    assert_eq!(gcra.gcra.take(&stale, || gcra.rates(), START), Ok(()));
    assert_eq!(gcra.next(START), START + 10 * MS, "a token of the new rate");
}

/// A caller's fault, which must not hang calls.
#[test]
fn bucket_that_missed_changes_still_works() {
    let gcra = Rated::new(rate(10 * MS, 1));
    assert!(gcra.take(START).is_ok());
    let rates = gcra.rates().then(rate(20 * MS, 1)).then(rate(30 * MS, 1));
    assert_eq!(gcra.gcra.take(&rates, || rates, START), Err(START + 10 * MS));
    assert_eq!(gcra.gcra.take(&rates, || rates, START + 10 * MS), Ok(()));
    assert_eq!(gcra.gcra.next(|| rates, START + 10 * MS), START + 40 * MS);
}

#[test]
fn extreme_instants_do_not_panic() {
    let gcra = Rated::new(Rate { interval: u64::MAX, burst: u32::MAX });
    for now in [Instant::from_nanos(0), START, Instant::MAX] {
        let _ = (gcra.take(now), gcra.next(now));
        gcra.set_rate(Rate { interval: 1, burst: 1 }, now);
        gcra.set_rate(Rate { interval: u64::MAX, burst: 0 }, now);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Wait(u64),
    Rate(u64, u32),
}

proptest! {
    /// Compared with a count of tokens and fractions: a token can be taken once a whole one is there, never before; a change of
    /// rate keeps the number, up to the burst.
    #[test]
    fn gcra_matches_a_count_of_tokens(steps in prop::collection::vec(prop_oneof![
        8 => Just(Step::Take),
        6 => (0u64..3000).prop_map(Step::Wait),
        1 => (1u64..2000, 1u32..8).prop_map(|(interval, burst)| Step::Rate(interval, burst)),
    ], 1..300)) {
        let mut rate = Rate { interval: 500, burst: 3 };
        let gcra = Rated::new(rate);
        let (mut missing, mut now) = (0.0f64, START);
        for step in steps {
            match step {
                Step::Take => {
                    let left = f64::from(rate.burst) - missing;
                    let taken = gcra.take(now);
                    // Within rounding, either result is right, but always to the side of fewer tokens.
                    if left < 1.0 - 1e-9 {
                        let Err(earliest) = taken else { return Err(TestCaseError::fail(format!("{left} were there"))) };
                        let expected = (1.0 - left) * rate.interval as f64;
                        let actual = earliest.since(now).as_nanos() as f64;
                        prop_assert!((expected - 1e-3..expected + 2.0).contains(&actual), "{} for {}", actual, expected);
                    } else if left > 1.0 + 2.0 / rate.interval as f64 {
                        prop_assert!(taken.is_ok(), "{} were there", left);
                    }
                    missing += f64::from(u8::from(taken.is_ok()));
                }
                Step::Wait(nanos) => {
                    now = now + Duration::from_nanos(nanos);
                    missing = (missing - nanos as f64 / rate.interval as f64).max(0.0);
                }
                Step::Rate(interval, burst) => {
                    missing = (missing + f64::from(burst) - f64::from(rate.burst)).max(0.0);
                    rate = Rate { interval, burst };
                    gcra.set_rate(rate, now);
                    prop_assert_eq!(gcra.rates().now, rate);
                    // The conversion rounds up by less than a tick; from here on the model uses the exact number.
                    let whole = i128::from(burst - 1) * i128::from(interval);
                    let debt = i128::from(gcra.next(now).as_nanos()) + whole - i128::from(now.as_nanos());
                    let exact = debt.max(0) as f64 / interval as f64;
                    prop_assert!(exact >= missing - 1e-6 && exact <= missing + 2.0 / interval as f64 + 1e-6);
                    missing = exact;
                }
            }
        }
    }
}
