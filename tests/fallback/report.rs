//! What the report of a call says about a fallback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::fallback::{self, Failure, FallbackConfig, FallbackLayer};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, Stop, report};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn retry() -> RetryLayer {
    let backoff = Backoff::constant(Duration::from_millis(1));
    RetryLayer::new(RetryConfig { max_attempts: 2, backoff, ..RetryConfig::default() }).unwrap()
}

fn answering() -> FallbackLayer<fallback::Value<u32>> {
    FallbackLayer::new(FallbackConfig::default(), fallback::value(42)).unwrap()
}

/// Fails for 0, and echoes any other number.
fn primary() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|n: u32| async move { if n == 0 { Err(BoxError::from("down")) } else { Ok(n) } })
}

#[tokio::test(start_paused = true)]
async fn report_tells_of_a_fallback_around_the_retry() {
    let service = ServiceBuilder::new().layer(answering()).layer(retry()).service(primary());
    let (answer, told) = report(service.clone().oneshot(0)).await;
    let told = told.unwrap();
    assert_eq!((answer.unwrap(), told.fallback), (42, Some("transient")));
    assert_eq!((told.attempts, told.stopped, told.verdicts.len()), (2, Stop::Attempts, 2), "of the call that failed");
    let (answer, told) = report(service.oneshot(7)).await;
    assert_eq!((answer.unwrap(), told.unwrap().fallback), (7, None));
}

#[tokio::test(start_paused = true)]
async fn report_tells_which_refusal_a_fallback_answered() {
    let bulkhead = BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..Default::default() });
    let bulkhead = bulkhead.unwrap().layer(service_fn(|n: u32| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, BoxError>(n)
    }));
    let service = ServiceBuilder::new().layer(answering()).layer(retry()).service(bulkhead);
    let (first, second) = tokio::join!(report(service.clone().oneshot(1)), report(service.oneshot(2)));
    assert_eq!((first.0.unwrap(), first.1.unwrap().fallback), (1, None));
    assert_eq!((second.0.unwrap(), second.1.unwrap().fallback), (42, Some("queue_full")));
}

#[tokio::test(start_paused = true)]
async fn report_tells_of_a_fallback_inside_an_attempt() {
    let service = ServiceBuilder::new().layer(retry()).layer(answering()).service(primary());
    let (answer, told) = report(service.oneshot(0)).await;
    let told = told.unwrap();
    assert_eq!((answer.unwrap(), told.fallback), (42, Some("transient")));
    assert_eq!((told.attempts, told.stopped), (1, Stop::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn report_tells_of_a_fallback_between_two_retries() {
    let service = ServiceBuilder::new().layer(retry()).layer(answering()).layer(retry()).service(primary());
    let (_, told) = report(service.oneshot(0)).await;
    let told = told.unwrap();
    assert_eq!((told.attempts, told.stopped, told.fallback), (1, Stop::Succeeded, Some("transient")));
}

#[tokio::test(start_paused = true)]
async fn call_without_a_retry_has_no_report_of_its_fallback() {
    let service = answering().layer(primary());
    let (answer, told) = report(service.oneshot(0)).await;
    assert_eq!((answer.unwrap(), told), (42, None));
}

/// The reports of earlier and later calls in the same future are those of other calls.
#[tokio::test(start_paused = true)]
async fn fallback_of_another_call_is_not_reported() {
    let retried = ServiceBuilder::new().layer(answering()).layer(retry()).service(primary());
    let unretried = answering().layer(primary());
    let calls = async {
        retried.clone().oneshot(0).await.unwrap();
        retried.clone().oneshot(7).await.unwrap();
        unretried.oneshot(0).await.unwrap()
    };
    let (answer, told) = report(calls).await;
    assert_eq!((answer, told.unwrap().fallback), (42, None));
    let inside = ServiceBuilder::new().layer(retry()).layer(answering()).service(primary());
    let calls = async { (inside.oneshot(0).await.unwrap(), retried.oneshot(7).await.unwrap()) };
    assert_eq!(report(calls).await.1.unwrap().fallback, None);
}

#[tokio::test(start_paused = true)]
async fn fallback_that_declines_or_fails_is_not_reported() {
    let declines = fallback::from_fn(|_: &Failure<u32>| None::<u32>);
    let declining = FallbackLayer::new(FallbackConfig::default(), declines).unwrap();
    let service = ServiceBuilder::new().layer(declining).layer(retry()).service(primary());
    let (answer, told) = report(service.oneshot(0)).await;
    assert!(answer.is_err());
    assert_eq!(told.unwrap().fallback, None);

    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let failing = fallback::service(service_fn(move |_: u32| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err::<u32, _>(BoxError::from("the standby is down")) }
    }));
    let failing = FallbackLayer::new(FallbackConfig::default(), failing).unwrap();
    let (answer, told) =
        report(ServiceBuilder::new().layer(failing).layer(retry()).service(primary()).oneshot(0)).await;
    assert!(answer.is_err());
    assert_eq!((told.unwrap().fallback, asked.load(Ordering::Relaxed)), (None, 1));
}
