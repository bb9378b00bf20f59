use std::future::ready;
use std::time::Duration;

use futures::future::join_all;
use seawall::error::{Reason, rejection};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tokio::time::{Instant, advance};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{MILLISECOND, SECOND};

fn rate_limit(config: RateLimitConfig) -> RateLimitLayer {
    RateLimitLayer::new(config).unwrap()
}

async fn call(layer: &RateLimitLayer) -> Result<(), BoxError> {
    layer.layer(service_fn(|()| ready(Ok::<_, BoxError>(())))).oneshot(()).await
}

#[tokio::test(start_paused = true)]
async fn ten_routes_share_five_calls_a_minute() {
    let layer = rate_limit(RateLimitConfig { permits: 5, per: 60 * SECOND, ..Default::default() });
    let answers = join_all((0..50).map(|_route| call(&layer))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn default_refuses_at_once_with_retry_after() {
    let layer = rate_limit(RateLimitConfig { permits: 1, per: 60 * SECOND, ..Default::default() });
    call(&layer).await.unwrap();
    let start = Instant::now();
    let error = call(&layer).await.unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!((rejected.reason(), rejected.retry_after()), (Reason::RateLimited, Some(60 * SECOND)));
    assert_eq!(start.elapsed(), Duration::ZERO);
    advance(60 * SECOND).await;
    call(&layer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queued_calls_start_one_by_one() {
    let config = RateLimitConfig { permits: 10, burst: Some(1), max_wait: 10 * SECOND, ..Default::default() };
    let layer = rate_limit(config);
    let start = Instant::now();
    let started = (0..10).map(|_| async {
        call(&layer).await.unwrap();
        start.elapsed()
    });
    let started = join_all(started).await;
    let evenly: Vec<_> = (0..10).map(|n| n * 100 * MILLISECOND).collect();
    assert_eq!(started, evenly);
}
