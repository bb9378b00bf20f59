//! A hyper-util client with its layers. It calls a service that fails for a while, and a host that does not exist.
//!
//! The example brings its own flaky server, prints the outcome of each call, and fails if the outcome differs from the
//! comments below.
//!
//! ```console
//! cargo run --example client
//! ```

#![allow(clippy::disallowed_methods, reason = "an example sleeps as users do")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::http::{ByAuthority, ByMethod};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, Stop, report};
use tokio::net::TcpListener;
use tower::{BoxError, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let flaky = flaky_server().await?;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;

    let backoff = Backoff::exponential(Duration::from_millis(10), 2.0);
    let breaker = CircuitBreakerConfig { consecutive_failures: Some(4), ..CircuitBreakerConfig::default() };
    let client = ServiceBuilder::new()
        // The deadline bounds everything below, the response body included.
        .layer(DeadlineLayer::http(Duration::from_secs(2))?)
        // Uploads stream. The layer keeps what has passed, up to this size, so that a retry can replay it.
        .layer(
            RetryLayer::http(RetryConfig { backoff, ..RetryConfig::default() })?
                .with_replay(ByMethod::default().with_max_body(1024 * 1024)),
        )
        // One state for each host: a dead host must not affect the other hosts behind the same client.
        .layer(BulkheadLayer::http(BulkheadConfig::default())?.with_keying(ByAuthority))
        .layer(CircuitBreakerLayer::http(breaker)?.with_keying(ByAuthority))
        .service(Client::builder(TokioExecutor::new()).build_http());

    // Idempotent: refused once, its connection lost once, and answered at the third attempt.
    let request = Request::builder().method(Method::PUT).uri(format!("http://{flaky}/flaky"));
    let request = request.body(Full::<Bytes>::from("a report of the day"))?;
    let (answer, told) = report(client.clone().oneshot(request)).await;
    let answer = answer?;
    let (status, told) = (answer.status(), told.ok_or("there is a retry layer")?);
    let body = answer.into_body().collect().await?.to_bytes();
    println!("PUT  /flaky: {status}, attempts {}, {:?}: {body:?}", told.attempts, told.verdicts);
    assert_eq!((status, told.attempts, &body[..]), (StatusCode::OK, 3, &b"a report of the day"[..]));

    // Not idempotent, and the server may have executed it: the real answer is returned at once.
    let request = Request::post(format!("http://{flaky}/broken")).body(Full::<Bytes>::from("pay 5"))?;
    let (answer, told) = report(client.clone().oneshot(request)).await;
    let (status, told) = (answer?.status(), told.ok_or("there is a retry layer")?);
    println!("POST /broken: {status}, attempts {}, stopped: {}", told.attempts, told.stopped.as_str());
    assert_eq!((status, told.stopped), (StatusCode::INTERNAL_SERVER_ERROR, Stop::NotRepeatable));

    // Nothing listens there and nothing was sent, so even a POST is retried. After half a second without an answer the
    // breaker of this host opens.
    for call in 1.. {
        let request = Request::post(format!("http://{nobody}/")).body(Full::<Bytes>::from("pay 5"))?;
        let (answer, told) = report(client.clone().oneshot(request)).await;
        let error: BoxError = answer.err().ok_or("somebody answered")?;
        let refused = rejection(&error).map(|rejected| rejected.reason());
        let attempts = told.map_or(0, |told| told.attempts);
        if call == 1 || refused.is_some() {
            let why = refused.map_or("connection refused", Reason::as_str);
            println!("POST to a dead host, call {call}: attempts {attempts}, {why}");
        }
        if refused.is_some() {
            assert_eq!(refused, Some(Reason::CircuitOpen));
            break;
        }
        assert!(call < 1000, "the breaker stays closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // The breaker of the other host stays closed.
    let request = Request::get(format!("http://{flaky}/fine")).body(Full::<Bytes>::default())?;
    let status = client.oneshot(request).await?.status();
    println!("GET  /fine: {status}");
    assert_eq!(status, StatusCode::OK);
    Ok(())
}

/// `/flaky` refuses the first request and drops the connection of the second; `/broken` fails; other paths succeed.
async fn flaky_server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await });
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    static FLAKY: AtomicU32 = AtomicU32::new(0);
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let status = match path.as_str() {
        "/flaky" => match FLAKY.fetch_add(1, Ordering::SeqCst) {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            1 => return Err("hangs up".into()),
            _ => StatusCode::OK,
        },
        "/broken" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    Ok(Response::builder().status(status).body(Full::new(body))?)
}
