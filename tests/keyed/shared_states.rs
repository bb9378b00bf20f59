//! When the state of every key is in use or worth keeping, further keys share states: one of them affects few others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use seawall::bulkhead::BulkheadLayer;
use seawall::circuit_breaker::CircuitBreakerLayer;
use seawall::load_shed::LoadShedLayer;
use seawall::rate_limit::RateLimitLayer;
use seawall::retry::RetryLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::*;

const BAD: u32 = 5000;

/// How many of 200 further keys are refused.
async fn refused<S>(service: &S) -> usize
where
    S: Service<Request, Response = (), Error = BoxError> + Clone,
{
    let mut refused = 0;
    for stranger in 6000..6200 {
        let answer = service.clone().oneshot((stranger, Succeed)).now_or_never();
        refused += usize::from(!matches!(answer, Some(Ok(()))));
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn failing_new_key_opens_the_breaker_of_few_others() {
    let mut service = CircuitBreakerLayer::new(breaker(64)).unwrap().keyed_by(key).layer(service_fn(serve));
    let _in_use: Vec<_> = (0..64).map(|host| service.call((host, Hang))).collect();
    for _ in 0..3 {
        drop(service.clone().oneshot((BAD, Fail)).await);
    }
    assert!(reason(service.clone().oneshot((BAD, Fail)).await).is_some());
    assert!(refused(&service).await < 20);
}

#[tokio::test(start_paused = true)]
async fn greedy_new_key_exhausts_the_rate_of_few_others() {
    let service = RateLimitLayer::new(rate(64)).unwrap().keyed_by(key).layer(service_fn(serve));
    for known in 0..64 {
        drop(service.clone().oneshot((known, Succeed)).await);
    }
    for _ in 0..10 {
        drop(service.clone().oneshot((BAD, Succeed)).await);
    }
    // Two hundred calls of further keys share 128 states of five permits each.
    assert!(refused(&service).await < 40);
}

#[tokio::test(start_paused = true)]
async fn hanging_new_key_takes_the_permits_of_few_others() {
    let mut service = BulkheadLayer::new(bulkhead(64)).unwrap().keyed_by(key).layer(service_fn(serve));
    let mut in_use: Vec<_> = (0..64).map(|key| Box::pin(service.call((key, Hang)))).collect();
    in_use.extend((0..10).map(|_| Box::pin(service.call((BAD, Hang)))));
    assert_eq!(in_use.iter_mut().filter_map(|call| call.now_or_never()).count(), 8, "two of ten calls have a permit");
    assert!(refused(&service).await < 20);

    let mut service = LoadShedLayer::new(load_shed(64)).unwrap().keyed_by(key).layer(service_fn(serve));
    let mut in_use: Vec<_> = (0..64).map(|key| Box::pin(service.call((key, Hang)))).collect();
    in_use.extend((0..10).map(|_| Box::pin(service.call((BAD, Hang)))));
    assert!(in_use.iter_mut().filter_map(|call| call.now_or_never()).count() > 0);
    assert!(refused(&service).await < 20);
}

#[tokio::test(start_paused = true)]
async fn failing_new_key_exhausts_the_budget_of_few_others() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let callee = service_fn(move |request: Request| {
        counted.fetch_add(usize::from(request.0 >= 6000), Ordering::SeqCst);
        serve(request)
    });
    let service = RetryLayer::new(retry(64)).unwrap().keyed_by(key).layer(callee);
    for known in 0..64 {
        drop(service.clone().oneshot((known, Fail)).await);
    }
    for _ in 0..5 {
        drop(service.clone().oneshot((BAD, Fail)).await);
    }
    for stranger in 6000..6064 {
        drop(service.clone().oneshot((stranger, Fail)).await);
    }
    let retries = attempts.load(Ordering::SeqCst) - 64;
    assert!(retries > 44, "{retries} of 64 calls were retried");
}
