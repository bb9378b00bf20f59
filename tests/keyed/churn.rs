//! Many calls with other keys do not change the state of one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use seawall::bulkhead::BulkheadLayer;
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::error::Reason;
use seawall::load_shed::LoadShedLayer;
use seawall::rate_limit::RateLimitLayer;
use seawall::registry::{Condition, Registry};
use seawall::retry::RetryLayer;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::*;

const KEYS: u32 = 1024;

#[tokio::test(start_paused = true)]
async fn exhausted_rate_limit_survives_key_churn() {
    let service = RateLimitLayer::new(rate(KEYS as usize)).unwrap().keyed_by(key).layer(service_fn(serve));
    // Churn before the first call of key 0, and after it: with its own state, and with a shared state.
    for churn_first in [false, true] {
        let target = u32::from(churn_first);
        let mut passed = 0;
        for round in 0..10 {
            if round > 0 || churn_first {
                for other in 0..2 * KEYS {
                    drop(service.clone().oneshot((1000 + round * 2 * KEYS + other, Succeed)).await);
                }
            }
            for _ in 0..10 {
                passed += u32::from(service.clone().oneshot((target, Succeed)).await.is_ok());
            }
        }
        assert!(passed <= 5, "{passed} calls in an hour");
        assert_eq!(passed, if churn_first { passed } else { 5 });
    }
}

/// Permits refill with time. Then the key may be forgotten, and new keys have their own states again.
#[tokio::test(start_paused = true)]
async fn refilled_rate_limits_are_forgotten_for_new_keys() {
    let registry = Registry::new();
    let layer = RateLimitLayer::new(rate(16)).unwrap().named_in(&registry, "logins").unwrap().keyed_by(key);
    let service = layer.layer(service_fn(serve));
    for round in 0..5 {
        for newcomer in 0..16 {
            for _ in 0..5 {
                assert!(service.clone().oneshot((round * 16 + newcomer, Succeed)).await.is_ok());
            }
            assert_eq!(
                reason(service.clone().oneshot((round * 16 + newcomer, Succeed)).await),
                Some(Reason::RateLimited)
            );
        }
        assert_eq!(registry.snapshot().components[0].keys, 16);
        advance(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn open_breaker_survives_key_churn() {
    let service = CircuitBreakerLayer::new(breaker(KEYS as usize)).unwrap().keyed_by(key).layer(service_fn(serve));
    for _ in 0..3 {
        assert_eq!(reason(service.clone().oneshot((0, Fail)).await), None);
    }
    for behaviour in [Succeed, Fail] {
        for other in 1..=2 * KEYS {
            drop(service.clone().oneshot((other, behaviour)).await);
        }
        assert_eq!(reason(service.clone().oneshot((0, Fail)).await), Some(Reason::CircuitOpen));
    }
}

/// A recorded failure is kept for its window, with either kind of window.
#[tokio::test(start_paused = true)]
async fn failures_of_a_closed_breaker_survive_key_churn() {
    let service = CircuitBreakerLayer::new(breaker(64)).unwrap().keyed_by(key).layer(service_fn(serve));
    for _ in 0..3 {
        assert_eq!(reason(service.clone().oneshot((0, Fail)).await), None);
        for other in 1..=256 {
            assert!(service.clone().oneshot((other, Succeed)).await.is_ok());
        }
    }
    assert_eq!(reason(service.clone().oneshot((0, Fail)).await), Some(Reason::CircuitOpen));
}

#[tokio::test(start_paused = true)]
async fn half_open_breaker_survives_key_churn() {
    let config = CircuitBreakerConfig { break_duration: SECOND, max_break: SECOND, jitter: 0.0, ..breaker(64) };
    let mut service = CircuitBreakerLayer::new(config).unwrap().keyed_by(key).layer(service_fn(serve));
    for _ in 0..3 {
        assert_eq!(reason(service.clone().oneshot((0, Fail)).await), None);
    }
    advance(SECOND).await;
    let mut probe = Box::pin(service.call((0, Hang)));
    assert!((&mut probe).now_or_never().is_none());
    for other in 1..=256 {
        assert!(service.clone().oneshot((other, Succeed)).await.is_ok());
    }
    assert_eq!(reason(service.clone().oneshot((0, Succeed)).await), Some(Reason::CircuitOpen), "one probe at a time");
}

/// Long after its break, the open breaker of an unused host makes room for others.
#[tokio::test(start_paused = true)]
async fn breaker_that_was_open_long_ago_is_forgotten() {
    let config = CircuitBreakerConfig { break_duration: SECOND, max_break: 10 * SECOND, ..breaker(4) };
    let layer = CircuitBreakerLayer::new(config).unwrap().keyed_by(key);
    let service = layer.layer(service_fn(serve));
    for host in 0..4 {
        for _ in 0..3 {
            drop(service.clone().oneshot((host, Fail)).await);
        }
    }
    advance(60 * SECOND).await;
    for host in 10..14 {
        drop(service.clone().oneshot((host, Succeed)).await);
    }
    assert_eq!(layer.handle().snapshots().len(), 1 + 4, "every key has its own state");
}

#[tokio::test(start_paused = true)]
async fn exhausted_retry_budget_survives_key_churn() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let callee = service_fn(move |request: Request| {
        counted.fetch_add(u32::from(request.0 == 0), Ordering::SeqCst);
        serve(request)
    });
    let service = RetryLayer::new(retry(64)).unwrap().keyed_by(key).layer(callee);
    for _ in 0..20 {
        drop(service.clone().oneshot((0, Fail)).await);
        for other in 1..=128 {
            drop(service.clone().oneshot((other, Fail)).await);
        }
    }
    assert_eq!(attempts.load(Ordering::SeqCst), 20 + 2, "attempts of 20 calls with two retries to spend");
}

#[tokio::test(start_paused = true)]
async fn permits_in_use_survive_key_churn() {
    let bulkhead = BulkheadLayer::new(bulkhead(64)).unwrap().keyed_by(key);
    let mut service = bulkhead.layer(service_fn(serve));
    let mut held: Vec<_> = (0..2).map(|_| Box::pin(service.call((0, Hang)))).collect();
    assert!(held.iter_mut().all(|call| call.now_or_never().is_none()));
    for behaviour in [Succeed, Hang] {
        for other in 1..=256 {
            drop(service.clone().oneshot((other, behaviour)).now_or_never());
        }
        assert_eq!(reason(service.clone().oneshot((0, Succeed)).await), Some(Reason::QueueFull));
    }

    let shedder = LoadShedLayer::new(load_shed(64)).unwrap().keyed_by(key);
    let mut service = shedder.layer(service_fn(serve));
    let mut held: Vec<_> = (0..2).map(|_| Box::pin(service.call((0, Hang)))).collect();
    assert!(held.iter_mut().all(|call| call.now_or_never().is_none()), "one in flight and one queued");
    for behaviour in [Succeed, Hang] {
        for other in 1..=256 {
            drop(service.clone().oneshot((other, behaviour)).now_or_never());
        }
        assert_eq!(reason(service.clone().oneshot((0, Succeed)).await), Some(Reason::QueueFull));
    }
}

/// A key whose calls used a shared state carries the failures of that state along when it gets its own state.
#[tokio::test(start_paused = true)]
async fn move_to_an_own_state_keeps_the_failures() {
    let layer = RateLimitLayer::new(rate(2)).unwrap().keyed_by(key);
    let service = layer.layer(service_fn(serve));
    for key in [1, 2, 7] {
        while service.clone().oneshot((key, Succeed)).await.is_ok() {}
    }
    layer.reload(&rate(100)).unwrap();
    assert_eq!(reason(service.clone().oneshot((7, Succeed)).await), Some(Reason::RateLimited));
    advance(HOUR / 5).await;
    assert!(service.clone().oneshot((7, Succeed)).await.is_ok());
    assert_eq!(reason(service.clone().oneshot((7, Succeed)).await), Some(Reason::RateLimited));

    let mut service = CircuitBreakerLayer::new(breaker(2)).unwrap().keyed_by(key).layer(service_fn(serve));
    let held = [service.call((1, Hang)), service.call((2, Hang))];
    for _ in 0..3 {
        drop(service.clone().oneshot((7, Fail)).await);
    }
    drop(held);
    assert_eq!(reason(service.clone().oneshot((7, Succeed)).await), Some(Reason::CircuitOpen));
    advance(2 * HOUR).await;
    assert!(service.clone().oneshot((7, Succeed)).await.is_ok(), "the call ends as usual");

    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let callee = service_fn(move |request: Request| {
        counted.fetch_add(u32::from(request.0 == 7), Ordering::SeqCst);
        serve(request)
    });
    let layer = RetryLayer::new(retry(2)).unwrap().keyed_by(key);
    let service = layer.layer(callee);
    for key in [1, 2, 7] {
        for _ in 0..3 {
            drop(service.clone().oneshot((key, Fail)).await);
        }
    }
    layer.reload(&retry(100)).unwrap();
    attempts.store(0, Ordering::SeqCst);
    drop(service.clone().oneshot((7, Fail)).await);
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn states_stay_within_max_keys_for_any_calls() {
    let registry = Registry::new();
    let layer = CircuitBreakerLayer::new(breaker(32)).unwrap().named_in(&registry, "hosts").unwrap().keyed_by(key);
    let mut service = layer.layer(service_fn(serve));
    let mut held = Vec::new();
    for host in 0..5000 {
        let mut call = Box::pin(service.call((host, [Succeed, Fail, Hang][host as usize % 3])));
        if (&mut call).now_or_never().is_none() {
            held.push(call);
        }
    }
    assert_eq!(registry.snapshot().components[0].keys, 32);
    assert!(layer.handle().snapshots().len() <= 1 + 128 + 32);
    let Condition::CircuitBreaker(breaker) = registry.snapshot().components[0].condition else { panic!("a breaker") };
    assert_eq!(breaker.in_flight as usize, held.len(), "calls in shared states are counted too");
}
