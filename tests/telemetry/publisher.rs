//! What is counted reaches the recorder: once, soon, and whatever becomes of layers and runtimes.

use std::time::Duration;

use futures::FutureExt;
use metrics_util::debugging::DebuggingRecorder;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::registry::Registry;
use tokio::runtime::Builder;
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::recorded::{Metrics, read, turn, with_recorder};

const SECOND: Duration = Duration::from_secs(1);

async fn callee(_: ()) -> Result<(), BoxError> {
    Ok(())
}

fn bulkhead(registry: &Registry, name: &str) -> BulkheadLayer {
    BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(registry, name).unwrap()
}

fn call(layer: &BulkheadLayer) {
    layer.layer(service_fn(callee)).oneshot(()).now_or_never().expect("it does not wait").unwrap();
}

fn calls(metrics: &Metrics, name: &str) -> f64 {
    let metric = format!("seawall_call_duration_seconds{{name={name},layer=bulkhead,verdict=success}}");
    metrics.get(&metric).copied().unwrap_or_default()
}

#[test]
fn who_takes_over_a_name_has_gauges_of_his_own() {
    let registry = Registry::new();
    with_recorder(async |snapshotter| {
        let before = bulkhead(&registry, "handed-on");
        registry.publish();
        drop(before);
        let _after = bulkhead(&registry, "handed-on");
        registry.publish();
        assert_eq!(read(snapshotter)["seawall_limit{name=handed-on,layer=bulkhead}"], 64.0);
    });
}

#[test]
fn what_a_layer_counted_last_is_told_when_it_is_gone() {
    let registry = Registry::new();
    with_recorder(async |snapshotter| {
        let layer = bulkhead(&registry, "goes");
        registry.publish();
        call(&layer);
        let mut late = Box::pin(layer.layer(service_fn(|()| sleep(SECOND).map(Ok::<_, BoxError>))).oneshot(()));
        assert!((&mut late).now_or_never().is_none());
        drop(layer);
        registry.publish();
        assert_eq!(calls(&read(snapshotter), "goes"), 1.0);
        late.await.unwrap();
        registry.publish();
        registry.publish();
        assert_eq!(calls(&read(snapshotter), "goes"), 1.0, "and a call that ended after that, once");
    });
}

#[test]
fn a_registry_that_is_made_by_default_is_published_too() {
    let registry = Registry::default();
    with_recorder(async |snapshotter| {
        let layer = bulkhead(&registry, "by-default");
        call(&layer);
        sleep(2 * SECOND).await;
        assert_eq!(calls(&read(snapshotter), "by-default"), 1.0);
    });
}

/// Programs without asynchronous code of their own make a call now and then in a runtime that rests in between.
#[test]
fn a_runtime_that_rests_keeps_nobody_from_publishing_in_another() {
    let _turn = turn();
    let registry = Registry::new();
    let layer = bulkhead(&registry, "elsewhere");
    let resting = Builder::new_current_thread().enable_time().build().unwrap();
    resting.block_on(async { call(&layer) });
    let recorder = DebuggingRecorder::new();
    let awake = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        awake.block_on(async {
            sleep(10 * SECOND).await;
            call(&layer);
            sleep(2 * SECOND).await;
        });
    });
    assert_eq!(calls(&read(&recorder.snapshotter()), "elsewhere"), 2.0);
}

#[cfg(feature = "http")]
#[test]
fn what_no_layer_with_a_name_tells_is_told_within_a_second_too() {
    use http_body_util::Empty;
    use seawall::http::respond::RespondLayer;

    with_recorder(async |snapshotter| {
        let failing = service_fn(|()| async { Err::<http::Response<Empty<bytes::Bytes>>, BoxError>("secret".into()) });
        assert_eq!(RespondLayer::new().layer(failing).oneshot(()).await.unwrap().status(), 500);
        sleep(2 * SECOND).await;
        assert!(read(snapshotter).get("seawall_internal_errors_total{}").is_some_and(|count| *count >= 1.0));
    });
}
