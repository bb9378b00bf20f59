//! Every count reaches the recorder once and soon, whatever happens to layers and runtimes.

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
    layer.layer(service_fn(callee)).oneshot(()).now_or_never().expect("the call does not wait").unwrap();
}

fn calls(metrics: &Metrics, name: &str) -> f64 {
    let metric = format!("seawall_call_duration_seconds{{name={name},layer=bulkhead,verdict=success}}");
    metrics.get(&metric).copied().unwrap_or_default()
}

#[test]
fn layer_that_reuses_a_name_has_its_own_gauges() {
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
fn last_counts_of_a_dropped_layer_are_published() {
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
        assert_eq!(calls(&read(snapshotter), "goes"), 1.0, "a call that ended after the drop is counted once");
    });
}

#[test]
fn default_registry_is_published() {
    let registry = Registry::default();
    with_recorder(async |snapshotter| {
        let layer = bulkhead(&registry, "by-default");
        call(&layer);
        sleep(2 * SECOND).await;
        assert_eq!(calls(&read(snapshotter), "by-default"), 1.0);
    });
}

/// Programs that are mostly synchronous call now and then in a runtime that is not driven in between.
#[test]
fn idle_runtime_does_not_stop_publishing_in_another() {
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
fn unnamed_counts_are_published_within_a_second() {
    use http_body_util::Empty;
    use seawall::http::respond::RespondLayer;

    with_recorder(async |snapshotter| {
        let failing = service_fn(|()| async { Err::<http::Response<Empty<bytes::Bytes>>, BoxError>("secret".into()) });
        assert_eq!(RespondLayer::new().layer(failing).oneshot(()).await.unwrap().status(), 500);
        sleep(2 * SECOND).await;
        assert!(read(snapshotter).get("seawall_internal_errors_total{}").is_some_and(|count| *count >= 1.0));
    });
}
