//! Retries of gRPC calls, through the whole stack of a tonic client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection_in};
use seawall::http::{Idempotent, MapRequestBodyLayer};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, Stop, report};
use seawall::verdict::Verdict;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;
use tower::ServiceBuilder;

use crate::fault::{Answer, Fault, Headers, Step, channel, comes_true};

const MILLIS: Duration = Duration::from_millis(1);

/// The client stack in the recommended order.
macro_rules! stack {
    ($address:expr, $config:expr) => {{
        let bulkhead = BulkheadLayer::grpc(BulkheadConfig { max_concurrent: 4, ..BulkheadConfig::default() }).unwrap();
        let handle: PermitsHandle = bulkhead.handle();
        let backoff = Backoff::exponential(2 * MILLIS, 2.0);
        let stack = ServiceBuilder::new()
            .layer(DeadlineLayer::grpc(Duration::from_secs(2)).unwrap())
            .layer(RetryLayer::grpc(RetryConfig { backoff, ..$config }).unwrap())
            .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
            .layer(bulkhead)
            .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap())
            .service(channel($address));
        (HealthClient::new(stack), handle)
    }};
}

const UNAVAILABLE: Headers = &[("grpc-status", "14"), ("grpc-message", "not now")];

/// Gives these answers to the first calls, and then OK.
async fn first(answers: Vec<Answer>) -> Fault {
    Fault::serve(move |n| answers.get(n).cloned().unwrap_or_else(Answer::ok)).await
}

/// One unary call through the stack: its result, the verdict of each attempt, and why no further attempt was made.
async fn check(address: SocketAddr, extension: Option<Idempotent>) -> (Result<i32, Status>, Vec<Verdict>, Stop) {
    let (mut client, bulkhead) = stack!(address, RetryConfig::default());
    let mut request = tonic::Request::new(HealthCheckRequest { service: "the one".into() });
    if let Some(extension) = extension {
        request.extensions_mut().insert(extension);
    }
    let (result, report) = report(client.check(request)).await;
    assert!(comes_true(|| bulkhead.in_flight() == 0).await, "a permit is still held");
    let report = report.expect("there is a retry layer");
    assert_eq!(report.attempts as usize, report.verdicts.len());
    (result.map(|answer| answer.into_inner().status), report.verdicts, report.stopped)
}

#[tokio::test(start_paused = true)]
async fn unavailable_twice_is_retried_to_ok() {
    for answer in [
        Answer::Head(UNAVAILABLE),
        Answer::Body(vec![Step::Trailers(UNAVAILABLE)]),
        // A short response whose trailers are ready is judged by its trailers.
        Answer::Body(vec![Step::Message, Step::Trailers(UNAVAILABLE)]),
        Answer::Http(http::StatusCode::BAD_GATEWAY),
    ] {
        let fault = first(vec![answer.clone(), answer.clone()]).await;
        let (result, verdicts, stopped) = check(fault.address, None).await;
        assert_eq!(result.ok(), Some(1), "{answer:?}");
        assert_eq!(verdicts, [Verdict::Transient, Verdict::Transient, Verdict::Success], "{answer:?}");
        assert_eq!((stopped, fault.calls()), (Stop::Succeeded, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn last_failure_is_returned_with_its_metadata() {
    for answer in [Answer::Head(UNAVAILABLE), Answer::Body(vec![Step::Message, Step::Trailers(UNAVAILABLE)])] {
        let fault = first(vec![answer; 10]).await;
        let (result, verdicts, stopped) = check(fault.address, None).await;
        let status = result.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
        assert_eq!((verdicts.len(), stopped, fault.calls()), (3, Stop::Attempts, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn pushback_sets_the_wait() {
    let fault = first(vec![Answer::Head(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "150")])]).await;
    let start = Instant::now();
    let (result, verdicts, _) = check(fault.address, None).await;
    assert_eq!(result.ok(), Some(1));
    assert_eq!(verdicts[0], Verdict::Overloaded { retry_after: Some(150 * MILLIS) });
    assert!(start.elapsed() >= 150 * MILLIS, "{:?}", start.elapsed());
}

/// Google APIs and OTLP receivers put the wait into the status details, and a proxy into the HTTP header.
#[tokio::test(start_paused = true)]
async fn retry_info_and_retry_after_set_the_wait() {
    let info = tonic_types::ErrorDetails::with_retry_info(Some(150 * MILLIS));
    for code in [Code::Unavailable, Code::ResourceExhausted] {
        let status = Status::with_error_details(code, "not now", info.clone());
        let details: &'static str = STANDARD_NO_PAD.encode(status.details()).leak();
        let number: &'static str = (code as i32).to_string().leak();
        let headers = vec![("grpc-status", number), ("grpc-status-details-bin", details)].leak();
        for answer in [Answer::Head(headers), Answer::Body(vec![Step::Trailers(headers)])] {
            let fault = first(vec![answer.clone()]).await;
            let start = Instant::now();
            let (result, _, stopped) = check(fault.address, None).await;
            assert_eq!((result.ok(), stopped), (Some(1), Stop::Succeeded), "{answer:?}");
            assert!(start.elapsed() >= 150 * MILLIS, "{answer:?}: {:?}", start.elapsed());
        }
    }
    let fault = first(vec![Answer::Head(&[("grpc-status", "14"), ("retry-after", "0.15")])]).await;
    let start = Instant::now();
    assert_eq!(check(fault.address, None).await.0.ok(), Some(1));
    assert!(start.elapsed() >= 150 * MILLIS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn negative_pushback_forbids_retries() {
    for never in ["-1", "whenever"] {
        let headers = vec![("grpc-status", "14"), ("grpc-retry-pushback-ms", never)].leak();
        for answer in [Answer::Head(headers), Answer::Body(vec![Step::Trailers(headers)])] {
            let fault = first(vec![answer]).await;
            let (result, verdicts, stopped) = check(fault.address, None).await;
            assert_eq!(result.unwrap_err().code(), Code::Unavailable);
            assert_eq!((verdicts, stopped, fault.calls()), (vec![Verdict::DoNotRetry], Stop::Verdict, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_retry_after_a_message_reached_the_caller() {
    let fault =
        first(vec![Answer::Body(vec![Step::Message, Step::Wait(30 * MILLIS), Step::Trailers(UNAVAILABLE)])]).await;
    let (mut client, _) = stack!(fault.address, RetryConfig::default());
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable, "the caller gets the failure");
    assert_eq!(fault.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn executed_call_is_retried_only_if_idempotent() {
    let timed_out = || Answer::Head(&[("grpc-status", "4")]);
    let (idempotent, once) = (Some(Idempotent(true)), Some(Idempotent(false)));
    for (answer, extension, attempts) in [
        (timed_out(), None, 1),
        (timed_out(), idempotent, 2),
        (Answer::Broken, None, 1),
        (Answer::Broken, idempotent, 2),
        // Refused before processing: retried, whatever the call is.
        (Answer::Refused, None, 2),
        (Answer::Refused, once, 2),
        (Answer::Head(UNAVAILABLE), once, 1),
        (Answer::Head(&[("grpc-status", "8")]), None, 2),
        // The dependency is broken, or the caller is wrong.
        (Answer::Head(&[("grpc-status", "13")]), idempotent, 1),
        (Answer::Head(&[("grpc-status", "3")]), idempotent, 1),
    ] {
        let fault = first(vec![answer.clone()]).await;
        let (result, verdicts, _) = check(fault.address, extension).await;
        let told = format!("{answer:?} {extension:?} {verdicts:?}");
        assert_eq!((fault.calls(), result.is_ok()), (attempts, attempts == 2), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_sends_the_whole_message() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let bodies = Arc::clone(&seen);
    let fault = Fault::serve_reading(move |n, body| {
        bodies.lock().unwrap().push(body);
        if n < 2 { Answer::Head(UNAVAILABLE) } else { Answer::ok() }
    })
    .await;
    assert_eq!(check(fault.address, None).await.0.ok(), Some(1));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|body| body == b"\0\0\0\0\x09\x0a\x07the one".as_slice()), "{seen:?}");
}

/// The caller gets the refusal that cut the call, and the number of attempts.
#[tokio::test(start_paused = true)]
async fn call_cut_at_its_deadline_reports_its_attempts() {
    let fault = Fault::serve(|_| Answer::Never).await;
    let config = RetryConfig { attempt_timeout: Some(50 * MILLIS), ..RetryConfig::default() };
    let (mut client, bulkhead) = stack!(fault.address, config);
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.extensions_mut().insert(Idempotent(true));
    let (result, report) = report(client.check(request)).await;
    let status = result.unwrap_err();
    let rejected = rejection_in(&status).expect("a refusal");
    assert_eq!(rejected.reason(), Reason::AttemptTimeout);
    let report = report.expect("there is a retry layer");
    assert_eq!((report.attempts, report.stopped), (3, Stop::Attempts));
    assert_eq!(report.verdicts, [Verdict::TimedOut; 3]);
    assert!(comes_true(|| fault.open() == 0 && bulkhead.in_flight() == 0).await);
}

#[tokio::test(start_paused = true)]
async fn refused_connection_is_retried_for_any_call() {
    let fault = first(vec![]).await;
    let address = fault.address;
    fault.close().await;
    let (result, verdicts, stopped) = check(address, Some(Idempotent(false))).await;
    assert!(result.is_err());
    assert_eq!((verdicts, stopped), (vec![Verdict::Unsent; 3], Stop::Attempts));
}

/// In gRPC a deadline belongs to a call, and not to an attempt.
#[tokio::test(start_paused = true)]
async fn timeout_of_the_caller_spans_all_attempts() {
    let fault = Fault::serve_requests(|_, _| async {
        tokio::time::sleep(200 * MILLIS).await;
        Answer::Head(UNAVAILABLE)
    })
    .await;
    let (mut client, bulkhead) = stack!(fault.address, RetryConfig { max_attempts: 5, ..RetryConfig::default() });
    for timeout in [100 * MILLIS, 300 * MILLIS, 500 * MILLIS] {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(timeout);
        let start = Instant::now();
        client.check(request).await.unwrap_err();
        let took = start.elapsed();
        assert!(took >= timeout - 20 * MILLIS, "{timeout:?}: {took:?}");
        assert!(comes_true(|| fault.open() == 0 && bulkhead.in_flight() == 0).await);
    }
}
