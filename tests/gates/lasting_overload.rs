//! More calls than are served, for long. And what looks like it and is none: calls that wait all the time and are all served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use seawall::deadline::DeadlineLayer;
use tokio::time::Instant;
use tower::ServiceExt;

use super::*;

/// Ten permits, which serve 500 calls of 20 ms a second. Calls have a second.
fn service() -> Sleeper {
    let bulkhead = BulkheadConfig { max_concurrent: 10, ..Default::default() };
    let bulkhead = BulkheadLayer::new(bulkhead).unwrap().layer(sleeper());
    BoxCloneService::new(DeadlineLayer::new(SECOND).unwrap().layer(bulkhead))
}

/// Twice as many calls as are served, for so many seconds. Returns when each of those that were served began, and how long it took.
async fn overload(service: &Sleeper, seconds: u32) -> Vec<(Duration, Duration)> {
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..1000 * seconds {
        let service = service.clone();
        calls.push(tokio::spawn(async move {
            let began = Instant::now();
            let served = service.oneshot(20 * MS).await.is_ok();
            served.then(|| (began - start, began.elapsed()))
        }));
        sleep(MS).await;
    }
    let mut served = Vec::new();
    for call in calls {
        served.extend(call.await.unwrap());
    }
    served
}

/// Workers that each make the next call when the last one has ended.
struct Workers {
    served: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Workers {
    fn begin(service: &Sleeper, number: u32) -> Self {
        let workers = Self { served: Arc::default(), refused: Arc::default(), is_over: Arc::default() };
        for _ in 0..number {
            let service = service.clone();
            let (served, refused) = (Arc::clone(&workers.served), Arc::clone(&workers.refused));
            let is_over = Arc::clone(&workers.is_over);
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    match service.clone().oneshot(20 * MS).await {
                        Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
                        Err(_) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            sleep(10 * MS).await;
                        }
                    }
                }
            });
        }
        workers
    }

    /// How many calls are served and refused in so many seconds.
    async fn run(&self, seconds: u32) -> (u32, u32) {
        let count = || (self.served.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
        let before = count();
        sleep(SECOND * seconds).await;
        let after = count();
        (after.0 - before.0, after.1 - before.1)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn served_calls_have_not_waited_for_as_long_as_they_could() {
    let mut served = overload(&service(), 12).await;
    served.retain(|(began, _)| *began > 3 * SECOND);
    assert!(served.len() > 4300, "{} of 4500 that fit", served.len());
    let mut took: Vec<_> = served.into_iter().map(|(_, took)| took).collect();
    took.sort_unstable();
    let [median, high] = [took.len() / 2, took.len() * 99 / 100].map(|at| took[at]);
    assert!(median < 150 * MS && high < 200 * MS, "{median:?}, {high:?} of a second");
}

/// A hundred workers wait 180 ms each, and are all served: that is no overload.
#[tokio::test(start_paused = true)]
async fn workers_that_share_permits_are_refused_nothing() {
    let service = service();
    let workers = Workers::begin(&service, 100);
    assert_eq!(workers.run(60).await.1, 0);
    // One call in ten has hardly any time, because of its own deadline.
    let hurried = BoxCloneService::new(DeadlineLayer::new(50 * MS).unwrap().layer(service));
    let mut late = 0;
    for _ in 0..50 * 60 {
        late += u32::from(hurried.clone().oneshot(20 * MS).await.is_err());
        sleep(20 * MS).await;
    }
    assert!(late > 1000, "{late}");
    let (served, refused) = workers.run(60).await;
    assert_eq!((workers.refused.load(Ordering::Relaxed), refused), (0, 0));
    assert!(served > 29_000, "{served}");
}

/// The queue never empties after the overload, and is given its room back all the same.
#[tokio::test(start_paused = true)]
async fn workers_are_refused_nothing_once_an_overload_is_over() {
    let service = service();
    let workers = Workers::begin(&service, 100);
    drop(overload(&service, 5).await);
    // 32 times the second that calls have.
    let (served, _) = workers.run(35).await;
    assert!(served > 17_000, "the permits are in use meanwhile: {served}");
    assert_eq!(workers.run(60).await.1, 0);
}
