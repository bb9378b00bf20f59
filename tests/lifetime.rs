//! A call is over when its response is over. Only the classifier knows when that is: here, the response is a stream
//! that goes on after it was returned.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::{Ready, ready};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::verdict::{AtResponse, Classify, Guard, Verdict};
use tokio::time::advance;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Ends the call when its stream ends.
#[derive(Clone, Copy, Debug)]
struct AtEndOfStream;

/// The items that are still to come, and the guard that the layer attached.
#[derive(Debug)]
struct Stream<G>(G);

impl<G: Guard> Stream<G> {
    fn ends(self, verdict: Verdict) {
        self.0.settle(verdict);
    }
}

impl<R> Classify<R> for AtEndOfStream {
    type Held<G: Guard> = Stream<G>;
    type Settled = R;
    type Settling = Ready<(Verdict, R)>;
    type Detaching = Ready<R>;

    fn classify(&self, result: Result<&R, &BoxError>) -> Verdict {
        result.map_or(Verdict::Transient, |_| Verdict::Success)
    }

    fn hold<G: Guard>(&self, _: R, _: Verdict, guard: G) -> Stream<G> {
        Stream(guard)
    }

    fn settle(&self, response: R) -> Self::Settling {
        ready((Verdict::Success, response))
    }

    fn detach(&self, response: R) -> Self::Detaching {
        ready(response)
    }
}

fn callee() -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone + Send + 'static {
    service_fn(|()| async { Ok::<_, BoxError>(()) })
}

#[tokio::test(start_paused = true)]
async fn permit_is_held_until_the_stream_ends_fails_or_drops() {
    let config = BulkheadConfig { max_concurrent: 2, max_waiting: 0, ..BulkheadConfig::default() };
    let layer = BulkheadLayer::new(config).unwrap().with_classifier(AtEndOfStream);
    let handle = layer.handle();
    let service = layer.layer(callee());
    let first = service.clone().oneshot(()).await.unwrap();
    let second = service.clone().oneshot(()).await.unwrap();
    assert_eq!(handle.in_flight(), 2);
    assert!(service.clone().oneshot(()).await.is_err(), "both heads have come, and both streams are open");
    first.ends(Verdict::Success);
    assert_eq!(handle.in_flight(), 1);
    drop(second);
    assert_eq!(handle.in_flight(), 0);
    assert!(service.oneshot(()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn breaker_counts_the_verdict_of_the_stream_end() {
    let config = CircuitBreakerConfig { minimum_calls: 5, ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::new(config).unwrap().with_classifier(AtEndOfStream);
    let handle = layer.handle();
    let service = layer.layer(callee());
    for n in 0..5 {
        assert_eq!(handle.state(), State::Closed, "after {n} failures");
        // The head says 200; the trailers report a failure.
        service.clone().oneshot(()).await.unwrap().ends(Verdict::Transient);
    }
    assert_eq!(handle.state(), State::Open);
}

/// The time that a reader keeps a received response is not time of the dependency.
#[tokio::test(start_paused = true)]
async fn slow_reader_opens_no_breaker() {
    let config = CircuitBreakerConfig { minimum_calls: 5, slow_after: Some(SECOND), ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::new(config).unwrap().with_classifier(AtEndOfStream);
    let handle = layer.handle();
    let service = layer.layer(callee());
    for _ in 0..20 {
        let stream = service.clone().oneshot(()).await.unwrap();
        advance(2 * SECOND).await;
        stream.ends(Verdict::Success);
    }
    assert_eq!((handle.state(), handle.snapshot().slow), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn stream_knows_its_expiry() {
    let start = tokio::time::Instant::now();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND).unwrap().with_classifier(AtEndOfStream))
        .layer(BulkheadLayer::new(BulkheadConfig::default()).unwrap().with_classifier(AtEndOfStream))
        .service(callee());
    let Stream(deadline) = service.oneshot(()).await.unwrap();
    assert_eq!(deadline.expiry().at(), start + SECOND);

    let service = ServiceBuilder::new()
        .layer(
            DeadlineLayer::new(SECOND)
                .unwrap()
                .with_classifier(AtResponse::default())
                .lasting_by(|()| Some(60 * SECOND)),
        )
        .layer(BulkheadLayer::new(BulkheadConfig::default()).unwrap().with_classifier(AtEndOfStream))
        .service(callee());
    let Stream(permit) = service.oneshot(()).await.unwrap();
    assert_eq!(permit.expiry().at(), start + 60 * SECOND, "a long-lived stream");

    let bulkhead = BulkheadLayer::new(BulkheadConfig { max_hold: 3 * SECOND, ..BulkheadConfig::default() }).unwrap();
    let Stream(permit) = bulkhead.with_classifier(AtEndOfStream).layer(callee()).oneshot(()).await.unwrap();
    assert_eq!(permit.expiry().at(), start + 3 * SECOND, "without a deadline, the bound of the layer");
}

/// In front of a service the work is done once the head is ready, so a slow reader holds no permit.
#[tokio::test(start_paused = true)]
async fn slow_reader_holds_no_permit_of_the_shedder() {
    let layer = LoadShedLayer::new(LoadShedConfig { max_in_flight: 1, ..LoadShedConfig::default() }).unwrap();
    let layer = layer.with_classifier(AtEndOfStream);
    let handle = layer.handle();
    let service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(String::from("a long body")) }));
    let unread = service.clone().oneshot(()).await.unwrap();
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(service.oneshot(()).await.unwrap(), unread);
}
