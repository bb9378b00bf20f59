//! The verdict on a gRPC call, from its head, its trailers, or its error.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use seawall::circuit_breaker::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, State,
};
use seawall::error::{Reason, rejection_in};
use seawall::grpc::{ByCode, Code};
use seawall::http::Judge;
use seawall::verdict::{Classify, Verdict};
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::fault::{Answer, Fault, Step, channel};
use crate::respond::Endless;

fn response(status: u16, headers: &[(&str, &str)]) -> Response<Full<bytes::Bytes>> {
    let builder = Response::builder().status(status);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(Full::default()).unwrap()
}

fn head(classifier: &ByCode, headers: &[(&str, &str)]) -> Verdict {
    classifier.classify(Ok(&response(200, headers)))
}

fn trailers(classifier: &ByCode, trailers: &[(&'static str, &'static str)]) -> Verdict {
    let before = classifier.of_head(&response(200, &[]));
    let map: HeaderMap =
        trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    classifier.at_end(before, Some(&map))
}

/// The table of the documentation, repeated.
fn of(code: Code) -> Verdict {
    match code {
        Code::Ok => Verdict::Success,
        Code::Unavailable => Verdict::Transient,
        Code::ResourceExhausted => Verdict::Overloaded { retry_after: None },
        Code::DeadlineExceeded => Verdict::TimedOut,
        Code::Unknown | Code::Internal | Code::DataLoss => Verdict::Failed,
        _ => Verdict::CallerFault,
    }
}

#[test]
fn every_code_has_one_verdict_in_head_and_trailers() {
    let classifier = ByCode::new();
    for code in Code::ALL {
        let number: &'static str = code.to_i32().to_string().leak();
        assert_eq!(head(&classifier, &[("grpc-status", number)]), of(code), "{code}");
        assert_eq!(trailers(&classifier, &[("grpc-status", number)]), of(code), "{code}");
    }
    assert_eq!(head(&classifier, &[("grpc-status", "99")]), Verdict::Failed);
    assert_eq!(trailers(&classifier, &[("grpc-status", "soon")]), Verdict::Failed);
    assert_eq!(trailers(&classifier, &[]), Verdict::Failed, "no status is UNKNOWN");
    assert_eq!(classifier.at_end(Verdict::Success, None), Verdict::Failed, "missing trailers are UNKNOWN too");
}

#[test]
fn head_without_status_decides_only_if_not_200() {
    let classifier = ByCode::new();
    assert!(!classifier.is_decided(&response(200, &[])));
    assert_eq!(head(&classifier, &[]), Verdict::Success);
    assert!(classifier.is_decided(&response(200, &[("grpc-status", "0")])));
    for status in (100..1000).filter(|status| *status != 200) {
        let code = match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        let response = response(status, &[]);
        assert!(classifier.is_decided(&response));
        let verdict = classifier.of_head(&response);
        // 429 is a refusal by quota, from a proxy too.
        let expected = if status == 429 { Verdict::Overloaded { retry_after: None } } else { of(code) };
        assert_eq!(verdict, expected, "{status}");
        assert_eq!(classifier.at_end(verdict, None), verdict, "the body of an error page changes nothing");
    }
    assert_eq!(classifier.of_head(&response(503, &[("grpc-status", "3")])), Verdict::CallerFault);
}

#[test]
fn pushback_applies_to_retryable_verdicts() {
    let classifier = ByCode::new();
    let wait = |millis| Verdict::Overloaded { retry_after: Some(Duration::from_millis(millis)) };
    for status in ["14", "8", "4"] {
        assert_eq!(trailers(&classifier, &[("grpc-status", status), ("grpc-retry-pushback-ms", "70")]), wait(70));
        for never in ["-1", "", "soon", "99999999999"] {
            let verdict = trailers(&classifier, &[("grpc-status", status), ("grpc-retry-pushback-ms", never)]);
            assert_eq!(verdict, Verdict::DoNotRetry, "{never:?}");
        }
    }
    for (status, wait, never) in [
        ("0", Verdict::Success, Verdict::Success),
        ("3", Verdict::CallerFault, Verdict::CallerFault),
        ("13", Verdict::Failed, Verdict::Failed),
    ] {
        for (pushback, verdict) in [("70", wait), ("-1", never)] {
            let headers = [("grpc-status", status), ("grpc-retry-pushback-ms", pushback)];
            assert_eq!(head(&classifier, &headers), verdict);
        }
    }
}

/// The response of a proxy, which does not speak gRPC.
#[test]
fn explicit_refusal_of_a_proxy_is_a_refusal() {
    let of = |status, headers: &[(&str, &str)]| ByCode::new().classify(Ok(&response(status, headers)));
    let wait = |secs| Verdict::Overloaded { retry_after: Some(Duration::from_secs(secs)) };
    assert_eq!(of(429, &[]), Verdict::Overloaded { retry_after: None });
    assert_eq!((of(429, &[("retry-after", "2")]), of(503, &[("retry-after", "3")])), (wait(2), wait(3)));
    assert_eq!(of(503, &[("x-should-retry", "false")]), Verdict::DoNotRetry);
    assert_eq!(of(500, &[("x-should-retry", "false")]), Verdict::Failed, "its own");
    assert_eq!((of(503, &[]), of(500, &[]), of(404, &[])), {
        (Verdict::Transient, Verdict::Failed, Verdict::CallerFault)
    });
}

#[test]
fn verdicts_can_be_set_per_code_and_by_closure() {
    let classifier = ByCode::new()
        .with_code(Code::Aborted, Verdict::Transient)
        .with_code(Code::Unavailable, Verdict::Ignored)
        .with(|code, headers| {
            (code == Code::Internal && headers.contains_key("x-restarting")).then_some(Verdict::Transient)
        });
    assert_eq!(trailers(&classifier, &[("grpc-status", "10")]), Verdict::Transient);
    let pushed_back = [("grpc-status", "10"), ("grpc-retry-pushback-ms", "-1")];
    assert_eq!(trailers(&classifier, &pushed_back), Verdict::DoNotRetry);
    assert_eq!(head(&classifier, &[("grpc-status", "14")]), Verdict::Ignored);
    assert_eq!(head(&classifier, &[("grpc-status", "13")]), Verdict::Failed);
    assert_eq!(head(&classifier, &[("grpc-status", "13"), ("x-restarting", "1")]), Verdict::Transient);
    assert_eq!(head(&classifier.with_code(Code::Aborted, Verdict::Failed), &[("grpc-status", "10")]), Verdict::Failed);
}

/// As some servers and most proxies send it: a head with the status, and the end of the stream in a separate frame.
#[tokio::test(start_paused = true)]
async fn deciding_head_outweighs_an_end_without_trailers() {
    let not_found_is_fine = ByCode::new().with_code(Code::NotFound, Verdict::Success);
    for (classifier, status) in [(ByCode::new(), "0"), (not_found_is_fine, "5")] {
        let layer = CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap().with_classifier(classifier);
        let callee = layer.layer(service_fn(move |_: http::Request<()>| {
            let frames = tokio_stream::iter([Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::new()))]);
            let response = Response::builder().header("grpc-status", status).body(StreamBody::new(frames)).unwrap();
            std::future::ready(Ok::<_, BoxError>(response))
        }));
        callee.oneshot(http::Request::new(())).await.unwrap().into_body().collect().await.unwrap();
        let seen = layer.handle().snapshot();
        assert_eq!((seen.calls, seen.failures), (1, 0), "{status}");
    }
}

async fn verdict_of_transport(answer: Answer) -> Verdict {
    let fault = Fault::serve(move |_| answer.clone()).await;
    let request = http::Request::post("http://callee/a.Service/Call").header("grpc-timeout", "50m");
    let request = request.body(tonic::body::Body::empty()).unwrap();
    let error: BoxError = fault.channel().oneshot(request).await.unwrap_err().into();
    Classify::<Response<tonic::body::Body>>::classify(&ByCode::new(), Err(&error))
}

#[tokio::test(start_paused = true)]
async fn transport_errors_have_their_own_verdicts() {
    assert_eq!(verdict_of_transport(Answer::Refused).await, Verdict::Unsent);
    assert_eq!(verdict_of_transport(Answer::Calm).await, Verdict::Overloaded { retry_after: None });
    assert_eq!(verdict_of_transport(Answer::Broken).await, Verdict::Lost);
    assert_eq!(verdict_of_transport(Answer::Never).await, Verdict::TimedOut, "the channel enforces the grpc-timeout");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn hostile_headers_have_a_verdict_and_never_panic(
        status in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..3),
        pushback in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..3),
        http in 100..1000_u16,
    ) {
        let mut response = response(http, &[]);
        for (name, values) in [("grpc-status", &status), ("grpc-retry-pushback-ms", &pushback)] {
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                response.headers_mut().append(name, value);
            }
        }
        let classifier = ByCode::new();
        let verdict = classifier.classify(Ok(&response));
        let at_end = classifier.at_end(verdict, Some(response.headers()));
        if response.headers().contains_key("grpc-status") {
            prop_assert_eq!(verdict, at_end, "the verdict is the same in head and trailers");
        }
        let longest = Duration::from_millis(i32::MAX as u64);
        if let Verdict::Overloaded { retry_after: Some(wait) } = verdict {
            prop_assert!(wait <= longest);
        }
    }
}

type Breaker = HealthClient<CircuitBreaker<Channel, ByCode>>;

fn breaker(fault: &Fault, minimum_calls: u32) -> (Breaker, CircuitBreakerHandle) {
    let config = CircuitBreakerConfig {
        minimum_calls,
        consecutive_failures: None,
        break_duration: Duration::from_secs(600),
        max_break: Duration::from_secs(600),
        ..CircuitBreakerConfig::default()
    };
    let layer = CircuitBreakerLayer::grpc(config).unwrap();
    let handle = layer.handle();
    (HealthClient::new(layer.layer(fault.channel())), handle)
}

/// How many of 200 calls reach the dependency before the breaker opens.
async fn calls_until_open(answer: Answer, minimum_calls: u32) -> (usize, usize) {
    let fault = Fault::serve(move |_| answer.clone()).await;
    let (mut client, handle) = breaker(&fault, minimum_calls);
    let mut refused = 0;
    for _ in 0..200 {
        let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
        match rejection_in(&status) {
            Some(rejected) => {
                assert_eq!(rejected.reason(), Reason::CircuitOpen);
                refused += 1;
            }
            None => assert_eq!(status.code(), tonic::Code::Unavailable),
        }
    }
    assert_eq!(handle.state(), State::Open);
    (fault.calls(), refused)
}

#[tokio::test(start_paused = true)]
async fn unavailable_in_trailers_opens_the_breaker() {
    let in_trailers = Answer::Body(vec![Step::Message, Step::Trailers(&[("grpc-status", "14")])]);
    assert_eq!(calls_until_open(in_trailers, 20).await, (20, 180));
    let nothing_before = Answer::Body(vec![Step::Trailers(&[("grpc-status", "14")])]);
    assert_eq!(calls_until_open(nothing_before, 20).await, (20, 180));
}

#[tokio::test(start_paused = true)]
async fn unavailable_in_heads_opens_the_breaker() {
    assert_eq!(calls_until_open(Answer::Head(&[("grpc-status", "14")]), 15).await, (15, 185));
}

#[tokio::test(start_paused = true)]
async fn proxy_errors_open_the_breaker() {
    assert_eq!(calls_until_open(Answer::Http(StatusCode::SERVICE_UNAVAILABLE), 10).await, (10, 190));
}

#[tokio::test(start_paused = true)]
async fn caller_errors_open_nothing() {
    let fault = Fault::serve(|_| Answer::Body(vec![Step::Trailers(&[("grpc-status", "5")])])).await;
    let (mut client, handle) = breaker(&fault, 10);
    for _ in 0..50 {
        let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
    assert_eq!((handle.state(), fault.calls()), (State::Closed, 50));
}

/// tonic's server ends a call at its timeout with CANCELLED, which otherwise is an act of the caller.
#[tokio::test(start_paused = true)]
async fn hang_cut_by_the_tonic_server_opens_the_breaker() {
    let listener = crate::pipes::PipeListener::bind();
    let address = listener.address();
    let server = Server::builder().timeout(Duration::from_millis(5)).add_service(HealthServer::new(Endless));
    tokio::spawn(server.serve_with_incoming(listener.into_stream()));
    let config = CircuitBreakerConfig { minimum_calls: 10, ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::grpc(config).unwrap();
    let handle = layer.handle();
    let mut client = HealthClient::new(layer.layer(channel(address)));
    for _ in 0..10 {
        let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Cancelled, "Timeout expired"));
    }
    assert_eq!(handle.state(), State::Open);
}

#[test]
fn cancelled_is_a_timeout_only_with_tonics_message() {
    let classifier = ByCode::new();
    let of = |message| head(&classifier, &[("grpc-status", "1"), ("grpc-message", message)]);
    assert_eq!((of("Timeout expired"), of("Timeout%20expired")), (Verdict::TimedOut, Verdict::TimedOut));
    assert_eq!((of("the user left"), of("")), (Verdict::CallerFault, Verdict::CallerFault));
}

/// An open stream is no success yet: it is counted when it ends, by its end.
#[tokio::test(start_paused = true)]
async fn stream_is_counted_at_its_end() {
    let fault = Fault::serve(|_| {
        Answer::Body(vec![
            Step::Message,
            Step::Wait(Duration::from_millis(5)),
            Step::Trailers(&[("grpc-status", "13")]),
        ])
    })
    .await;
    let (mut client, handle) = breaker(&fault, 10);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        streams.push(stream);
    }
    assert_eq!((handle.state(), handle.snapshot().calls), (State::Closed, 0));
    for mut stream in streams {
        assert_eq!(stream.message().await.unwrap_err().code(), tonic::Code::Internal);
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn broken_stream_is_a_failure() {
    let fault =
        Fault::serve(|_| Answer::Body(vec![Step::Message, Step::Wait(Duration::from_millis(1)), Step::Reset])).await;
    let (mut client, handle) = breaker(&fault, 10);
    for n in 0..10 {
        assert_eq!(handle.state(), State::Closed, "after {n}");
        let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        while let Ok(message) = stream.message().await {
            assert!(message.is_some(), "the stream breaks off");
        }
    }
    assert_eq!(handle.state(), State::Open);
}
