//! Active checks of the endpoints of a balancer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seawall::balance::{BalanceConfig, BalanceLayer, CheckConfig, Endpoint};
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::registry::Registry;
use tower::{BoxError, ServiceExt, service_fn};

use crate::events::logged;
use crate::recorded::{read, with_recorder};

/// The breaker of the one endpoint opens. The first check fails, and the second passes. A publisher publishes the counts of a name for the whole
/// process, so that each test has a name of its own.
async fn endpoint_is_checked(registry: &Registry, name: &str) {
    let circuit_breaker = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        break_duration: Duration::from_secs(30),
        ..Default::default()
    };
    let layer = BalanceLayer::new(BalanceConfig { circuit_breaker, ..Default::default() }).unwrap();
    let layer = layer.named_in(registry, name).unwrap().with_endpoints([Endpoint::new("a\nb")]).unwrap();
    let service = layer.service(|_| service_fn(|()| async { Err::<(), BoxError>("down".into()) }));
    service.oneshot(()).await.unwrap_err();
    let config = CheckConfig { interval: Duration::from_secs(2), jitter: 0.0, ..Default::default() };
    let checks = Arc::new(AtomicUsize::new(0));
    let check = move |_: &Endpoint| {
        let is_first = checks.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if is_first { Err("not\nyet".into()) } else { Ok(()) } }
    };
    layer.handle().check(config, check).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
}

#[test]
fn active_checks_are_logged_with_their_results() {
    let events = logged(endpoint_is_checked(&Registry::new(), "orders"));
    let events: Vec<_> = events.iter().filter(|event| event["message"].starts_with("endpoint")).collect();
    let fields = events.iter().map(|event| ["message", "level", "name", "endpoint"].map(|field| &*event[field]));
    let expected = [["endpoint check failed", "DEBUG"], ["endpoint check passed", "INFO"]];
    assert_eq!(fields.collect::<Vec<_>>(), expected.map(|[message, level]| [message, level, "orders", "a\\nb"]));
    assert_eq!((&*events[0]["error"], &*events[1]["back"]), ("not\\nyet", "true"));
}

#[test]
fn active_checks_are_counted_by_result() {
    let registry = Registry::new();
    let counts = with_recorder(async |snapshotter| {
        endpoint_is_checked(&registry, "counted").await;
        registry.publish();
        read(snapshotter)
    });
    for result in ["passed", "failed"] {
        assert_eq!(counts[&format!("seawall_endpoint_checks_total{{name=counted,result={result}}}")], 1.0);
    }
}
