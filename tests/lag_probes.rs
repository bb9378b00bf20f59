//! The tasks of the probes that measure runtime lag. All tasks of the runtime are counted, so nothing else runs in this process.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::time::Duration;

use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::runtime::{Builder, Handle};
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn on() -> LoadShedConfig {
    LoadShedConfig { max_lag: Some(SECOND / 20), ..Default::default() }
}

fn off() -> LoadShedConfig {
    LoadShedConfig { max_lag: None, ..on() }
}

async fn answer(_: ()) -> Result<(), BoxError> {
    Ok(())
}

/// The tasks of the current runtime. A reload may start the one that publishes metrics, which ends soon.
async fn tasks() -> usize {
    sleep(5 * SECOND).await;
    Handle::current().metrics().num_alive_tasks()
}

async fn tasks_after_a_call(layer: &LoadShedLayer) -> usize {
    layer.layer(service_fn(answer)).oneshot(()).await.unwrap();
    tasks().await
}

#[test]
fn probe_runs_only_while_the_option_is_on_and_the_layer_exists() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let layer = LoadShedLayer::new(off()).unwrap();
        assert_eq!(tasks_after_a_call(&layer).await, 0, "off");
        layer.reload(&on()).unwrap();
        assert_eq!(tasks().await, 0, "it starts with a call");
        for _ in 0..3 {
            assert_eq!(tasks_after_a_call(&layer).await, 1, "one for all calls");
        }
        layer.reload(&off()).unwrap();
        assert_eq!(tasks_after_a_call(&layer).await, 0, "off again");
        layer.reload(&on()).unwrap();
        layer.reload(&off()).unwrap();
        layer.reload(&on()).unwrap();
        assert_eq!(tasks_after_a_call(&layer).await, 1);
        layer.reload(&LoadShedConfig { enabled: false, ..on() }).unwrap();
        assert_eq!(tasks_after_a_call(&layer).await, 0, "a layer that is disabled measures nothing");
        layer.reload(&on()).unwrap();
        let service = layer.layer(service_fn(answer));
        assert_eq!(tasks_after_a_call(&layer).await, 1);
        drop(layer);
        assert_eq!(tasks().await, 1, "a service holds the layer's state");
        drop(service);
        assert_eq!(tasks().await, 0);
    });
}
