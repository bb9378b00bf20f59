//! The decisions of a layer are counted, with its name, the layer and the reason.
use std::time::Duration;

use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::fallback::{self, Failure, FallbackConfig, FallbackLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use seawall::verdict::{self, Verdict};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::recorded::{Metrics, read, with_recorder};

/// Every counter of layers with this name, as `name{label=value,…} count`, after `calls` have run.
fn counted_of(name: &str, calls: impl Future<Output = ()>) -> Vec<String> {
    let label = format!("name={name}");
    let counted = counted(calls).into_iter().filter(|(metric, count)| metric.contains(&label) && *count > 0.0);
    let counters = counted.filter(|(metric, _)| metric.contains("_total"));
    let without_name = |metric: String| metric.replace(&format!("{label},"), "").replace(&label, "");
    counters.map(|(metric, count)| format!("{} {count}", without_name(metric))).collect()
}

fn counted(calls: impl Future<Output = ()>) -> Metrics {
    with_recorder(async |snapshotter| {
        calls.await;
        Registry::global().publish();
        read(snapshotter)
    })
}

#[test]
fn refusals_are_counted_by_layer_and_reason() {
    let limit = RateLimitConfig { permits: 1, per: Duration::from_secs(60), ..RateLimitConfig::default() };
    let limit = RateLimitLayer::new(limit).unwrap().named("refusals").unwrap();
    let deadline = DeadlineLayer::new(Duration::from_secs(1)).unwrap().named("refusals").unwrap();
    let lines = counted_of("refusals", async {
        let limited = limit.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        for _ in 0..4 {
            let _ = limited.clone().oneshot(()).await;
        }
        let endless = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
        let _ = deadline.layer(endless).oneshot(()).await;
    });
    assert_eq!(
        lines,
        [
            "seawall_rate_limit_passed_total{} 1",
            "seawall_rejected_total{layer=deadline,reason=deadline_exceeded} 1",
            "seawall_rejected_total{layer=rate_limit,reason=rate_limited} 3",
        ]
    );
}

#[test]
fn retries_and_transitions_are_counted() {
    let retry = RetryLayer::new(RetryConfig::default()).unwrap().named("retries").unwrap();
    let breaker = CircuitBreakerConfig { minimum_calls: 3, ..Default::default() };
    let breaker = CircuitBreakerLayer::new(breaker).unwrap().named("retries").unwrap();
    let lines = counted_of("retries", async {
        let failing = service_fn(|()| async { Err::<(), BoxError>("down".into()) });
        let _ = retry.layer(failing).oneshot(()).await;
        for _ in 0..3 {
            let _ = breaker.layer(failing).oneshot(()).await;
        }
    });
    assert_eq!(
        lines,
        [
            "seawall_circuit_breaker_transitions_total{from=closed,to=open} 1",
            "seawall_retries_refused_total{why=attempts} 1",
            "seawall_retries_total{cause=transient} 2",
        ]
    );
}

#[test]
fn quarantines_are_counted_and_their_refusals() {
    let lost = verdict::from_fn(|_: Result<&(), &BoxError>| Verdict::Lost);
    let layer = QuarantineLayer::new(QuarantineConfig::default(), |(): &()| "reports").unwrap();
    let layer = layer.with_classifier(lost).named("quarantine").unwrap();
    let balance = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(lost);
    let balance = balance.with_endpoints((0..4).map(|number| Endpoint::new(number.to_string()))).unwrap();
    let service = layer.layer(balance.service(|_| service_fn(|()| async { Ok::<_, BoxError>(()) })));
    let lines = counted_of("quarantine", async { while service.clone().oneshot(()).await.is_ok() {} });
    assert_eq!(
        lines,
        ["seawall_quarantines_total{} 1", "seawall_rejected_total{layer=quarantine,reason=quarantined} 1"]
    );
}

#[test]
fn throttled_calls_are_counted_and_the_share_is_shown() {
    let overloaded = verdict::from_fn(|_: Result<&(), &BoxError>| Verdict::Overloaded { retry_after: None });
    let layer =
        ThrottleLayer::new(ThrottleConfig::default()).unwrap().with_classifier(overloaded).named("overload").unwrap();
    let service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let metrics = counted(async {
        for _ in 0..1000 {
            let _ = service.clone().oneshot(()).await;
        }
    });
    assert_eq!(metrics["seawall_throttle_share{name=overload}"], 0.9);
    let refused = metrics["seawall_rejected_total{name=overload,layer=throttle,reason=throttled}"];
    assert!((800.0..1000.0).contains(&refused), "{refused}");
}

#[test]
fn fallbacks_are_counted_by_cause() {
    let limit = RateLimitConfig { permits: 1, per: Duration::from_secs(60), ..RateLimitConfig::default() };
    let limit = RateLimitLayer::new(limit).unwrap();
    let answers = fallback::from_fn(|failure: &Failure<()>| (failure.cause() != "hold_exceeded").then_some(()));
    let answers = FallbackLayer::new(FallbackConfig::default(), answers).unwrap().named("fallbacks").unwrap();
    let fails = fallback::service(service_fn(|()| async { Err::<(), BoxError>("also down".into()) }));
    let fails = FallbackLayer::new(FallbackConfig::default(), fails).unwrap().named("failing fallbacks").unwrap();
    let failing = service_fn(|()| async { Err::<(), BoxError>("down".into()) });
    let lines = counted_of("fallbacks", async {
        for _ in 0..3 {
            let _ = answers.layer(failing).oneshot(()).await;
        }
        let limited = answers.layer(limit.layer(failing));
        for _ in 0..2 {
            let _ = limited.clone().oneshot(()).await;
        }
        let bounded = RateLimitConfig { max_hold: Duration::from_secs(1), ..RateLimitConfig::default() };
        let hangs = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
        let _ = answers.layer(RateLimitLayer::new(bounded).unwrap().layer(hangs)).oneshot(()).await;
    });
    assert_eq!(
        lines,
        [
            "seawall_fallbacks_total{cause=ignored,reason=rate_limited} 1",
            "seawall_fallbacks_total{cause=transient} 4",
            "seawall_fallbacks_unanswered_total{why=declined} 1"
        ]
    );
    let lines = counted_of("failing fallbacks", async {
        let _ = fails.layer(failing).oneshot(()).await;
    });
    assert_eq!(lines, ["seawall_fallbacks_unanswered_total{why=failed} 1"]);
}

#[test]
fn injected_faults_are_counted_apart() {
    let refuse = ChaosRule::new(ChaosFault::Refuse { retry_after: None });
    let config = ChaosConfig { enabled: true, rules: vec![refuse], ..ChaosConfig::default() };
    let chaos = ChaosLayer::new(config).unwrap().named("injected").unwrap();
    let lines = counted_of("injected", async {
        for _ in 0..3 {
            let _ = chaos.layer(service_fn(|()| async { Ok::<_, BoxError>(()) })).oneshot(()).await;
        }
        let hang = vec![ChaosRule::new(ChaosFault::Hang)];
        chaos.reload(&ChaosConfig { rules: hang, max_active: 1, ..chaos.config() }).unwrap();
        let service = chaos.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        let hangs = tokio::spawn(service.clone().oneshot(()));
        tokio::task::yield_now().await;
        service.oneshot(()).await.unwrap();
        hangs.abort();
    });
    assert_eq!(
        lines,
        [
            "seawall_chaos_injected_total{fault=hang} 1",
            "seawall_chaos_injected_total{fault=refuse} 3",
            "seawall_chaos_spared_total{} 1",
            "seawall_rejected_total{layer=chaos,reason=injected} 3",
            "seawall_reloads_total{layer=chaos,result=applied} 1",
        ]
    );
}

/// Only names distinguish layers: unnamed layers share their counters.
#[test]
fn unnamed_layers_share_their_counters() {
    let refused = |metrics: Metrics| {
        let is_of_load_shed = |metric: &str| metric.starts_with("seawall_rejected_total{name=unnamed,layer=load_shed");
        metrics.iter().filter(|(metric, _)| is_of_load_shed(metric)).map(|(_, count)| *count as u32).sum::<u32>()
    };
    let before = refused(counted(async {}));
    let lines = counted(async {
        for _ in 0..2 {
            let config = LoadShedConfig { max_in_flight: 1, queue_ratio: 0.0, ..LoadShedConfig::default() };
            let layer = LoadShedLayer::new(config).unwrap();
            let endless = layer.layer(service_fn(|()| std::future::pending::<Result<(), BoxError>>()));
            let calls = (0..3).map(|_| endless.clone().oneshot(()));
            let _ = tokio::time::timeout(Duration::from_secs(1), futures::future::join_all(calls)).await;
        }
    });
    assert_eq!(refused(lines) - before, 2, "one in flight, one queued, one refused");
}

#[cfg(feature = "http")]
#[test]
fn internal_error_responses_are_counted() {
    use http_body_util::Empty;
    use seawall::http::respond::RespondLayer;

    let internal = |metrics: &Metrics| metrics["seawall_internal_errors_total{}"] as u32;
    let before = internal(&counted(async {}));
    let lines = counted(async {
        let failing = service_fn(|()| async { Err::<http::Response<Empty<bytes::Bytes>>, BoxError>("secret".into()) });
        assert_eq!(RespondLayer::new().layer(failing).oneshot(()).await.unwrap().status(), 500);
        #[cfg(feature = "grpc")]
        assert_eq!(RespondLayer::grpc().layer(failing).oneshot(()).await.unwrap().headers()["grpc-status"], "13");
    });
    assert_eq!(internal(&lines) - before, if cfg!(feature = "grpc") { 2 } else { 1 });
}
