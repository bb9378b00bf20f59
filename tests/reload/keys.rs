//! A reload applies to the state of every key, existing and new.

use std::future::ready;

use futures::poll;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::error::Reason;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::*;

#[tokio::test(start_paused = true)]
async fn reload_applies_to_the_permits_of_every_key() {
    let config = |max_concurrent| BulkheadConfig { max_concurrent, max_waiting: 0, ..Default::default() };
    let layer = BulkheadLayer::new(config(1)).unwrap().keyed_by(|key: &u32| *key);
    let service = layer.layer(silent());
    let mut held = Vec::new();
    for (max_concurrent, keys) in [(1, 0..2), (3, 0..4), (2, 0..6)] {
        layer.reload(&config(max_concurrent)).unwrap();
        for key in keys {
            loop {
                let mut call = Box::pin(service.clone().oneshot(key));
                if poll!(&mut call).is_ready() {
                    break;
                }
                held.push((key, call));
            }
        }
    }
    let of = |key| held.iter().filter(|(of, _)| *of == key).count();
    assert_eq!([of(0), of(2), of(3), of(5)], [3, 3, 3, 2]);

    let layer = LoadShedLayer::new(LoadShedConfig::default()).unwrap().keyed_by(|key: &u32| *key);
    let service = layer.layer(silent());
    let mut first = Box::pin(service.clone().oneshot(0));
    assert!(poll!(&mut first).is_pending());
    layer.reload(&LoadShedConfig { max_in_flight: 1, queue_ratio: 0.0, ..Default::default() }).unwrap();
    for key in [0, 1] {
        let mut waits = Box::pin(service.clone().oneshot(key));
        assert!(poll!(&mut waits).is_pending());
        let mut next = Box::pin(service.clone().oneshot(key));
        // One call may always wait, for a permit of its key.
        assert_eq!(poll!(&mut next).is_ready(), key == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn reload_applies_to_the_rates_of_every_key() {
    let config = |permits| RateLimitConfig { permits, per: MINUTE, ..Default::default() };
    let layer = RateLimitLayer::new(config(1)).unwrap().keyed_by(|key: &u32| *key);
    let service = layer.layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n))));
    assert!(service.clone().oneshot(0).await.is_ok());
    layer.reload(&config(3)).unwrap();
    for (key, passed) in [(0, 0), (1, 3)] {
        for _ in 0..passed {
            assert!(service.clone().oneshot(key).await.is_ok());
        }
        assert_eq!(reason(service.clone().oneshot(key).await), Some(Reason::RateLimited));
    }
}

#[tokio::test(start_paused = true)]
async fn reload_applies_to_the_breakers_of_every_key() {
    let config = |calls| CircuitBreakerConfig { consecutive_failures: Some(calls), ..Default::default() };
    let layer = CircuitBreakerLayer::new(config(9)).unwrap().keyed_by(|key: &u32| *key);
    let service = layer.layer(service_fn(|_: u32| ready(Err::<u32, _>(BoxError::from("failed")))));
    assert!(service.clone().oneshot(0).await.is_err());
    layer.reload(&config(2)).unwrap();
    for (key, calls) in [(0, 1), (1, 2)] {
        for _ in 0..calls {
            assert_eq!(reason(service.clone().oneshot(key).await), None);
        }
        assert_eq!(reason(service.clone().oneshot(key).await), Some(Reason::CircuitOpen));
    }
}

#[tokio::test(start_paused = true)]
async fn reload_applies_to_the_budgets_of_every_key() {
    let config = |burst, attempts| RetryConfig {
        budget: BudgetConfig { ratio: 0.0, reserve_burst: burst, ..Default::default() },
        backoff: Backoff::constant(MS),
        max_attempts: attempts,
        ..Default::default()
    };
    let layer = RetryLayer::new(config(1, 1)).unwrap().keyed_by(|key: &u32| *key);
    let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = attempts.clone();
    let service = layer.layer(service_fn(move |_: u32| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        ready(Err::<u32, _>(BoxError::from("failed")))
    }));
    assert!(service.clone().oneshot(0).await.is_err());
    layer.reload(&config(5, 9)).unwrap();
    for (key, made) in [(0, 2), (1, 6)] {
        attempts.store(0, std::sync::atomic::Ordering::SeqCst);
        assert!(service.clone().oneshot(key).await.is_err());
        assert_eq!(
            attempts.load(std::sync::atomic::Ordering::SeqCst),
            made,
            "the reserve of an existing key is not refilled"
        );
    }
}

/// Fewer keys: a state in use or exhausted stays, and is not shared; a state that is as good as new is forgotten.
#[tokio::test(start_paused = true)]
async fn reload_to_fewer_keys_keeps_states_in_use() {
    let registry = seawall::registry::Registry::new();
    let keys = || registry.snapshot().components[0].keys;
    let config =
        |max_keys| RateLimitConfig { permits: 1, per: MINUTE, max_wait: 5 * MINUTE, max_keys, ..Default::default() };
    let layer = RateLimitLayer::new(config(8)).unwrap().named_in(&registry, "keys").unwrap().keyed_by(|key: &u32| *key);
    let service = layer.layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n))));
    for key in 0..4 {
        service.clone().oneshot(key).await.unwrap();
    }
    let mut waits = Box::pin(service.clone().oneshot(3));
    assert!(poll!(&mut waits).is_pending());
    layer.reload(&config(1)).unwrap();
    assert_eq!(keys(), 4);
    for key in 0..4 {
        let mut behind = Box::pin(service.clone().oneshot(key));
        assert!(poll!(&mut behind).is_pending(), "the state of its rate was kept");
    }
    tokio::time::advance(3 * MINUTE / 2).await;
    assert!(poll!(&mut waits).is_ready());
    layer.reload(&config(1)).unwrap();
    assert_eq!(keys(), 1, "only the last key's limit is not full again");
}
