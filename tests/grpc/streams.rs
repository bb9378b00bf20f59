//! Streams through the layers: what passes, what is cut, and which side sees the cut.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::{Reason, rejection_in};
use seawall::http::{LongLived, MapRequestBodyLayer};
use seawall::retry::{Backoff, Budget, BudgetConfig, RetryConfig, RetryLayer};
use tokio::time::Instant;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::fault::{Answer, Fault, Step, channel, comes_true};
use crate::respond::serve;

const MILLIS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn stalled_server_is_cut_and_its_stream_reset() {
    for answer in [Answer::Never, Answer::Body(vec![Step::Stall]), Answer::Body(vec![Step::Message, Step::Stall])] {
        let told = answer.clone();
        let fault = Fault::serve(move |_| told.clone()).await;
        let client = DeadlineLayer::grpc(300 * MILLIS).unwrap().layer(fault.channel());
        let start = Instant::now();
        let status = HealthClient::new(client).check(HealthCheckRequest::default()).await.unwrap_err();
        let took = start.elapsed();
        let rejected = rejection_in(&status).unwrap_or_else(|| panic!("{answer:?}: {status:?}"));
        assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded), "{answer:?}");
        assert!((295 * MILLIS..400 * MILLIS).contains(&took), "{answer:?}: {took:?}");
        assert!(comes_true(|| fault.open() == 0).await, "{answer:?}: the stream is still open on the server");
    }
}

/// The stream ends although it is not read.
#[tokio::test(start_paused = true)]
async fn unread_stream_is_reset_at_the_deadline() {
    let fault = Fault::serve(|_| Answer::Body(vec![Step::Message, Step::Stall])).await;
    let bulkhead = BulkheadLayer::grpc(BulkheadConfig::default()).unwrap();
    let handle = bulkhead.handle();
    let stack = ServiceBuilder::new().layer(DeadlineLayer::grpc(200 * MILLIS).unwrap()).layer(bulkhead);
    let mut client = HealthClient::new(stack.service(fault.channel()));
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!((handle.in_flight(), fault.open()), (1, 1));
    assert!(comes_true(|| fault.open() == 0 && handle.in_flight() == 0).await);
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "the stream ended without an error"),
            Err(status) => break status,
        }
    };
    assert!(rejection_in(&status).is_some(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn long_lived_watch_outlives_the_timeout_and_is_bounded() {
    let (reporter, health) = tonic_health::server::health_reporter();
    let address = serve!(health, DeadlineLayer::grpc(Duration::from_secs(60)).unwrap());
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::grpc(DeadlineConfig { timeout: 50 * MILLIS, ..DeadlineConfig::default() }).unwrap())
        .layer(BulkheadLayer::grpc(BulkheadConfig::default()).unwrap())
        .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap())
        .service(channel(address));
    let mut client = HealthClient::new(stack);
    let start = Instant::now();
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.extensions_mut().insert(LongLived::new(400 * MILLIS));
    let mut stream = client.watch(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, 1);
    tokio::time::sleep(150 * MILLIS).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(stream.message().await.unwrap().unwrap().status, 2, "after three times the timeout");
    let status = stream.message().await.unwrap_err();
    assert!(rejection_in(&status).is_some(), "{status:?}");
    assert!((395 * MILLIS..500 * MILLIS).contains(&start.elapsed()), "{:?}", start.elapsed());

    // Without the extension it does not.
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert!(rejection_in(&stream.message().await.unwrap_err()).is_some());
}

/// On a server, a stream that is cut ends with a status and not with a reset.
#[tokio::test(start_paused = true)]
async fn server_stream_past_its_deadline_is_deadline_exceeded() {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let address = serve!(health, DeadlineLayer::grpc(100 * MILLIS).unwrap());
    let mut client = HealthClient::new(channel(address));
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "deadline_exceeded"));
}

#[tokio::test(start_paused = true)]
async fn messages_and_trailers_pass_untouched() {
    let fault = Fault::serve(|_| {
        Answer::Body(vec![Step::Message, Step::Message, Step::Trailers(&[("grpc-status", "0"), ("x-cost", "7")])])
    })
    .await;
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::grpc(Duration::from_secs(10)).unwrap())
        .layer(BulkheadLayer::grpc(BulkheadConfig::default()).unwrap())
        .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap())
        .service(fault.channel());
    let request = Request::post("http://callee/grpc.health.v1.Health/Watch").body(tonic::body::Body::empty()).unwrap();
    let response: Response<_> = stack.oneshot(request).await.unwrap();
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().map(|trailers| &trailers["x-cost"]), Some(&"7".parse().unwrap()));
    assert_eq!(whole.to_bytes().len(), 14);
}

#[tokio::test(start_paused = true)]
async fn endless_streams_stay_within_the_bulkhead_limit() {
    let fault = Fault::serve(|_| Answer::Body(vec![Step::Message, Step::Stall])).await;
    let config =
        BulkheadConfig { max_concurrent: 2, max_waiting: 4, max_wait: 100 * MILLIS, ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::grpc(config).unwrap();
    let handle = bulkhead.handle();
    let stack = ServiceBuilder::new().layer(DeadlineLayer::grpc(400 * MILLIS).unwrap()).layer(bulkhead);
    let client = HealthClient::new(stack.service(fault.channel()));
    let start = Instant::now();
    let calls = (0..50).map(|n| {
        let mut client = client.clone();
        async move {
            let mut stream = client.watch(HealthCheckRequest::default()).await?.into_inner();
            // Every other stream is read, and the rest is parked.
            if n % 2 == 0 {
                while stream.message().await?.is_some() {}
            } else {
                tokio::time::sleep(1000 * MILLIS).await;
            }
            Ok::<_, tonic::Status>(())
        }
    });
    let watch = async {
        assert!(comes_true(|| fault.open() > 0).await);
        assert!(comes_true(|| fault.open() == 0 && handle.in_flight() == 0).await);
        start.elapsed()
    };
    let (_, gone) = futures::join!(futures::future::join_all(calls), watch);
    assert_eq!(fault.most_open(), 2);
    assert!(gone < 1000 * MILLIS, "held until the readers dropped them: {gone:?}");
}

/// Polls at most this many times, and then drops the future.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(|cx| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            future.as_mut().poll(cx).map(Some)
        }
        None => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn call_dropped_at_any_poll_leaves_nothing() {
    let millis = Step::Wait(MILLIS);
    let fault = Fault::serve(move |n| match n % 2 {
        0 => Answer::Head(&[("grpc-status", "14")]),
        _ => Answer::Body(vec![
            millis,
            Step::Message,
            millis,
            Step::Message,
            millis,
            Step::Trailers(&[("grpc-status", "0")]),
        ]),
    })
    .await;
    let bulkhead = BulkheadLayer::grpc(BulkheadConfig::default()).unwrap();
    let handle = bulkhead.handle();
    let backoff = Backoff::exponential(MILLIS, 1.0);
    let budget =
        Budget::new(BudgetConfig { reserve_per_second: 1000.0, reserve_burst: 1000, ..BudgetConfig::default() })
            .unwrap();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::grpc(Duration::from_secs(10)).unwrap())
        .layer(RetryLayer::grpc(RetryConfig { backoff, ..RetryConfig::default() }).unwrap().with_budget(budget))
        .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
        .layer(bulkhead)
        .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig { observe_only: true, ..Default::default() }).unwrap());
    let client = HealthClient::new(stack.service(fault.channel()));
    let (mut finished, mut times) = (0, 0);
    // Until the call has completed three times.
    while finished < 3 {
        let mut client = client.clone();
        let whole = polled(times, async move {
            let mut stream = client.watch(HealthCheckRequest::default()).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        });
        finished += usize::from(whole.await.is_some());
        times += 1;
        assert!(comes_true(|| handle.in_flight() == 0 && fault.open() == 0).await, "after {times} polls");
        assert!(times < 200, "the call never completes");
    }
}
