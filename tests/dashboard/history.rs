//! The history of the last minute, in virtual time.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::dashboard::Dashboard;
use seawall::registry::Registry;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{ask, payments, payments_in};

const SECOND: Duration = Duration::from_secs(1);

/// The last minute of the component with this layer.
async fn last_minute(dashboard: &Dashboard, layer: &str) -> Value {
    let (_, body) = ask(dashboard, Request::get("/live").body(Full::default()).unwrap()).await;
    let live: Value = serde_json::from_slice(&body).unwrap();
    let components = live["components"].as_array().unwrap();
    components.iter().find(|component| component["layer"] == layer).map_or(Value::Null, |c| c["last_minute"].clone())
}

#[tokio::test(start_paused = true)]
async fn history_keeps_one_minute() {
    let (dashboard, _payments) = payments();
    let seconds = async || last_minute(&dashboard, "circuit_breaker").await["state"].as_array().map_or(0, Vec::len);
    assert_eq!(seconds().await, 0);
    sleep(Duration::from_millis(10_500)).await;
    assert!((10..=11).contains(&seconds().await));
    sleep(500 * SECOND).await;
    assert_eq!(seconds().await, 60);
}

#[tokio::test(start_paused = true)]
async fn calls_become_rates_and_latencies() {
    let registry = Registry::new();
    let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, "payments").unwrap();
    let dashboard = Dashboard::new(registry);
    let service = layer.layer(service_fn(|took: Duration| async move {
        sleep(took).await;
        if took < SECOND { Ok::<_, BoxError>(()) } else { Err("down".into()) }
    }));
    // In the middle of a second.
    sleep(SECOND / 2).await;
    for _ in 0..3 {
        service.clone().oneshot(Duration::from_millis(10)).await.unwrap();
    }
    sleep(SECOND).await;
    service.clone().oneshot(SECOND).await.unwrap_err();
    sleep(SECOND).await;
    let minute = last_minute(&dashboard, "bulkhead").await;
    assert_eq!(minute["good"], json!([3, 0, 0]));
    assert_eq!(minute["failed"], json!([0, 0, 1]));
    assert_eq!(minute["refused"], json!([0, 0, 0]));
    assert_eq!(minute["in_flight"], json!([0, 1, 0]));
    let p99 = minute["p99_s"].as_array().unwrap();
    assert!((p99[0].as_f64().unwrap() - 0.01).abs() < 0.001, "{p99:?}");
    assert_eq!(p99[1..], [Value::Null, Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn removed_and_recreated_components_are_shown() {
    let registry = Registry::new();
    let dashboard = Dashboard::new(registry.clone());
    sleep(5 * SECOND + SECOND / 2).await;
    let payments = payments_in(&registry);
    sleep(3 * SECOND).await;
    let seconds = async || last_minute(&dashboard, "circuit_breaker").await["state"].as_array().map_or(0, Vec::len);
    assert_eq!(seconds().await, 3);
    drop(payments);
    // The data is rebuilt once a second.
    sleep(SECOND).await;
    assert_eq!(last_minute(&dashboard, "circuit_breaker").await, Value::Null);
    // Removed and recreated between two samples.
    let payments = payments_in(&registry);
    sleep(SECOND).await;
    assert_eq!(seconds().await, 1, "a new component of the same name");
    drop(payments);
    sleep(2 * SECOND).await;
    let _payments = payments_in(&registry);
    assert_eq!(seconds().await, 0);
}

#[test]
fn history_made_outside_a_runtime_starts_on_first_request() {
    let dashboard = Dashboard::new(Registry::new());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // And again in a second runtime, after the first one has ended.
    for _ in 0..2 {
        let runtime = runtime();
        runtime.block_on(async {
            assert_eq!(runtime.metrics().num_alive_tasks(), 0);
            ask(&dashboard, Request::get("/live").body(Full::default()).unwrap()).await;
            assert_eq!(runtime.metrics().num_alive_tasks(), 1);
            ask(&dashboard, Request::get("/live").body(Full::default()).unwrap()).await;
            assert_eq!(runtime.metrics().num_alive_tasks(), 1, "one task for all clones");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn history_task_ends_with_the_last_clone() {
    let metrics = Handle::current().metrics();
    let dashboard = Dashboard::new(Registry::new());
    let clone = dashboard.clone().with_controls(|_| true);
    drop(dashboard);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(clone);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
