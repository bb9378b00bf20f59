//! Requests whose connection dies: such a request may be what crashes the dependency, and is sent once more at most, however many layers
//! repeat it.

use seawall::retry::{Backoff, CloneRequest, RetryConfig, RetryLayer};
use seawall::verdict::{self, FromFn, Verdict};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

type Classifier = FromFn<fn(Result<&u32, &BoxError>) -> Verdict>;

fn lost() -> Classifier {
    verdict::from_fn(|result: Result<&u32, &BoxError>| match result {
        Err(error) if error.to_string() == "lost" => Verdict::Lost,
        _ => verdict::of_error(&"down".into()),
    })
}

fn retry(max_attempts: u32) -> RetryLayer<Classifier> {
    let backoff = Backoff::exponential(millis(2), 2.0);
    let layer = RetryLayer::new(RetryConfig { max_attempts, backoff, ..RetryConfig::default() }).unwrap();
    layer.with_classifier(lost()).with_replay(CloneRequest::idempotent())
}

fn hedge(max_attempts: u32) -> HedgeLayer<Classifier> {
    layer(HedgeConfig { max_attempts, ..fixed() }).with_classifier(lost()).with_replay(CloneRequest::idempotent())
}

/// A service that loses all calls after this time.
fn losing(log: &Log, after: Duration) -> Callee {
    callee(log, move |_| async move {
        sleep(after).await;
        Err("lost".into())
    })
}

#[tokio::test(start_paused = true)]
async fn lost_call_is_sent_twice_through_any_layers() {
    // Lost before it is slow, and later: then two are in flight.
    for after in [millis(1), 3 * DELAY] {
        let log = Log::default();
        let sent = || std::mem::take(&mut *log.started.lock().unwrap()).len();
        let call = |service: Callee| async { service.oneshot(()).await.unwrap_err().to_string() };
        let stack = ServiceBuilder::new().layer(retry(5)).layer(hedge(2)).service(losing(&log, after));
        assert_eq!(
            (call(BoxCloneSyncService::new(stack)).await, sent()),
            ("lost".into(), 2),
            "retry(hedge), {after:?}"
        );
        let stack = ServiceBuilder::new().layer(hedge(2)).layer(retry(5)).service(losing(&log, after));
        assert_eq!(
            (call(BoxCloneSyncService::new(stack)).await, sent()),
            ("lost".into(), 2),
            "hedge(retry), {after:?}"
        );
        let stack = ServiceBuilder::new().layer(retry(5)).layer(retry(5)).service(losing(&log, after));
        assert_eq!(
            (call(BoxCloneSyncService::new(stack)).await, sent()),
            ("lost".into(), 2),
            "retry(retry), {after:?}"
        );
        let stack = ServiceBuilder::new().layer(retry(3)).layer(hedge(1)).service(losing(&log, after));
        assert_eq!((call(BoxCloneSyncService::new(stack)).await, sent()), ("lost".into(), 2), "no hedges, {after:?}");
    }
}

/// Other failures between the losses allow no third one.
#[tokio::test(start_paused = true)]
async fn lost_call_that_failed_in_between_is_lost_twice() {
    let log = Log::default();
    let counted = log.clone();
    let inner = callee(&log, move |_| {
        let number = counted.attempts().len();
        async move { Err(if number % 2 == 1 { "lost" } else { "down" }.into()) }
    });
    let service = retry(8).layer(hedge(2).layer(inner));
    service.oneshot(()).await.unwrap_err();
    assert_eq!(log.attempts().len(), 3, "lost, down, lost");
}

/// A repeat that another layer could not make is still to be made.
#[tokio::test(start_paused = true)]
async fn loss_that_was_not_hedged_is_retried() {
    let log = Log::default();
    let empty = layer(HedgeConfig { budget: reserve(1), ..fixed() }).with_classifier(lost());
    let service = retry(3).layer(empty.with_replay(CloneRequest::idempotent()).layer(losing(&log, millis(1))));
    for _ in 0..2 {
        log.started.lock().unwrap().clear();
        service.clone().oneshot(()).await.unwrap_err();
        // The second time there is no token for a hedge.
        assert_eq!(log.attempts().len(), 2);
    }
}
