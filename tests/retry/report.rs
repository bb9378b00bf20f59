//! How a call went, for those who ask.

use std::future::pending;

use seawall::deadline::DeadlineLayer;
use seawall::retry::{Report, Stop, report};
use seawall::verdict::Verdict;
use tokio::time::timeout;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn there_is_none_where_nothing_retries() {
    assert_eq!(report(async { 7 }).await, (7, None));
    let log = Log::default();
    let apart = tokio::spawn(layer(every_second()).layer(failing(&log)).oneshot(()));
    assert_eq!(report(async { apart.await.is_ok() }).await, (true, None), "a call of another task");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_further_out_is_reported_too() {
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
async fn of_nested_layers_the_outermost_reports() {
    let log = Log::default();
    let inner = layer(RetryConfig { max_attempts: 2, ..every_second() });
    let service = ServiceBuilder::new().layer(layer(every_second())).layer(inner).service(failing(&log));
    let (_, told) = report(service.oneshot(())).await;
    let Report { attempts, verdicts, elapsed, .. } = told.unwrap();
    assert_eq!((attempts, verdicts, elapsed), (3, vec![Verdict::Transient; 3], 5 * SECOND));
    assert_eq!(log.attempts(), [1, 2, 1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn two_who_ask_at_once_hear_of_their_own_calls() {
    let log = Log::default();
    let (once, thrice) = (layer(RetryConfig { max_attempts: 1, ..every_second() }), layer(every_second()));
    let once = report(once.layer(failing(&log)).oneshot(()));
    let thrice = report(thrice.layer(failing(&log)).oneshot(()));
    let ((_, once), (_, thrice)) = tokio::join!(once, thrice);
    assert_eq!((once.unwrap().attempts, thrice.unwrap().attempts), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn of_nested_layers_the_outermost_reports_when_both_are_dropped() {
    let log = Log::default();
    let service =
        ServiceBuilder::new().layer(layer(every_second())).layer(layer(every_second())).service(failing(&log));
    let (_, told) = report(async { timeout(millis(1500), service.oneshot(())).await.is_err() }).await;
    assert_eq!(log.attempts(), [1, 2], "the inner one is at its second");
    assert_eq!(told.map(|told| (told.attempts, told.stopped)), Some((1, Stop::Dropped)));
}
