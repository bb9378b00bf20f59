use std::future::ready;

use futures::poll;
use seawall::error::Reason;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tokio::time::{Instant, advance};
use tower::util::ServiceFn;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::*;

type Started = std::future::Ready<Result<Instant, BoxError>>;

/// Answers with the time at which it was called.
fn clock() -> ServiceFn<impl Fn(u32) -> Started + Clone> {
    service_fn(|_: u32| ready(Ok(Instant::now())))
}

fn one_a_minute() -> RateLimitConfig {
    RateLimitConfig { permits: 1, per: MINUTE, max_wait: 100 * MINUTE, ..Default::default() }
}

fn a_hundred_a_second() -> RateLimitConfig {
    RateLimitConfig { permits: 100, per: SECOND, burst: Some(1), max_wait: MINUTE, ..Default::default() }
}

/// The head sleeps until the minute is over, and the other calls wait behind it.
#[tokio::test(start_paused = true)]
async fn faster_rate_wakes_the_head_of_the_queue() {
    let layer = RateLimitLayer::new(one_a_minute()).unwrap();
    let service = layer.layer(clock());
    service.clone().oneshot(0).await.unwrap();
    let calls: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().waiting(), 5);
    advance(30 * SECOND).await;
    layer.reload(&a_hundred_a_second()).unwrap();
    let start = Instant::now();
    for (n, call) in (0..).zip(calls) {
        let waited = call.await.unwrap().unwrap() - start;
        // Half of the missing permit had refilled; a timer has a granularity of one millisecond.
        let expected = 5 * MS + n * 10 * MS;
        assert!((expected..expected + 2 * MS).contains(&waited), "{n}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn slower_rate_applies_to_queued_calls() {
    let config = RateLimitConfig { max_wait: 2 * SECOND, ..a_hundred_a_second() };
    let layer = RateLimitLayer::new(config.clone()).unwrap();
    let service = layer.layer(clock());
    let start = Instant::now();
    service.clone().oneshot(0).await.unwrap();
    let mut first = Box::pin(service.clone().oneshot(1));
    let mut second = Box::pin(service.clone().oneshot(2));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    layer.reload(&RateLimitConfig { permits: 1, ..config }).unwrap();
    assert_eq!(first.await.unwrap() - start, SECOND, "the missing permit takes a second now");
    assert_eq!(second.await.unwrap() - start, 2 * SECOND);
    let answers = [0, 1, 2].map(|n| tokio::spawn(service.clone().oneshot(n)));
    let mut refused = 0;
    for answer in answers {
        refused += u32::from(reason(answer.await.unwrap()) == Some(Reason::RateLimited));
    }
    assert_eq!(refused, 1, "the third call would wait for three seconds");
}

#[tokio::test(start_paused = true)]
async fn exhausted_rate_stays_exhausted() {
    let config = |permits, burst| RateLimitConfig { permits, burst: Some(burst), ..Default::default() };
    let layer = RateLimitLayer::new(config(10, 10)).unwrap();
    let service = layer.layer(clock());
    for _ in 0..10 {
        service.clone().oneshot(0).await.unwrap();
    }
    for permits in [1, 1000, 10] {
        layer.reload(&config(permits, 10)).unwrap();
        assert_eq!(reason(service.clone().oneshot(0).await), Some(Reason::RateLimited));
    }
    for burst in [12, 1, 12, 100, 1, 100] {
        layer.reload(&config(1, burst)).unwrap();
        assert_eq!(
            reason(service.clone().oneshot(0).await),
            Some(Reason::RateLimited),
            "a burst needs a pause before it"
        );
    }
    advance(MINUTE).await;
    for _ in 0..60 {
        service.clone().oneshot(0).await.unwrap();
    }
    assert_eq!(reason(service.clone().oneshot(0).await), Some(Reason::RateLimited));
}

/// The limit is lowered after all of it was used: the new rate admits calls from the start.
#[tokio::test(start_paused = true)]
async fn lower_limit_still_passes_calls() {
    let layer = RateLimitLayer::new(RateLimitConfig { permits: 1000, ..Default::default() }).unwrap();
    let service = layer.layer(clock());
    for _ in 0..1000 {
        service.clone().oneshot(0).await.unwrap();
    }
    layer.reload(&RateLimitConfig { permits: 10, ..Default::default() }).unwrap();
    for _ in 0..20 {
        assert_eq!(reason(service.clone().oneshot(0).await), Some(Reason::RateLimited));
        advance(100 * MS).await;
        assert!(service.clone().oneshot(0).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn later_calls_have_the_new_max_wait() {
    let layer = RateLimitLayer::new(RateLimitConfig { max_wait: Duration::ZERO, ..one_a_minute() }).unwrap();
    let service = layer.layer(clock());
    service.clone().oneshot(0).await.unwrap();
    assert_eq!(reason(service.clone().oneshot(0).await), Some(Reason::RateLimited));
    layer.reload(&one_a_minute()).unwrap();
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(0).await.unwrap() - start, MINUTE);
}
