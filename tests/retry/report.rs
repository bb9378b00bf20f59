//! The report of a call, for code that requests it.

use std::future::pending;

use seawall::deadline::DeadlineLayer;
use seawall::retry::{Report, Stop, report};
use seawall::verdict::Verdict;
use tokio::time::timeout;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn call_without_a_retry_layer_has_no_report() {
    assert_eq!(report(async { 7 }).await, (7, None));
    let log = Log::default();
    let apart = tokio::spawn(layer(every_second()).layer(failing(&log)).oneshot(()));
    assert_eq!(report(async { apart.await.is_ok() }).await, (true, None), "a call in another task");
}

#[tokio::test(start_paused = true)]
async fn call_cut_by_an_outer_layer_is_reported() {
    let log = Log::default();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(3 * SECOND).unwrap())
        .layer(layer(every_second()))
        .service(callee(&log, |_| pending()));
    let (answer, told) = report(service.oneshot(())).await;
    assert!(answer.is_err());
    let told = told.unwrap();
    assert_eq!((told.attempts, told.stopped, told.elapsed), (1, Stop::Dropped, 3 * SECOND));
    assert_eq!(told.verdicts, []);
}

#[tokio::test(start_paused = true)]
async fn outermost_of_nested_retries_reports() {
    let log = Log::default();
    let inner = layer(RetryConfig { max_attempts: 2, ..every_second() });
    let service = ServiceBuilder::new().layer(layer(every_second())).layer(inner).service(failing(&log));
    let (_, told) = report(service.oneshot(())).await;
    let Report { attempts, verdicts, elapsed, .. } = told.unwrap();
    assert_eq!((attempts, verdicts, elapsed), (3, vec![Verdict::Transient; 3], 5 * SECOND));
    assert_eq!(log.attempts(), [1, 2, 1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_reports_cover_their_own_calls() {
    let log = Log::default();
    let (once, thrice) = (layer(RetryConfig { max_attempts: 1, ..every_second() }), layer(every_second()));
    let once = report(once.layer(failing(&log)).oneshot(()));
    let thrice = report(thrice.layer(failing(&log)).oneshot(()));
    let ((_, once), (_, thrice)) = tokio::join!(once, thrice);
    assert_eq!((once.unwrap().attempts, thrice.unwrap().attempts), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn outermost_of_dropped_nested_retries_reports() {
    let log = Log::default();
    let service =
        ServiceBuilder::new().layer(layer(every_second())).layer(layer(every_second())).service(failing(&log));
    let (_, told) = report(async { timeout(millis(1500), service.oneshot(())).await.is_err() }).await;
    assert_eq!(log.attempts(), [1, 2], "the inner retry is at its second attempt");
    assert_eq!(told.map(|told| (told.attempts, told.stopped)), Some((1, Stop::Dropped)));
}
