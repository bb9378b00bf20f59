//! Work that outlives its call keeps its permit.

use std::sync::Arc;
use std::time::Duration;

use seawall::bulkhead::{self, BulkheadConfig, BulkheadLayer, WorkPermit};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{MS, gated, sleeper};

fn one() -> BulkheadLayer {
    BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..Default::default() }).unwrap()
}

#[tokio::test]
async fn blocking_work_of_a_cancelled_call_keeps_its_permit() {
    let layer = one();
    let handle = layer.handle();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(Some(gate)));
    let service = layer.layer(service_fn(move |()| {
        let gate = gate.lock().unwrap().take();
        async move {
            let permit = bulkhead::current_permit();
            let work = tokio::task::spawn_blocking(move || {
                gate.map(|gate| gate.recv());
                drop(permit);
            });
            Ok::<_, BoxError>(work.await?)
        }
    }));
    let call = tokio::spawn(service.clone().oneshot(()));
    while handle.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(5 * MS).await;
    call.abort();
    assert!(call.await.is_err());
    assert_eq!(handle.in_flight(), 1, "the work still runs");
    assert!(service.clone().oneshot(()).await.is_err());
    drop(go_on);
    while handle.in_flight() > 0 {
        tokio::time::sleep(MS).await;
    }
    service.oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn permit_is_released_once_call_and_work_have_ended() {
    let layer = one();
    let handle = layer.handle();
    let hold = Arc::new(std::sync::Mutex::new(Vec::<WorkPermit>::new()));
    let holds = Arc::clone(&hold);
    let service = layer.layer(service_fn(move |()| {
        // The permit is available in `call`, before there is a future.
        holds.lock().unwrap().extend(bulkhead::current_permit());
        let holds = Arc::clone(&holds);
        async move {
            tokio::time::sleep(MS).await;
            holds.lock().unwrap().extend(bulkhead::current_permit());
            tokio::time::sleep(MS).await;
            Ok::<_, BoxError>(())
        }
    }));
    let call = tokio::spawn(service.oneshot(()));
    tokio::time::sleep(MS / 2).await;
    hold.lock().unwrap().clear();
    assert_eq!(handle.in_flight(), 1, "the call still runs");
    call.await.unwrap().unwrap();
    assert_eq!(handle.in_flight(), 1, "the work still runs");
    hold.lock().unwrap().clear();
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn work_holds_permits_of_the_gates_around_it_only() {
    assert!(bulkhead::current_permit().is_none());
    let shed = LoadShedLayer::new(LoadShedConfig::default()).unwrap();
    let (inner, outer) = (one(), shed.handle());
    let handle = inner.handle();
    let service = shed.layer(inner.layer(service_fn(|()| async { Ok::<_, BoxError>(bulkhead::current_permit()) })));
    let permit = service.oneshot(()).await.unwrap();
    assert_eq!((handle.in_flight(), outer.in_flight()), (1, 1));
    assert!(format!("{permit:?}").contains("LoadShed"), "{permit:?}");
    drop(permit);
    assert_eq!((handle.in_flight(), outer.in_flight()), (0, 0));
    // The scope does not leak into the next future that this task polls.
    for (_, gate) in gated(1, &sleeper()) {
        gate.oneshot(Duration::ZERO).await.unwrap();
    }
    assert!(bulkhead::current_permit().is_none());
}

#[tokio::test(start_paused = true)]
async fn work_of_a_panicked_call_keeps_its_permit() {
    let layer = one();
    let handle = layer.handle();
    let held = Arc::new(std::sync::Mutex::new(None));
    let holds = Arc::clone(&held);
    let service = layer.layer(service_fn(move |()| {
        let holds = Arc::clone(&holds);
        async move {
            *holds.lock().unwrap() = bulkhead::current_permit();
            let never: Arc<Semaphore> = Arc::new(Semaphore::new(0));
            assert_eq!(never.available_permits(), 1, "a fault");
            Ok::<_, BoxError>(())
        }
    }));
    assert!(tokio::spawn(service.oneshot(())).await.unwrap_err().is_panic());
    assert_eq!(handle.in_flight(), 1);
    held.lock().unwrap().take();
    assert_eq!(handle.in_flight(), 0);
}
