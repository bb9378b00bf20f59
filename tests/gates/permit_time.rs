//! A gate times how long its permits are held, whatever the time is spent on: that is what a queued call waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::registry::{Condition, Registry};
use seawall::retry::{Backoff, BudgetConfig, Jitter, RetryConfig, RetryLayer};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::{MS, SECOND, sleeper};

type Callee = BoxCloneService<(), (), BoxError>;

/// One call at a time, 50 ms each. Counts the calls that begin.
fn queueing(begun: &Arc<AtomicU32>) -> Callee {
    let layer = BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..Default::default() }).unwrap();
    let begun = Arc::clone(begun);
    BoxCloneService::new(layer.layer(service_fn(move |()| {
        begun.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(50 * MS).await;
            Ok::<_, BoxError>(())
        }
    })))
}

/// Fails first, and retries after 750 ms. Counts the calls that begin.
fn retrying(begun: &Arc<AtomicU32>) -> Callee {
    let budget = BudgetConfig { ratio: 1.0, reserve_burst: 1000, ..Default::default() };
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(750 * MS) };
    let retry = RetryLayer::new(RetryConfig { budget, backoff, ..Default::default() }).unwrap();
    let begun = Arc::clone(begun);
    BoxCloneService::new(retry.layer(service_fn(move |()| {
        let is_first = seawall::context::attempt() == 1;
        begun.fetch_add(u32::from(is_first), Ordering::Relaxed);
        async move {
            sleep(25 * MS).await;
            if is_first { Err(BoxError::from("try again")) } else { Ok(()) }
        }
    })))
}

fn service_time(registry: &Registry) -> Duration {
    match &registry.snapshot().components[0].condition {
        Condition::LoadShed(gate) | Condition::Bulkhead(gate) => gate.service_time,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn waits_inside_a_gate_are_permit_time() {
    let registry = Registry::new();
    let shed = LoadShedLayer::new(LoadShedConfig { max_in_flight: 1, ..Default::default() }).unwrap();
    let shed = shed.named_in(&registry, "server").unwrap();
    let bulkhead = BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..Default::default() }).unwrap();
    let bulkhead = bulkhead.named_in(&registry, "client").unwrap();
    let callee = retrying(&Arc::default());
    let services = [BoxCloneService::new(shed.layer(callee.clone())), BoxCloneService::new(bulkhead.layer(callee))];
    for service in services {
        for _ in 0..20 {
            service.clone().oneshot(()).await.unwrap();
        }
    }
    for component in &registry.snapshot().components {
        let (Condition::LoadShed(gate) | Condition::Bulkhead(gate)) = &component.condition else { panic!() };
        assert_eq!(gate.service_time, 800 * MS, "{component:?}");
    }
}

/// A batch job keeps fifteen calls in the dependency's queue, so that each request takes 800 ms.
#[tokio::test(start_paused = true)]
async fn call_behind_a_queueing_handler_is_refused_at_once() {
    let callee = queueing(&Arc::default());
    for _ in 0..15 {
        let callee = callee.clone();
        tokio::spawn(async move {
            loop {
                let _ = callee.clone().oneshot(()).await;
            }
        });
    }
    sleep(MS).await;
    let shed = LoadShedLayer::new(LoadShedConfig { max_in_flight: 1, ..Default::default() }).unwrap();
    let server = DeadlineLayer::new(SECOND).unwrap().layer(shed.layer(callee));
    for _ in 0..10 {
        server.clone().oneshot(()).await.unwrap();
    }
    let first = tokio::spawn(server.clone().oneshot(()));
    sleep(MS).await;
    let start = Instant::now();
    assert!(server.clone().oneshot(()).await.is_err());
    assert!(start.elapsed() < 10 * MS, "{:?}", start.elapsed());
    first.await.unwrap().unwrap();
}

/// Twice the capacity, for 20 s.
#[tokio::test(start_paused = true)]
async fn overloaded_waiting_handlers_waste_little_work() {
    let (queued, retried) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for (name, callee, begun) in [("queue", queueing(&queued), &queued), ("backoff", retrying(&retried), &retried)] {
        let shed = LoadShedLayer::new(LoadShedConfig { max_in_flight: 16, ..Default::default() }).unwrap();
        let handler = service_fn(move |()| {
            let callee = callee.clone();
            async move {
                sleep(20 * MS).await;
                callee.oneshot(()).await
            }
        });
        let server = ServiceBuilder::new().layer(DeadlineLayer::new(SECOND).unwrap()).layer(shed).service(handler);
        let mut calls = Vec::new();
        for _ in 0..800 {
            calls.push(tokio::spawn(server.clone().oneshot(())));
            sleep(25 * MS).await;
        }
        let mut good = 0;
        for call in calls {
            good += u32::from(call.await.unwrap().is_ok());
        }
        let in_vain = begun.load(Ordering::Relaxed) - good;
        assert!(good > 300 && in_vain * 3 < good, "{name}: {good} good, {in_vain} wasted");
    }
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn bulkhead_times_the_body_and_a_shedder_the_head() {
    use http_body_util::{BodyExt, Full};

    let registry = Registry::new();
    let answers = || {
        service_fn(|()| async {
            sleep(10 * MS).await;
            Ok::<_, BoxError>(http::Response::new(Full::<bytes::Bytes>::from("hello")))
        })
    };
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap().named_in(&registry, "client").unwrap();
    let bulkhead = bulkhead.layer(answers());
    for _ in 0..20 {
        let response = bulkhead.clone().oneshot(()).await.unwrap();
        sleep(90 * MS).await;
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(service_time(&registry), 100 * MS, "a slow reader makes other calls wait");

    let registry = Registry::new();
    let shed = LoadShedLayer::http(LoadShedConfig::default()).unwrap().named_in(&registry, "server").unwrap();
    let shed = shed.layer(answers());
    for _ in 0..20 {
        let response = shed.clone().oneshot(()).await.unwrap();
        sleep(90 * MS).await;
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(service_time(&registry), 10 * MS);
}

/// A long poll that takes no permit says nothing about how long calls wait for one.
#[tokio::test(start_paused = true)]
async fn call_without_weight_is_no_permit_time() {
    let config = BulkheadConfig { max_concurrent: 1, ..Default::default() };
    let layer = BulkheadLayer::new(config).unwrap().weighed_by(|takes: &Duration| u32::from(*takes < SECOND));
    let service = layer.layer(sleeper());
    for _ in 0..20 {
        service.clone().oneshot(10 * MS).await.unwrap();
        service.clone().oneshot(30 * SECOND).await.unwrap();
    }
    let hasty = DeadlineLayer::new(100 * MS).unwrap().layer(service);
    let first = tokio::spawn(hasty.clone().oneshot(10 * MS));
    tokio::task::yield_now().await;
    hasty.oneshot(10 * MS).await.expect("10 ms after the first");
    first.await.unwrap().unwrap();
}
