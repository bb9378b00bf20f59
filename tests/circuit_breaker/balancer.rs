//! Breakers behind a load balancer that chooses by readiness and pending calls.

use futures::stream::{FuturesUnordered, StreamExt};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::util::BoxCloneService;

use super::*;

fn unready() -> CircuitBreakerLayer {
    layer(CircuitBreakerConfig { minimum_calls: 3, unready_while_open: true, ..Default::default() })
}

/// A dead endpoint that takes 200 ms to fail has many pending calls, so the balancer avoids it. With an open breaker
/// that is always ready it would have the fewest pending calls and attract the most traffic.
#[tokio::test(start_paused = true)]
async fn dead_endpoint_attracts_no_traffic() {
    let endpoints: Vec<_> = (0..3)
        .map(|i| {
            let call = move |()| async move {
                sleep(if i == 0 { 200 * MS } else { 5 * MS }).await;
                if i == 0 { Err(BoxError::from("down")) } else { Ok(()) }
            };
            let config = CircuitBreakerConfig { unready_while_open: true, ..Default::default() };
            let breaker = CircuitBreakerLayer::new(config).unwrap();
            PendingRequests::new(breaker.layer(service_fn(call)), CompleteOnResponse::default())
        })
        .collect();
    let mut balance = Balance::new(ServiceList::new::<()>(endpoints));
    let (mut calls, mut failed) = (FuturesUnordered::new(), 0);
    for _ in 0..3000 {
        calls.push(balance.ready().await.unwrap().call(()));
        while calls.len() > 20 {
            failed += u32::from(calls.next().await.unwrap().is_err());
        }
    }
    assert!(failed < 60, "{failed} of 3000 calls failed");
}

/// All endpoints go down and come back: the balancer uses each of them again.
#[tokio::test(start_paused = true)]
async fn recovered_endpoints_are_used_again() {
    let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let endpoints: Vec<_> = (0..3)
        .map(|_| {
            let down = Arc::clone(&down);
            let call = move |()| {
                let fails = down.load(Ordering::Relaxed);
                async move {
                    sleep(5 * MS).await;
                    if fails { Err(BoxError::from("down")) } else { Ok(()) }
                }
            };
            PendingRequests::new(unready().layer(service_fn(call)), CompleteOnResponse::default())
        })
        .collect();
    let mut balance = Balance::new(ServiceList::new::<()>(endpoints));
    for _ in 0..30 {
        let _ = balance.ready().await.unwrap().call(()).await;
    }
    down.store(false, Ordering::Relaxed);
    for _ in 0..200 {
        balance.ready().await.unwrap().call(()).await.expect("the endpoint is back");
    }
}

#[tokio::test(start_paused = true)]
async fn open_breaker_is_unready_until_its_next_probe() {
    let layer = unready();
    let mut service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    let start = Instant::now();
    service.ready().await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
    // Each clone waits on its own, and readiness reserves nothing.
    let mut other = service.clone();
    other.ready().await.unwrap();
    let probe = tokio::spawn(service.call(100));
    tokio::task::yield_now().await;
    let mut waiting = other.clone();
    assert!(futures::poll!(waiting.ready()).is_pending(), "the probe holds the only slot");
    assert!(other.call(OK).await.is_err(), "a clone readied before the probe is refused");
    waiting.ready().await.unwrap();
    assert_eq!(start.elapsed(), SECOND + 100 * MS, "woken by the answer of the probe");
    probe.await.unwrap().unwrap();
}

/// Many clones wait and one of them is dropped; all others are woken.
#[tokio::test(start_paused = true)]
async fn all_waiting_clones_are_woken() {
    let layer = unready();
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    handle.force_open();
    let waiting = |_| {
        let mut service = service.clone();
        tokio::spawn(async move { service.ready().await.map(|_| ()) })
    };
    let waiting: Vec<_> = (0..10).map(waiting).collect();
    sleep(3600 * SECOND).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    waiting[0].abort();
    handle.enforce();
    for (number, waiting) in waiting.into_iter().enumerate() {
        assert_eq!(waiting.await.is_ok(), number > 0);
    }
}

/// A reload that switches the mode off makes waiting services ready.
#[tokio::test(start_paused = true)]
async fn mode_can_be_switched_off_while_services_wait() {
    let layer = unready();
    layer.handle().force_open();
    let mut service = layer.layer(service_fn(callee));
    let waiting = tokio::spawn(async move {
        service.ready().await.unwrap();
        service.call(OK).await
    });
    sleep(SECOND).await;
    layer.reload(&CircuitBreakerConfig { unready_while_open: false, ..layer.config() }).unwrap();
    assert!(waiting.await.unwrap().is_err(), "an open breaker refuses");
}

#[tokio::test(start_paused = true)]
async fn breaker_without_the_mode_is_always_ready() {
    let layer = quick();
    layer.handle().force_open();
    let mut service = layer.layer(service_fn(callee));
    assert!(futures::poll!(service.ready()).is_ready());
}

/// With three endpoints of which the first fails, how many of 500 calls waited for an open breaker.
async fn late_calls(bulkhead_outside: bool) -> u32 {
    let endpoints: Vec<_> = (0..3)
        .map(|i| {
            let call = move |()| async move {
                sleep(if i == 0 { MS } else { 5 * MS }).await;
                if i == 0 { Err(BoxError::from("down")) } else { Ok(()) }
            };
            let endpoint = unready().layer(service_fn(call));
            let endpoint = match bulkhead_outside {
                true => BoxCloneService::new(BulkheadLayer::new(BulkheadConfig::default()).unwrap().layer(endpoint)),
                false => BoxCloneService::new(endpoint),
            };
            PendingRequests::new(endpoint, CompleteOnResponse::default())
        })
        .collect();
    let mut balance = Balance::new(ServiceList::new::<()>(endpoints));
    let mut late = 0;
    for _ in 0..500 {
        let start = tokio::time::Instant::now();
        let _ = balance.ready().await.unwrap().call(()).await;
        late += u32::from(start.elapsed() > 100 * MS);
    }
    late
}

/// The reason why a stack refuses `unready_while_open`, and why layers belong around the balancer.
#[tokio::test(start_paused = true)]
async fn bulkhead_at_an_endpoint_hides_its_open_breaker() {
    assert_eq!(late_calls(false).await, 0);
    assert!(late_calls(true).await > 0);
}

/// The reason for the same advice when the endpoint itself is not ready.
#[tokio::test(start_paused = true)]
async fn layer_at_an_endpoint_hides_its_unreadiness() {
    #[derive(Clone)]
    struct Endpoint(bool);
    impl Service<()> for Endpoint {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            if self.0 { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
        }

        fn call(&mut self, (): ()) -> Self::Future {
            std::future::ready(Ok(()))
        }
    }
    async fn hanging<S: Service<(), Response = (), Error = BoxError>>(wrap: impl Fn(Endpoint) -> S) -> u32 {
        let endpoints: Vec<_> = [true, false]
            .map(|ready| PendingRequests::new(wrap(Endpoint(ready)), CompleteOnResponse::default()))
            .into();
        let mut balance = Balance::new(ServiceList::new::<()>(endpoints));
        let mut hanging = 0;
        for _ in 0..100 {
            let call = balance.ready().await.unwrap().call(());
            hanging += u32::from(tokio::time::timeout(SECOND, call).await.is_err());
        }
        hanging
    }
    assert_eq!(hanging(|endpoint| endpoint).await, 0);
    let around_it = |endpoint| BulkheadLayer::new(BulkheadConfig::default()).unwrap().layer(endpoint);
    assert!(hanging(around_it).await > 20);
}
