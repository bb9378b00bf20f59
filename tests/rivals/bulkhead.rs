use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::error::{Reason, rejection};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::{MILLISECOND, SECOND};

fn bulkhead(config: BulkheadConfig) -> BulkheadLayer {
    BulkheadLayer::new(config).unwrap()
}

#[tokio::test(start_paused = true)]
async fn thousand_idle_clones_hold_no_permit() {
    let layer = bulkhead(BulkheadConfig { max_concurrent: 2, max_waiting: 0, ..Default::default() });
    let service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let mut idle = vec![service.clone(); 1000];
    for clone in &mut idle {
        clone.ready().await.unwrap();
    }
    assert_eq!(layer.handle().in_flight(), 0);
    for _ in 0..1000 {
        service.clone().oneshot(()).await.unwrap();
    }
    for clone in &mut idle {
        clone.call(()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn default_wait_and_queue_are_bounded() {
    let layer = bulkhead(BulkheadConfig::default());
    let service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    let calls: Vec<_> = (0..10_000).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    sleep(MILLISECOND).await;
    let handle = layer.handle();
    assert!(handle.waiting() <= 1024, "{}", handle.waiting());
    for call in calls {
        assert!(rejection(&call.await.unwrap().unwrap_err()).is_some());
    }
    assert!(start.elapsed() <= 70 * SECOND, "{:?}", start.elapsed());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn gauges_fall_when_calls_are_cancelled() {
    let layer = bulkhead(BulkheadConfig { max_concurrent: 10, ..Default::default() });
    let service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let handle = layer.handle();
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    tokio::task::yield_now().await;
    assert_eq!((handle.in_flight(), handle.waiting()), (10, 10));
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_routes_share_one_limit() {
    let layer = bulkhead(BulkheadConfig { max_concurrent: 5, max_waiting: 0, ..Default::default() });
    let calls = (0..10).map(|_route| {
        let route = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
        timeout(SECOND, route.oneshot(()))
    });
    let refused = join_all(calls).await.into_iter().flatten().filter(|answer| {
        let rejected = answer.as_ref().err().and_then(rejection);
        rejected.is_some_and(|rejected| rejected.reason() == Reason::QueueFull)
    });
    assert_eq!(refused.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_stay_within_the_limit() {
    const LIMIT: usize = 3;
    let layer = bulkhead(BulkheadConfig { max_concurrent: LIMIT as u32, max_wait: 600 * SECOND, ..Default::default() });
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let service = layer.layer(service_fn({
        let most = Arc::clone(&most);
        move |()| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(())
            }
        }
    }));
    let callers = (0..16).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            for _ in 0..500 {
                service.clone().oneshot(()).await.unwrap();
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (0, 0));
}
