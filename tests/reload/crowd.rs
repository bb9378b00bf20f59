//! Ten thousand calls in flight on several threads, and a hundred reloads of every layer: no call fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, Order};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Window};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{BudgetConfig, RetryConfig, RetryLayer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use crate::*;

const CALLS: u32 = 10_000;
/// Longer than any call, however busy the machine is.
const EVER: Duration = Duration::from_secs(100 * 3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_reloads_under_ten_thousand_calls_fail_none() {
    let deadline = DeadlineLayer::new(EVER).unwrap();
    let shed = |n: u32| LoadShedConfig {
        max_in_flight: 500 + n % 7 * 100,
        queue_ratio: 1000.0,
        max_wait: EVER + n * MS,
        ..Default::default()
    };
    let rate = |n: u32| RateLimitConfig {
        permits: 1_000_000 + n % 3 * 500_000,
        burst: Some(50 + n),
        max_wait: EVER + n * MS,
        max_waiting: 100_000 + n,
        ..Default::default()
    };
    let bulkhead = |n: u32| BulkheadConfig {
        max_concurrent: 1 + n % 5 * 50,
        max_waiting: 100_000 + n,
        max_wait: EVER,
        order: if n % 2 == 0 { Order::Fifo } else { Order::Lifo },
        max_keys: 1 + n as usize % 4,
        ..Default::default()
    };
    let retry = |n: u32| RetryConfig {
        max_attempts: 2 + n % 3,
        budget: BudgetConfig { ratio: 0.5, ttl: SECOND * (1 + n % 60), ..Default::default() },
        ..Default::default()
    };
    let breaker = |n: u32| CircuitBreakerConfig {
        window: if n % 2 == 0 { Window::Calls(10 + n * 7) } else { Window::Time(SECOND + n * MS) },
        observe_only: n % 3 == 0,
        slow_rate: None,
        ..Default::default()
    };
    let shed_layer = LoadShedLayer::new(shed(0)).unwrap();
    let rate_layer = RateLimitLayer::new(rate(0)).unwrap();
    let bulkhead_layer = BulkheadLayer::new(bulkhead(0)).unwrap().keyed_by(|n: &u32| n % 8);
    let retry_layer = RetryLayer::new(retry(0)).unwrap();
    let breaker_layer = CircuitBreakerLayer::new(breaker(0)).unwrap();
    // The last of every hundred calls waits for the next change, so that changes come while calls are in flight on any
    // scheduler.
    let changes = watch::Sender::new(0);
    let waiting = changes.clone();
    let service = ServiceBuilder::new()
        .layer(deadline.clone())
        .layer(shed_layer.clone())
        .layer(rate_layer.clone())
        .layer(bulkhead_layer.clone())
        .layer(retry_layer.clone())
        .layer(breaker_layer.clone())
        .service(service_fn(move |n: u32| {
            let mut changes = waiting.subscribe();
            async move {
                for _ in 0..n % 16 {
                    tokio::task::yield_now().await;
                }
                if n % 100 == 99 {
                    changes.wait_for(|changes| *changes > n / 100).await?;
                }
                Ok::<_, BoxError>(n)
            }
        }));
    let done = Arc::new(AtomicU32::new(0));
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let (call, done) = (service.clone().oneshot(n).boxed(), done.clone());
        calls.spawn(async move {
            let answer = call.await;
            done.fetch_add(1, Ordering::SeqCst);
            answer.map(|answer| assert_eq!(answer, n)).map_err(|error| error.to_string())
        });
    }
    for n in 1..=100 {
        deadline.reload(&(EVER + n * SECOND).into()).unwrap();
        shed_layer.reload(&shed(n)).unwrap();
        rate_layer.reload(&rate(n)).unwrap();
        bulkhead_layer.reload(&bulkhead(n)).unwrap();
        retry_layer.reload(&retry(n)).unwrap();
        breaker_layer.reload(&breaker(n)).unwrap();
        assert!(done.load(Ordering::SeqCst) < CALLS, "all calls ended before change {n}");
        changes.send_replace(n);
        tokio::task::yield_now().await;
    }
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap(), Ok(()));
    }
    assert_eq!((shed_layer.handle().in_flight(), shed_layer.handle().waiting()), (0, 0));
    assert_eq!((bulkhead_layer.handle().in_flight(), bulkhead_layer.handle().waiting()), (0, 0));
    assert_eq!((rate_layer.handle().waiting(), breaker_layer.handle().snapshot().in_flight), (0, 0));
    let last = bulkhead(100);
    assert_eq!((bulkhead_layer.handle().limit(), bulkhead_layer.config()), (last.max_concurrent, last));
}
