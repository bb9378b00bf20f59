//! What limits that are learned cost where a fixed limit would do.

use seawall::deadline::DeadlineLayer;
use seawall::load_shed::Limit;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};

use super::*;

const TIME: Duration = Duration::from_millis(100);

/// How the times of calls vary.
#[derive(Clone, Copy, Debug)]
enum Times {
    Exponential,
    /// By a twentieth.
    Alike,
}

/// The failed calls of so many a second, in a minute, behind a bulkhead and a shedder of 256 permits each, with a deadline of 1.5 s. A call
/// takes [`TIME`] on average, whatever else is in flight, and `slower` times as long during 20 s.
async fn failed(limit: Limit, per_second: u32, times: Times, slower: u32) -> u32 {
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
    for _ in 0..per_second * 60 {
        sleep(SECOND / per_second).await;
        let mean = if (20..40).contains(&start.elapsed().as_secs()) { TIME * slower } else { TIME };
        let takes = mean.mul_f64(match times {
            Times::Exponential => -(1.0 - random.f64()).ln(),
            Times::Alike => 0.95 + 0.1 * random.f64(),
        });
        calls.spawn(service.clone().oneshot(takes));
    }
    let mut failed = 0;
    while let Some(ended) = calls.join_next().await {
        failed += u32::from(ended.unwrap().is_err());
    }
    failed
}

/// A dependency that becomes slower for its own reasons needs more calls in flight. A limit that is learned must not take that for a queue.
#[tokio::test(start_paused = true)]
async fn slow_spell_without_a_queue_costs_hardly_a_call() {
    for slower in [2, 4, 8, 16] {
        let fixed = failed(Limit::Fixed, 200, Times::Exponential, slower).await;
        let learned = failed(Limit::Learned, 200, Times::Exponential, slower).await;
        assert!(learned <= fixed + 4000 / 50, "{slower} times slower: {learned} failed, {fixed} with a fixed limit");
    }
}

/// If nearly all calls take more than half of their time, only a comparison shows that they do not queue.
#[tokio::test(start_paused = true)]
async fn slow_spell_of_calls_alike_costs_at_most_a_fifth_of_them() {
    for slower in [4, 7, 8, 12] {
        let learned = failed(Limit::Learned, 200, Times::Alike, slower).await;
        let allowed = if 2 * slower * TIME > 1500 * MS { 4000 / 5 } else { 0 };
        assert!(learned <= allowed, "{slower} times slower: {learned} failed");
    }
}

/// As long as calls have time enough, nothing is asked.
#[tokio::test(start_paused = true)]
async fn calls_with_time_enough_lose_nothing() {
    for per_second in [20, 200, 1000] {
        assert_eq!(
            failed(Limit::Learned, per_second, Times::Exponential, 1).await,
            failed(Limit::Fixed, per_second, Times::Exponential, 1).await,
            "{per_second} calls a second"
        );
    }
}
