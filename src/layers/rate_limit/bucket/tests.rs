use proptest::prelude::*;

use super::super::config::RateLimitConfig;
use super::*;
use crate::admission::timer::Timer;
use crate::ground::sync::Arc;
use crate::ground::time;
use crate::telemetry::Instruments;

const MS: Duration = Duration::from_millis(1);

fn config(permits: u32, per: Duration, burst: u32) -> RateLimitConfig {
    RateLimitConfig { permits, per, burst: Some(burst), max_wait: 100_000 * MS, ..Default::default() }
}

fn bucket(config: &RateLimitConfig) -> Arc<Bucket> {
    Arc::new(Bucket::new(Arc::new(Settings::new(AppliedRates::first(config))), Instruments::new(super::super::KIND)))
}

/// Makes calls, `(at, how many)`, and returns when each one starts, in milliseconds of virtual time.
async fn starts(config: RateLimitConfig, calls: &[(u32, u32)]) -> Vec<u128> {
    let bucket = bucket(&config);
    let start = time::now();
    let mut tasks = Vec::new();
    for &(at, calls) in calls {
        sleep_until(start + at * MS).await;
        for _ in 0..calls {
            let waiter =
                Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config)).expect("room and time enough");
            tasks.push(tokio::spawn(async move {
                if let Some(waiter) = waiter {
                    wait(waiter).await;
                }
                time::now().since(start).as_millis()
            }));
        }
    }
    let mut started = Vec::new();
    for task in tasks {
        started.push(task.await.expect("no panic"));
    }
    started
}

async fn sleep_until(instant: Instant) {
    let mut timer = Timer::new();
    std::future::poll_fn(|cx| timer.poll_until(cx, instant)).await;
}

async fn wait(mut waiter: RateWaiter) {
    std::future::poll_fn(|cx| waiter.poll(cx)).await.expect("in time");
}

/// failsafe-go, smooth 1 per 500 ms. There a call may ask for three permits at once, and its wait is that of the last.
#[tokio::test(start_paused = true)]
async fn even_rate_spaces_calls_and_saves_no_permits() {
    let calls = [(0, 7), (800, 3), (2300, 1), (3500, 3), (9100, 3), (11_000, 1)];
    let started = starts(config(1, 500 * MS, 1), &calls).await;
    let (waits, expected) = (
        [started[6], started[9] - 800, started[10] - 2300, started[13] - 3500],
        // failsafe-go's own: 3 000, 3 700, 2 700, 3 000; its cells start at multiples of the interval, as ours do
        // while there is a queue.
        [3000, 3700, 2700, 3000],
    );
    assert_eq!(waits, expected);
    // After the pause at 7 000 GCRA counts from the call, not from a grid: 9 100, 9 600, 10 100 instead of 10 000.
    assert_eq!(started[14..17], [9100, 9600, 10_100]);
    assert_eq!(started[17], 11_000);
}

/// failsafe-go, bursty 2 per second: it refills both every second, and GCRA one every half second.
#[tokio::test(start_paused = true)]
async fn burst_starts_at_once_and_the_rest_at_the_rate() {
    let started = starts(config(2, 1000 * MS, 2), &[(0, 7)]).await;
    assert_eq!(started, [0, 0, 500, 1000, 1500, 2000, 2500]);
}

/// Polly: 60 a minute allow a burst of 60, and the next is refused with `retry_after`.
#[tokio::test(start_paused = true)]
async fn call_beyond_the_burst_is_refused_with_retry_after() {
    let config = RateLimitConfig { permits: 60, per: Duration::from_secs(60), ..Default::default() };
    let bucket = bucket(&config);
    for _ in 0..60 {
        assert!(matches!(Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config)), Ok(None)));
    }
    let refusal = Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config)).unwrap_err().into_rejected();
    assert_eq!((refusal.reason(), refusal.retry_after()), (Reason::RateLimited, Some(Duration::from_secs(1))));
    assert_eq!(refusal.numbers().to_string(), "expected 1.0s, waiting 0, limit 60 per 60s");
    tokio::time::advance(Duration::from_millis(999)).await;
    assert!(Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config)).is_err());
    tokio::time::advance(MS).await;
    assert!(matches!(Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config)), Ok(None)));
}

/// Sentinel: pacing 10 a second with a queue of 500 ms lets six of ten pass.
#[tokio::test(start_paused = true)]
async fn call_with_too_long_a_wait_is_refused_at_once() {
    let config = RateLimitConfig { max_wait: 500 * MS, ..config(10, 1000 * MS, 1) };
    let bucket = bucket(&config);
    let admitted: Vec<_> =
        (0..10).map(|_| Bucket::admit(&bucket, time::now(), &AppliedRates::first(&config))).collect();
    assert_eq!(admitted.iter().filter(|result| result.is_ok()).count(), 6);
    assert_eq!(admitted[6].as_ref().unwrap_err().rejected().retry_after(), Some(600 * MS));
    assert_eq!(bucket.waiting(), 5);
    drop(admitted);
    assert_eq!(bucket.waiting(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From both sides: no period has more starts than the rate and one burst allow, and no call waits that could
    /// have started.
    #[test]
    fn starts_match_the_rate_from_both_sides(
        gaps in prop::collection::vec((0u32..300, 1u32..4), 1..30), burst in 1u32..5, interval in 1u32..200,
    ) {
        let config = config(1, interval * MS, burst);
        let mut at = 0;
        let calls: Vec<_> = gaps.into_iter().map(|(gap, calls)| { at += gap; (at, calls) }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let mut started = runtime.expect("a runtime").block_on(starts(config, &calls));
        started.sort_unstable();
        // GCRA by hand: each call pushes the theoretical arrival time on by one interval.
        let arrivals = calls.iter().flat_map(|&(at, calls)| std::iter::repeat_n(u128::from(at), calls as usize));
        let (interval, tolerance) = (u128::from(interval), u128::from(interval) * u128::from(burst - 1));
        let mut theoretical = 0u128;
        let mut expected = Vec::new();
        for arrival in arrivals {
            let start = expected.last().copied().unwrap_or(0u128).max(arrival).max(theoretical.saturating_sub(tolerance));
            theoretical = theoretical.max(start) + interval;
            expected.push(start);
        }
        prop_assert_eq!(&started, &expected);
        for (n, first) in started.iter().enumerate() {
            for (more, last) in started[n..].iter().enumerate() {
                prop_assert!((more as u128) < u128::from(burst) + (last - first) / interval);
            }
        }
    }
}
