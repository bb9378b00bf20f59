//! All permits are held by calls that hang for a moment. No sample can come meanwhile, so nothing new is known when they end.

use seawall::deadline::DeadlineLayer;
use tower::ServiceExt;

use super::*;

/// How one call of [`short_hang`] ends that hangs.
#[derive(Clone, Copy, Debug)]
enum Hang {
    /// Its deadline cuts it.
    Cut,
    /// It succeeds in the end.
    Late,
    /// It fails in the end.
    Failed,
}

/// Takes 5 ms, or hangs.
fn stubborn() -> BoxCloneService<Option<Hang>, (), BoxError> {
    BoxCloneService::new(service_fn(|hang: Option<Hang>| async move {
        match hang {
            None => sleep(5 * MS).await,
            Some(Hang::Cut) => std::future::pending().await,
            Some(Hang::Late) => sleep(1900 * MS).await,
            Some(Hang::Failed) => {
                sleep(1900 * MS).await;
                return Err("failed".into());
            }
        }
        Ok(())
    }))
}

/// Returns how many quick calls of 200 a second failed, of which `before` began before the others hung.
async fn short_hang(
    service: BoxCloneService<Option<Hang>, (), BoxError>,
    permits: u32,
    before: usize,
    hang: Hang,
) -> usize {
    let service = BoxCloneService::new(DeadlineLayer::new(2 * SECOND).unwrap().layer(service));
    let mut calls = Vec::new();
    for n in 0..before + 600 {
        if n == before {
            for _ in 0..permits {
                tokio::spawn(service.clone().oneshot(Some(hang)));
            }
        }
        calls.push(tokio::spawn(service.clone().oneshot(None)));
        sleep(5 * MS).await;
    }
    let mut failed = 0;
    for call in calls {
        failed += usize::from(call.await.unwrap().is_err());
    }
    failed
}

async fn failed_behind_a_hang(permits: u32, before: usize, hang: Hang) -> usize {
    let bulkhead = BulkheadConfig { max_concurrent: permits, max_waiting: 1000, ..Default::default() };
    let shed = LoadShedConfig { max_in_flight: permits, queue_ratio: 250.0, ..Default::default() };
    let bulkhead = BulkheadLayer::new(bulkhead).unwrap().layer(stubborn());
    let shed = LoadShedLayer::new(shed).unwrap().layer(stubborn());
    let failed = short_hang(BoxCloneService::new(bulkhead), permits, before, hang).await;

    failed.max(short_hang(BoxCloneService::new(shed), permits, before, hang).await)
}

const HANGS: [Hang; 3] = [Hang::Cut, Hang::Late, Hang::Failed];

/// The first calls in the queue have no time left. The others have: the queue is served at least four times as fast as it grew.
#[tokio::test(start_paused = true)]
async fn queue_behind_a_short_hang_is_served() {
    for hang in HANGS {
        for permits in [4, 16] {
            let failed = failed_behind_a_hang(permits, 400, hang).await;
            assert!(failed <= 8, "{permits}, {hang:?}: {failed} of 400 failed");
        }
    }
}

/// The calls that hang are the first ever, so that nothing else is known.
#[tokio::test(start_paused = true)]
async fn queue_behind_a_hang_at_the_start_is_served() {
    for hang in HANGS {
        for permits in [4, 16] {
            let failed = failed_behind_a_hang(permits, 0, hang).await;
            assert!(failed <= 100, "{permits}, {hang:?}: {failed} of 400 failed");
        }
    }
}
