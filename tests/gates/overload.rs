//! A protection is never worse than none: a small overloaded server, called by a bare client and through a bulkhead.

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::sleep;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt};

use crate::{MS, Sleeper, sleeper};

/// The share of the server's capacity that is answered in time, at `load` times that capacity.
async fn goodput(load: f64, client: impl Fn(Sleeper) -> Sleeper) -> f64 {
    const SLOTS: u32 = 10;
    const WORK: Duration = Duration::from_millis(50);
    let mut random = fastrand::Rng::with_seed(11);
    let mut exponential = move || -(1.0 - random.f64()).ln();
    let shed = LoadShedLayer::new(LoadShedConfig { max_in_flight: SLOTS, ..Default::default() }).unwrap();
    let server = BoxCloneService::new(shed.layer(sleeper()));
    let client = DeadlineLayer::new(500 * MS).unwrap().layer(client(server));
    let (mut calls, gap) = (Vec::new(), WORK.div_f64(load * f64::from(SLOTS)));
    let count = (8.0 / gap.as_secs_f64()) as usize;
    for _ in 0..count {
        calls.push(tokio::spawn(client.clone().oneshot(WORK.mul_f64(exponential()))));
        sleep(gap.mul_f64(exponential())).await;
    }
    let mut good = 0;
    for call in calls {
        good += u32::from(call.await.unwrap().is_ok());
    }
    f64::from(good) / count as f64 * load
}

#[tokio::test(start_paused = true)]
async fn bulkhead_before_an_overloaded_server_does_no_harm() {
    for load in [0.8, 2.0] {
        let bare = goodput(load, |server| server).await;
        for permits in [8, 16, 64] {
            let bulkhead = || {
                let config = BulkheadConfig { max_concurrent: permits, ..Default::default() };
                BulkheadLayer::new(config).unwrap()
            };
            let behind = goodput(load, |server| BoxCloneService::new(bulkhead().layer(server))).await;
            // With fewer permits than the server has slots, the permits are the usable capacity.
            let most = bare.min(f64::from(permits) / 10.0);
            assert!(behind > 0.9 * most, "load {load}, {permits} permits: {behind} with a bulkhead, {bare} without");
        }
    }
}
