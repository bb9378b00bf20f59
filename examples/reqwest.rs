//! `reqwest::Client` with its layers: a streamed upload is retried after a transient failure of the server.
//!
//! The example brings its own server, and fails if its output is not as expected.
//!
//! ```console
//! cargo run --example reqwest --features reqwest
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::http::reqwest::ReqwestService;
use seawall::retry::{RetryConfig, RetryLayer, report};
use tokio::net::TcpListener;
use tower::{BoxError, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = server().await?;
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::http(Duration::from_secs(2))?)
        .layer(RetryLayer::http(RetryConfig::default())?)
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default())?)
        // Timeouts, redirects and headers of the client stay as they are set.
        .service(ReqwestService::new(reqwest::Client::builder().no_proxy().build()?));

    // A stream can be read once only. The layer keeps what has passed, so that a retry can replay it.
    let chunks = ["one ", "two ", "three"].map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
    let upload = StreamBody::new(futures::stream::iter(chunks));
    let (answer, told) = report(client.oneshot(Request::put(format!("http://{server}/")).body(upload)?)).await;

    let answer = answer?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let told = told.ok_or("there is a retry layer")?;
    println!("{status} after {} attempts, {:?}: {body:?}", told.attempts, told.verdicts);
    assert_eq!((status, told.attempts, &body[..]), (StatusCode::OK, 2, &b"one two three"[..]));
    Ok(())
}

/// Refuses the first request, and echoes the others.
async fn server() -> std::io::Result<SocketAddr> {
    let requests = Arc::new(AtomicU32::new(0));
    let answer =
        async |State(requests): State<Arc<AtomicU32>>, body: String| match requests.fetch_add(1, Ordering::SeqCst) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            _ => (StatusCode::OK, body),
        };
    let app = Router::new().route("/", put(answer)).with_state(requests);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
