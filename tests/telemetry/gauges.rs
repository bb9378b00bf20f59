//! Gauges show the present state after any outcome of calls; histograms count every call that ended, by its verdict.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use metrics_util::debugging::DebuggingRecorder;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::recorded::{Metrics, read, turn, with_recorder};

const SECOND: Duration = Duration::from_secs(1);

/// What the request makes the service do.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Answer,
    Fail,
    Hang,
    Panic,
}

async fn callee(ask: Ask) -> Result<(), BoxError> {
    match ask {
        Ask::Answer => Ok(()),
        Ask::Fail => Err("down".into()),
        Ask::Hang => std::future::pending().await,
        Ask::Panic => panic!("the callee panics"),
    }
}

/// The metrics of layers called `name`, without that label. Each test has a name of its own: what a layer counted last is published by
/// any thread, into the recorder of that thread.
fn of(name: &str, metrics: Metrics) -> Metrics {
    let label = format!("name={name}");
    let ours = metrics.into_iter().filter(|(metric, _)| metric.contains(&label));
    ours.map(|(metric, value)| (metric.replace(&format!("{label},"), "").replace(&label, ""), value)).collect()
}

#[test]
fn gauges_are_right_after_cancellation_panic_and_reload() {
    let registry = Registry::new();
    let config = BulkheadConfig { max_concurrent: 2, ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::new(config.clone())
        .unwrap()
        .named_in(&registry, "gauges-are-right-after-cancellation-pani")
        .unwrap();
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default())
        .unwrap()
        .named_in(&registry, "gauges-are-right-after-cancellation-pani")
        .unwrap();
    with_recorder(async |snapshotter| {
        let service = ServiceBuilder::new().layer(bulkhead.clone()).layer(breaker.clone()).service(service_fn(callee));
        let call = |ask| Box::pin(service.clone().oneshot(ask));
        let gauges = || {
            registry.publish();
            let metrics = of("gauges-are-right-after-cancellation-pani", read(snapshotter));
            [
                "in_flight{layer=bulkhead}",
                "waiting{layer=bulkhead}",
                "limit{layer=bulkhead}",
                "in_flight{layer=circuit_breaker}",
            ]
            .map(|gauge| metrics[&format!("seawall_{gauge}")] as u32)
        };
        assert_eq!(gauges(), [0, 0, 2, 0]);

        let mut calls: Vec<_> = [Ask::Hang; 3].map(call).into();
        assert!(join_all(calls.iter_mut()).now_or_never().is_none());
        assert_eq!(gauges(), [2, 1, 2, 2], "two in flight, and one queued");

        bulkhead.reload(&BulkheadConfig { max_concurrent: 1, ..config.clone() }).unwrap();
        assert_eq!(gauges(), [2, 1, 1, 2], "fewer permits end no call");
        calls.pop();
        assert_eq!(gauges(), [2, 0, 1, 2], "the queued call was dropped");
        calls.clear();
        assert_eq!(gauges(), [0, 0, 1, 0], "all calls have ended");

        let panicked = std::panic::AssertUnwindSafe(call(Ask::Panic)).catch_unwind().await;
        assert!(panicked.is_err());
        assert_eq!(gauges(), [0, 0, 1, 0], "a call that panicked has ended");
    });
}

#[test]
fn gauges_of_a_dropped_layer_are_zero() {
    let registry = Registry::new();
    with_recorder(async |snapshotter| {
        let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, "short-lived").unwrap();
        let service = layer.layer(service_fn(callee));
        let mut call = Box::pin(service.oneshot(Ask::Hang));
        assert!((&mut call).now_or_never().is_none());
        registry.publish();
        let gauge = |metrics: &Metrics| metrics["seawall_in_flight{layer=bulkhead}"];
        assert_eq!(gauge(&of("short-lived", read(snapshotter))), 1.0);
        drop((call, layer));
        registry.publish();
        let metrics = of("short-lived", read(snapshotter));
        assert_eq!((gauge(&metrics), metrics["seawall_limit{layer=bulkhead}"]), (0.0, 0.0));
    });
}

#[test]
fn every_ended_call_is_counted_by_its_verdict() {
    let registry = Registry::new();
    let retry = RetryConfig { max_attempts: 2, ..RetryConfig::default() };
    let retry =
        RetryLayer::new(retry).unwrap().named_in(&registry, "every-ended-call-is-counted-by-its-verdi").unwrap();
    let bulkhead = BulkheadLayer::new(BulkheadConfig::default())
        .unwrap()
        .named_in(&registry, "every-ended-call-is-counted-by-its-verdi")
        .unwrap();
    let breaker = CircuitBreakerConfig { observe_only: true, minimum_calls: 2, ..CircuitBreakerConfig::default() };
    let breaker = CircuitBreakerLayer::new(breaker)
        .unwrap()
        .named_in(&registry, "every-ended-call-is-counted-by-its-verdi")
        .unwrap();
    with_recorder(async |snapshotter| {
        let layers = ServiceBuilder::new().layer(retry).layer(bulkhead).layer(breaker);
        let service = layers.service(service_fn(callee));
        for ask in [Ask::Answer, Ask::Answer, Ask::Fail, Ask::Fail, Ask::Fail] {
            let _ = service.clone().oneshot(ask).await;
        }
        let _ = tokio::time::timeout(SECOND, service.clone().oneshot(Ask::Hang)).await;
        registry.publish();
        let metrics = of("every-ended-call-is-counted-by-its-verdi", read(snapshotter));
        let calls = |layer, verdict| {
            let metric = format!("seawall_call_duration_seconds{{layer={layer},verdict={verdict}}}");
            metrics.get(&metric).copied().unwrap_or_default() as u32
        };
        assert_eq!(["success", "transient", "abandoned"].map(|verdict| calls("retry", verdict)), [2, 3, 1]);
        for layer in ["bulkhead", "circuit_breaker"] {
            // Each of the three failed calls made two attempts. A breaker that opened but only observes counts them.
            assert_eq!(
                ["success", "transient", "abandoned"].map(|verdict| calls(layer, verdict)),
                [2, 6, 1],
                "{layer}"
            );
        }
    });
}

#[test]
fn inner_refusal_is_not_counted_as_a_call() {
    let registry = Registry::new();
    let shed = LoadShedLayer::new(LoadShedConfig::default()).unwrap().named_in(&registry, "inbound").unwrap();
    let limit = RateLimitConfig { permits: 1, per: 60 * SECOND, ..RateLimitConfig::default() };
    let limit = RateLimitLayer::new(limit).unwrap().named_in(&registry, "inbound").unwrap();
    with_recorder(async |snapshotter| {
        let service = ServiceBuilder::new().layer(shed).layer(limit).service(service_fn(callee));
        for _ in 0..3 {
            let _ = service.clone().oneshot(Ask::Answer).await;
        }
        registry.publish();
        let metrics = of("inbound", read(snapshotter));
        assert_eq!(metrics["seawall_call_duration_seconds{layer=load_shed,verdict=success}"], 1.0);
        assert_eq!(metrics["seawall_call_duration_seconds{layer=load_shed,verdict=ignored}"], 2.0);
        assert_eq!(metrics["seawall_rejected_total{layer=rate_limit,reason=rate_limited}"], 2.0);
        assert_eq!(metrics["seawall_rate_limit_passed_total{}"], 1.0);
        assert_eq!(metrics["seawall_rate_limit_per_second{}"], 1.0 / 60.0);
    });
}

/// Callers poll their calls; a call that was never polled has not begun.
#[test]
fn unpolled_call_is_not_counted() {
    let registry = Registry::new();
    let named = "unpolled-call-is-not-counted";
    let retry = RetryLayer::new(RetryConfig::default()).unwrap().named_in(&registry, named).unwrap();
    let bulkhead = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, named).unwrap();
    let breaker =
        CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().named_in(&registry, named).unwrap();
    let shed = LoadShedLayer::new(LoadShedConfig::default()).unwrap().named_in(&registry, named).unwrap();
    with_recorder(async |_| {
        let layers = ServiceBuilder::new().layer(shed).layer(retry).layer(bulkhead).layer(breaker);
        let mut service = layers.service(service_fn(callee));
        drop(service.ready().await.unwrap().call(Ask::Answer));
        for component in registry.snapshot().components {
            assert!(component.calls.is_empty(), "{component:?}");
        }
        let mut polled = Box::pin(service.oneshot(Ask::Hang));
        assert!((&mut polled).now_or_never().is_none());
        drop(polled);
        for component in registry.snapshot().components {
            assert_eq!(component.calls.get("abandoned"), Some(&1), "{component:?}");
        }
    });
}

/// A recorder gets all counts, whether it is installed before or after the layer is made, and so does another recorder
/// that replaces it.
#[test]
fn late_or_replacing_recorder_gets_every_count() {
    let _turn = turn();
    let registry = Registry::new();
    let bulkhead = BulkheadLayer::new(BulkheadConfig::default())
        .unwrap()
        .named_in(&registry, "late-or-replacing-recorder-gets-every-co")
        .unwrap();
    let call = || bulkhead.layer(service_fn(callee)).oneshot(Ask::Answer).now_or_never().unwrap().unwrap();
    // A debugging recorder empties its histograms at each read.
    let told = |recorder: &DebuggingRecorder| {
        metrics::with_local_recorder(recorder, || registry.publish());
        let metric = "seawall_call_duration_seconds{layer=bulkhead,verdict=success}";
        of("late-or-replacing-recorder-gets-every-co", read(&recorder.snapshotter()))
            .get(metric)
            .copied()
            .unwrap_or_default()
    };
    call();
    registry.publish();
    let [first, second] = [DebuggingRecorder::new(), DebuggingRecorder::new()];
    call();
    assert_eq!(told(&first), 2.0, "including calls before it was installed");
    call();
    assert_eq!((told(&first), told(&first)), (1.0, 0.0), "nothing is counted twice");
    assert_eq!(told(&second), 3.0);
}

#[test]
fn metrics_are_published_every_second() {
    let registry = Registry::new();
    with_recorder(async |snapshotter| {
        let layer = CircuitBreakerConfig { consecutive_failures: Some(3), ..CircuitBreakerConfig::default() };
        let layer = CircuitBreakerLayer::new(layer).unwrap().named_in(&registry, "by-itself").unwrap();
        let mut service = layer.layer(service_fn(callee));
        let state = |metrics: &Metrics| metrics.get("seawall_circuit_breaker_state{}").copied();
        sleep(2 * SECOND).await;
        assert_eq!(state(&of("by-itself", read(snapshotter))), Some(0.0));
        for _ in 0..3 {
            let call = pin!(service.ready().await.unwrap().call(Ask::Fail));
            assert!(call.await.is_err());
        }
        sleep(SECOND + SECOND / 10).await;
        let metrics = of("by-itself", read(snapshotter));
        assert_eq!(state(&metrics), Some(2.0));
        assert_eq!(metrics["seawall_circuit_breaker_transitions_total{from=closed,to=open}"], 1.0);
    });
}

#[test]
fn rare_event_counters_start_at_zero() {
    let registry = Registry::new();
    let retry = RetryLayer::new(RetryConfig::default())
        .unwrap()
        .named_in(&registry, "rare-event-counters-start-at-zero")
        .unwrap();
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default())
        .unwrap()
        .named_in(&registry, "rare-event-counters-start-at-zero")
        .unwrap();
    with_recorder(async |snapshotter| {
        registry.publish();
        let metrics = of("rare-event-counters-start-at-zero", read(snapshotter));
        for metric in [
            "seawall_retries_refused_total{why=budget}",
            "seawall_circuit_breaker_transitions_total{from=closed,to=open}",
            "seawall_reloads_total{layer=retry,result=rejected}",
        ] {
            assert_eq!(metrics.get(metric), Some(&0.0), "{metric}");
        }
    });
    drop((retry, breaker));
}

/// A job may be over before the first publication.
#[test]
fn dropped_layer_publishes_its_counts() {
    let registry = Registry::new();
    with_recorder(async |snapshotter| {
        for name in ["short-job", "second-short-job"] {
            let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, name).unwrap();
            for _ in 0..5 {
                layer.layer(service_fn(callee)).oneshot(Ask::Answer).await.unwrap();
            }
        }
        registry.publish();
        let metrics = read(snapshotter);
        for name in ["short-job", "second-short-job"] {
            let calls = of(name, metrics.clone());
            assert_eq!(calls["seawall_call_duration_seconds{layer=bulkhead,verdict=success}"], 5.0, "{name}");
        }
    });
}
