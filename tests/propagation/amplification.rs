//! Four tiers that retry, one above the other, above a dead last tier.

use seawall::retry::BudgetConfig;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::*;

const REQUESTS: usize = 300;

/// Four tiers, each with a client that retries. The reserves of their budgets do not grow during the test.
async fn four_tiers(config: RetryConfig, dead: SocketAddr) -> SocketAddr {
    let budget = BudgetConfig { reserve_per_second: 0.001, ..config.budget };
    let config = RetryConfig { budget, ..config };
    let mut below = dead;
    for _ in 0..4 {
        below = relay(retrying(RetryLayer::http(config.clone()).unwrap()), below).await;
    }
    below
}

/// Gives this answer to every request, and counts the requests.
async fn dead_tier(status: StatusCode) -> (SocketAddr, Count) {
    let attempts = Count::default();
    let count = attempts.clone();
    let dead = tier(move || async move {
        count.add();
        status
    });
    (dead.await, attempts)
}

fn assert_at_most_a_third_more(attempts: usize) {
    let ratio = attempts as f64 / REQUESTS as f64;
    println!("{attempts} attempts for {REQUESTS} requests: {ratio:.3}");
    assert!(ratio <= 1.3, "{ratio} attempts a request");
    assert!(attempts > REQUESTS, "the tier next to the dead tier retries");
}

#[tokio::test(start_paused = true)]
async fn failing_last_tier_gets_few_additional_attempts() {
    let (dead, attempts) = dead_tier(StatusCode::SERVICE_UNAVAILABLE).await;
    let first = four_tiers(retries(), dead).await;
    let client = bare();
    for _ in 0..REQUESTS {
        let answer = get(&client, first).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.headers["x-should-retry"]), (503, &"false".parse().unwrap()));
    }
    assert_at_most_a_third_more(attempts.get());
}

#[tokio::test(start_paused = true)]
async fn closing_last_tier_gets_few_additional_attempts() {
    let mut listener = PipeListener::bind();
    let dead = listener.address();
    let attempts = Count::default();
    let count = attempts.clone();
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await;
            // A connection that carries no request was opened in advance, and is no attempt.
            let _ = stream.read(&mut [0; 1024]).await.map(|read| (read > 0).then(|| count.add()));
        }
    });
    let first = four_tiers(retries(), dead).await;
    let client = bare();
    for _ in 0..REQUESTS {
        assert_eq!(get(&client, first).await.unwrap().status, 502);
    }
    assert_at_most_a_third_more(attempts.get());
}

#[tokio::test(start_paused = true)]
async fn hanging_last_tier_gets_few_additional_attempts() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (began, drops) = (begun.clone(), dropped.clone());
    let dead = tier(move || hang(&began, &drops)).await;
    let budget = BudgetConfig { reserve_burst: 1, ..BudgetConfig::default() };
    let config = RetryConfig { attempt_timeout: Some(Duration::from_millis(700)), budget, ..retries() };
    let first = four_tiers(config, dead).await;
    let client = bare();
    // One after another, so that each call reaches the last tier, however slow the machine is.
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            calls.spawn(async move { get(&client, first).await.unwrap().status });
        }
        for status in calls.join_all().await {
            assert!(status.is_server_error(), "{status}");
        }
    }
    let ratio = begun.get() as f64 / 60.0;
    println!("{} attempts for 60 requests: {ratio:.3}", begun.get());
    assert!(ratio <= 1.3, "{ratio} attempts a request");
    assert!(ratio > 0.5, "the calls reach the last tier: {ratio}");
    eventually("every handler was dropped", || dropped.get() == begun.get()).await;
}

#[tokio::test(start_paused = true)]
async fn timeout_of_the_tier_below_forbids_retries() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (began, drops) = (begun.clone(), dropped.clone());
    let slow = tier(move || hang(&began, &drops)).await;
    let above = relay(retrying(RetryLayer::http(retries()).unwrap()), slow).await;
    for (address, says_so) in [(slow, false), (above, true)] {
        let answer = send(&bare(), address, &[("x-request-timeout-ms", "100")]).await.unwrap();
        assert_eq!(answer.status, 504);
        assert_eq!(answer.headers.contains_key("x-should-retry"), says_so);
    }
    eventually("every handler was dropped", || dropped.get() == begun.get()).await;
}

#[tokio::test(start_paused = true)]
async fn tier_without_a_retry_passes_on_do_not_retry() {
    let (dead, attempts) = dead_tier(StatusCode::INTERNAL_SERVER_ERROR).await;
    let third = relay(retrying(RetryLayer::http(retries()).unwrap()), dead).await;
    let second = relay(injecting(), third).await;
    let first = relay(retrying(RetryLayer::http(retries()).unwrap()), second).await;
    assert_eq!(get(&bare(), first).await.unwrap().status, 500);
    assert_eq!(attempts.get(), 3, "three attempts of the third tier, no retry of the first tier");
}

#[tokio::test(start_paused = true)]
async fn tier_with_one_attempt_leaves_retries_to_the_one_above() {
    let (dead, attempts) = dead_tier(StatusCode::INTERNAL_SERVER_ERROR).await;
    let once = RetryConfig { max_attempts: 1, ..retries() };
    let second = relay(retrying(RetryLayer::http(once).unwrap()), dead).await;
    let first = relay(retrying(RetryLayer::http(retries()).unwrap()), second).await;
    assert_eq!(get(&bare(), first).await.unwrap().status, 500);
    assert_eq!(attempts.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn failure_behind_a_fallback_does_not_forbid_retries() {
    let dead = tier(|| async { StatusCode::INTERNAL_SERVER_ERROR }).await;
    let client = retrying(RetryLayer::http(retries()).unwrap());
    let fallback = tier(move || {
        let client = client.clone();
        async move {
            assert_eq!(get(&client, dead).await.unwrap().status, 500);
            "something else"
        }
    })
    .await;
    let answer = get(&bare(), fallback).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("x-should-retry"));
}
