//! A client stack around hyper-util's client, over connections in memory.
#![cfg(feature = "http")]

#[path = "pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::http::{ByAuthority, MapRequestBodyLayer};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, report};
use seawall::verdict::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::pipes::{Connector, PipeListener, unused_address};

type Body = UnsyncBoxBody<Bytes, BoxError>;

trait Calls: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = BoxError> {}
impl<S: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = BoxError>> Calls for S {}

fn client() -> impl Calls<Future: Send> + Clone + Send {
    let backoff = Backoff::exponential(Duration::from_millis(2), 2.0);
    let breaker = CircuitBreakerConfig { consecutive_failures: Some(3), ..CircuitBreakerConfig::default() };
    ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))
        .layer(DeadlineLayer::http(Duration::from_secs(30)).unwrap())
        .layer(RetryLayer::http(RetryConfig { backoff, ..RetryConfig::default() }).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap().with_keying(ByAuthority))
        .layer(CircuitBreakerLayer::http(breaker).unwrap().with_keying(ByAuthority))
        .service(Client::builder(TokioExecutor::new()).build(Connector))
}

/// Answers the first `failures` requests with `status`, and then echoes what it receives.
async fn server(failures: usize, status: StatusCode) -> (SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |body: String| {
        let attempt = count.fetch_add(1, Ordering::SeqCst);
        async move { if attempt < failures { (status, String::from("no")) } else { (StatusCode::OK, body) } }
    }));
    (pipes::serve(app), seen)
}

fn request(method: Method, to: SocketAddr) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(format!("http://{to}/")).body(Full::from("hello")).unwrap()
}

async fn answer(response: Result<Response<Body>, BoxError>) -> (u16, Bytes) {
    let response = response.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(start_paused = true)]
async fn idempotent_request_is_retried_with_its_body() {
    let (address, seen) = server(2, StatusCode::SERVICE_UNAVAILABLE).await;
    let (response, report) = seawall::retry::report(client().oneshot(request(Method::PUT, address))).await;
    assert_eq!(answer(response).await, (200, Bytes::from("hello")));
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    let report = report.expect("there is a retry layer");
    let failed = Verdict::Transient;
    assert_eq!((report.attempts, report.verdicts), (3, vec![failed, failed, Verdict::Success]));
}

#[tokio::test(start_paused = true)]
async fn post_is_sent_once_and_its_answer_returned() {
    let (address, seen) = server(1, StatusCode::INTERNAL_SERVER_ERROR).await;
    let (status, body) = answer(client().oneshot(request(Method::POST, address)).await).await;
    assert_eq!((status, body.as_ref(), seen.load(Ordering::SeqCst)), (500, b"no".as_ref(), 1));
}

#[tokio::test(start_paused = true)]
async fn client_error_is_returned_untouched_and_opens_nothing() {
    let (address, seen) = server(100, StatusCode::NOT_FOUND).await;
    let client = client();
    for _ in 0..50 {
        assert_eq!(answer(client.clone().oneshot(request(Method::GET, address)).await).await.0, 404);
    }
    assert_eq!(seen.load(Ordering::SeqCst), 50);
}

#[tokio::test(start_paused = true)]
async fn dead_host_is_refused_and_other_hosts_are_not() {
    let (alive, _) = server(0, StatusCode::OK).await;
    let dead = unused_address();
    let client = client();
    let mut reasons = Vec::new();
    // Unsent requests open the breaker once no call was answered for the slow threshold.
    while reasons.last() != Some(&Some(Reason::CircuitOpen)) {
        let error = client.clone().oneshot(request(Method::GET, dead)).await.unwrap_err();
        reasons.push(rejection(&error).map(|rejected| rejected.reason()));
        assert_eq!(answer(client.clone().oneshot(request(Method::GET, alive)).await).await.0, 200);
        assert!(reasons.len() < 100_000, "the dead host is still called");
    }
    assert_eq!(reasons.first(), Some(&None), "the first error is the connector's own");
}

/// A client with a fixed body type, as tonic's channel is.
#[tokio::test(start_paused = true)]
async fn client_with_a_fixed_body_type_gets_it_from_one_layer() {
    let calls = |address: SocketAddr| {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = channel.connect_with_connector_lazy(Connector);
        ServiceBuilder::new()
            .layer(RetryLayer::http(RetryConfig::default()).unwrap())
            .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
            .service(channel)
    };
    let (address, seen) = server(1, StatusCode::SERVICE_UNAVAILABLE).await;
    let answer = calls(address).oneshot(request(Method::PUT, address)).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(seen.load(Ordering::SeqCst), 2);

    let unused = unused_address();
    let (answer, report) = seawall::retry::report(calls(unused).oneshot(request(Method::POST, unused))).await;
    assert_eq!((answer.is_err(), report.unwrap().verdicts), (true, vec![Verdict::Unsent; 3]));
}

/// Malformed and extreme headers, as a broken dependency may send them, byte by byte.
#[tokio::test(start_paused = true)]
async fn malformed_retry_after_changes_no_wait() {
    let far = b"retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n";
    let huge = [b"retry-after: ".as_slice(), &[b'9'; 4000], b"\r\n"].concat();
    let answers: [(&[u8], u32); 11] = [
        (far, 1),
        (b"retry-after: 18446744073709551615\r\n", 1),
        (b"retry-after: 1\r\nretry-after: 99999\r\n", 1),
        (b"x-should-retry: false\r\n", 1),
        (b"x-should-retry: true\r\nX-Should-Retry: FALSE\r\n", 1),
        // An invalid or oversized value is ignored.
        (&huge, 3),
        (b"retry-after: \xff\xfe\r\nx-should-retry: \xff\r\n", 3),
        (b"retry-after: -1\r\n", 3),
        (b"retry-after: \r\n", 3),
        (b"retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 3),
        (b"retry-after: 0\r\n", 3),
    ];
    for (headers, attempts) in answers {
        let answer = [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n", headers, b"\r\n"].concat();
        let mut listener = PipeListener::bind();
        let address = listener.address();
        let server = tokio::spawn(async move {
            loop {
                let mut stream = listener.accept().await;
                let mut request = Vec::new();
                while !request.ends_with(b"hello") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                stream.write_all(&answer).await.unwrap();
            }
        });
        let (response, told) = report(client().oneshot(request(Method::PUT, address))).await;
        let shown = String::from_utf8_lossy(&headers[..headers.len().min(60)]);
        assert_eq!(response.unwrap().status(), 503, "{shown}");
        let told = told.expect("there is a retry");
        assert_eq!(told.attempts, attempts, "{shown}: {told:?}");
        assert!(told.elapsed < Duration::from_secs(5), "{shown}: {told:?}");
        server.abort();
    }
}
