//! Retries of gRPC calls, through the whole stack of a tonic client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use seawall::bulkhead::{BulkheadConfig, BulkheadHandle, BulkheadLayer};
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

/// The client's stack in the recommended order.
macro_rules! stack {
    ($address:expr, $config:expr) => {{
        let bulkhead = BulkheadLayer::grpc(BulkheadConfig { max_concurrent: 4, ..BulkheadConfig::default() }).unwrap();
        let handle: BulkheadHandle = bulkhead.handle();
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

/// Answers the first calls as told, and then with OK.
async fn first(answers: Vec<Answer>) -> Fault {
    Fault::serve(move |n| answers.get(n).cloned().unwrap_or_else(Answer::ok)).await
}

/// One unary call through the stack: its result, what each attempt said and why no further one was made.
async fn check(address: SocketAddr, extension: Option<Idempotent>) -> (Result<i32, Status>, Vec<Verdict>, Stop) {
    let (mut client, bulkhead) = stack!(address, RetryConfig::default());
    let mut request = tonic::Request::new(HealthCheckRequest { service: "the one".into() });
    if let Some(extension) = extension {
        request.extensions_mut().insert(extension);
    }
    let (result, report) = report(client.check(request)).await;
    assert!(comes_true(|| bulkhead.in_flight() == 0).await, "a permit is still held");
    let report = report.expect("there is a retry");
    assert_eq!(report.attempts as usize, report.verdicts.len());
    (result.map(|answer| answer.into_inner().status), report.verdicts, report.stopped)
}

#[tokio::test(start_paused = true)]
async fn unavailable_twice_and_the_caller_sees_ok() {
    for answer in [
        Answer::Head(UNAVAILABLE),
        Answer::Body(vec![Step::Trailers(UNAVAILABLE)]),
        // a short answer that is there with its trailers is judged by them
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
async fn the_last_failure_is_the_callees_own_with_all_that_it_said() {
    for answer in [Answer::Head(UNAVAILABLE), Answer::Body(vec![Step::Message, Step::Trailers(UNAVAILABLE)])] {
        let fault = first(vec![answer; 10]).await;
        let (result, verdicts, stopped) = check(fault.address, None).await;
        let status = result.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
        assert_eq!((verdicts.len(), stopped, fault.calls()), (3, Stop::Attempts, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_waited_for() {
    let fault = first(vec![Answer::Head(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "150")])]).await;
    let start = Instant::now();
    let (result, verdicts, _) = check(fault.address, None).await;
    assert_eq!(result.ok(), Some(1));
    assert_eq!(verdicts[0], Verdict::Overloaded { retry_after: Some(150 * MILLIS) });
    assert!(start.elapsed() >= 150 * MILLIS, "{:?}", start.elapsed());
}

/// A status of Google's or of an OTLP receiver says when to come back in its details, and a proxy in HTTP's own header.
#[tokio::test(start_paused = true)]
async fn waits_in_details_and_of_proxies_are_waited_for() {
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
async fn a_negative_pushback_is_the_end() {
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
async fn nothing_is_sent_again_once_a_message_has_reached_the_caller() {
    let fault =
        first(vec![Answer::Body(vec![Step::Message, Step::Wait(30 * MILLIS), Step::Trailers(UNAVAILABLE)])]).await;
    let (mut client, _) = stack!(fault.address, RetryConfig::default());
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable, "it is the caller's to deal with");
    assert_eq!(fault.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_been_executed_is_sent_again_only_if_it_may_be() {
    let timed_out = || Answer::Head(&[("grpc-status", "4")]);
    let (idempotent, once) = (Some(Idempotent(true)), Some(Idempotent(false)));
    for (answer, extension, attempts) in [
        (timed_out(), None, 1),
        (timed_out(), idempotent, 2),
        (Answer::Broken, None, 1),
        (Answer::Broken, idempotent, 2),
        // refused unread: whatever it is
        (Answer::Refused, None, 2),
        (Answer::Refused, once, 2),
        (Answer::Head(UNAVAILABLE), once, 1),
        (Answer::Head(&[("grpc-status", "8")]), None, 2),
        // the callee is broken, or the caller is wrong
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
async fn each_attempt_sends_the_whole_message_again() {
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

/// The caller learns what cut him short, and how many attempts stand behind it.
#[tokio::test(start_paused = true)]
async fn a_call_that_never_succeeds_in_time_says_so_and_how_often_it_was_tried() {
    let fault = Fault::serve(|_| Answer::Never).await;
    let config = RetryConfig { attempt_timeout: Some(50 * MILLIS), ..RetryConfig::default() };
    let (mut client, bulkhead) = stack!(fault.address, config);
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.extensions_mut().insert(Idempotent(true));
    let (result, report) = report(client.check(request)).await;
    let status = result.unwrap_err();
    let rejected = rejection_in(&status).expect("it was a layer of ours");
    assert_eq!(rejected.reason(), Reason::AttemptTimeout);
    let report = report.expect("there is a retry");
    assert_eq!((report.attempts, report.stopped), (3, Stop::Attempts));
    assert_eq!(report.verdicts, [Verdict::TimedOut; 3]);
    assert!(comes_true(|| fault.open() == 0 && bulkhead.in_flight() == 0).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_at_home_is_tried_again_whatever_the_call() {
    let fault = first(vec![]).await;
    let address = fault.address;
    fault.close().await;
    let (result, verdicts, stopped) = check(address, Some(Idempotent(false))).await;
    assert!(result.is_err());
    assert_eq!((verdicts, stopped), (vec![Verdict::Unsent; 3], Stop::Attempts));
}

/// gRPC's deadline is that of a call, and not of an attempt.
#[tokio::test(start_paused = true)]
async fn a_timeout_that_the_caller_sets_holds_for_all_attempts_together() {
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
