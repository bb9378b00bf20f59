//! What a layer decides is counted, with the layer and the reason.
#![cfg(feature = "metrics")]

use std::time::Duration;

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use tower::{BoxError, Layer, ServiceExt, service_fn};

/// Every counter, as `name{label=value,…} count`, after `calls` have run.
fn counted(calls: impl Future<Output = ()>) -> Vec<String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(calls));
    let mut lines: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.kind() == MetricKind::Counter)
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let DebugValue::Counter(count) = value else { unreachable!("a counter counts") };
            format!("{}{{{}}} {count}", key.key().name(), labels.join(","))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn refusals_are_counted_by_layer_and_reason() {
    let lines = counted(async {
        let limit = RateLimitConfig { permits: 1, per: Duration::from_secs(60), ..RateLimitConfig::default() };
        let limited = RateLimitLayer::new(limit).unwrap().layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        for _ in 0..4 {
            let _ = limited.clone().oneshot(()).await;
        }
        let endless = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
        let _ = DeadlineLayer::new(Duration::from_secs(1)).unwrap().layer(endless).oneshot(()).await;
    });
    assert_eq!(
        lines,
        [
            "seawall_rejected_total{layer=deadline,reason=deadline_exceeded} 1",
            "seawall_rejected_total{layer=rate_limit,reason=rate_limited} 3",
        ]
    );
}

#[test]
fn retries_and_transitions_are_counted() {
    let lines = counted(async {
        let failing = service_fn(|()| async { Err::<(), BoxError>("down".into()) });
        let _ = RetryLayer::new(RetryConfig::default()).unwrap().layer(failing).oneshot(()).await;
        let breaker =
            CircuitBreakerLayer::new(CircuitBreakerConfig { minimum_calls: 3, ..Default::default() }).unwrap();
        for _ in 0..3 {
            let _ = breaker.layer(failing).oneshot(()).await;
        }
    });
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(has("seawall_retries_total{cause=transient} 2"), "{lines:?}");
    assert!(has("seawall_retries_refused_total{why=attempts} 1"), "{lines:?}");
    assert!(has("seawall_circuit_breaker_transitions_total{from=closed,to=open} 1"), "{lines:?}");
}

#[cfg(feature = "http")]
#[test]
fn an_answer_that_does_not_tell_its_cause_is_counted() {
    use http_body_util::Empty;
    use seawall::http::respond::RespondLayer;

    let lines = counted(async {
        let failing = service_fn(|()| async { Err::<http::Response<Empty<bytes::Bytes>>, BoxError>("secret".into()) });
        assert_eq!(RespondLayer::new().layer(failing).oneshot(()).await.unwrap().status(), 500);
    });
    assert_eq!(lines, ["seawall_internal_errors_total{} 1"]);
}

#[cfg(feature = "grpc")]
#[test]
fn a_grpc_answer_that_does_not_tell_its_cause_is_counted_too() {
    use http_body_util::Empty;
    use seawall::http::respond::RespondLayer;

    let lines = counted(async {
        let failing = service_fn(|()| async { Err::<http::Response<Empty<bytes::Bytes>>, BoxError>("secret".into()) });
        assert_eq!(RespondLayer::grpc().layer(failing).oneshot(()).await.unwrap().headers()["grpc-status"], "13");
    });
    assert_eq!(lines, ["seawall_internal_errors_total{} 1"]);
}
