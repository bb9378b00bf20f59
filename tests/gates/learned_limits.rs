//! What limits that are learned cost where a fixed limit would do.

use seawall::deadline::DeadlineLayer;
use seawall::load_shed::Limit;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};

use super::*;

/// The failed calls of so many a second behind a bulkhead and a shedder of 256 permits each, with a deadline of 1.5 s. Each call takes
/// `mean(t)` on average, whatever else is in flight.
async fn failed(limit: Limit, per_second: u32, seconds: u32, mean: impl Fn(Duration) -> Duration) -> u32 {
    let bulkhead = BulkheadConfig { max_concurrent: 256, limit, ..Default::default() };
    let shed = LoadShedConfig { max_in_flight: 256, limit, ..Default::default() };
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(1500 * MS).unwrap())
        .layer(BulkheadLayer::new(bulkhead).unwrap())
        .layer(LoadShedLayer::new(shed).unwrap())
        .service(sleeper());
    let service = BoxCloneService::new(service);
    let (start, mut random) = (Instant::now(), fastrand::Rng::with_seed(7));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..per_second * seconds {
        sleep(SECOND / per_second).await;
        let takes = mean(start.elapsed()).mul_f64(-(1.0 - random.f64()).ln());
        calls.spawn(service.clone().oneshot(takes));
    }
    let mut failed = 0;
    while let Some(ended) = calls.join_next().await {
        failed += u32::from(ended.unwrap().is_err());
    }
    failed
}

/// A dependency that becomes slower for its own reasons needs more calls in flight. A limit that is learned asks whether they queue, and
/// loses calls meanwhile which a fixed limit would not: that is why it is not the default.
#[tokio::test(start_paused = true)]
async fn slow_spell_without_a_queue_costs_at_most_a_fifth_of_its_calls() {
    for slower in [2, 4, 6] {
        let spell = |t: Duration| if (20..40).contains(&t.as_secs()) { 100 * slower * MS } else { 100 * MS };
        let fixed = failed(Limit::Fixed, 200, 60, spell).await;
        let learned = failed(Limit::Learned, 200, 60, spell).await;
        assert!(learned <= fixed + 4000 / 5, "{slower} times slower: {learned} failed, {fixed} with a fixed limit");
    }
}

/// The same without a slow spell: as long as calls have time enough, nothing is asked.
#[tokio::test(start_paused = true)]
async fn calls_with_time_enough_lose_nothing() {
    for per_second in [20, 200, 1000] {
        let steady = |_| 100 * MS;
        let fixed = failed(Limit::Fixed, per_second, 20, steady).await;
        assert_eq!(failed(Limit::Learned, per_second, 20, steady).await, fixed, "{per_second} calls a second");
    }
}
