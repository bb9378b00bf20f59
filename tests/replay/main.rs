//! Requests that are retried: with the whole body, only if that is safe, and only while they can be kept.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::http::{ByMethod, ByStatus, ReplayBody};
use seawall::retry::{Backoff, BudgetConfig, Report, RetryConfig, RetryLayer, report};
use tokio::net::TcpSocket;
use tower::{BoxError, Service, ServiceExt};

#[cfg(feature = "reqwest")]
mod adapter;
mod cancellation;
mod memory;
mod model;
#[cfg(feature = "grpc")]
mod refused;
mod server;
mod takeover;
mod upload;
mod uploads;
mod verbs;

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Waits of at most a millisecond, and a budget that covers all retries of a test.
fn config() -> RetryConfig {
    let budget = BudgetConfig { reserve_burst: 1000, ..BudgetConfig::default() };
    RetryConfig { backoff: Backoff::constant(Duration::from_millis(1)), budget, ..RetryConfig::default() }
}

fn retry() -> RetryLayer<ByStatus, ByMethod> {
    RetryLayer::http(config()).expect("a valid configuration")
}

fn client<B>(protocol: Protocol) -> Client<HttpConnector, ReplayBody<B>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::Http2).build_http()
}

fn request<B>(method: Method, to: SocketAddr, body: B) -> Request<B> {
    Request::builder().method(method).uri(format!("http://{to}/upload")).body(body).expect("a request")
}

/// A port that is taken and refuses all connections.
fn not_listening() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// An address that refuses all connections, for as long as the process lives.
fn unused_address() -> SocketAddr {
    let (socket, address) = not_listening();
    std::mem::forget(socket);
    address
}

/// Makes a call through a retry layer and reads its response to the end.
async fn call<S, B, R>(service: S, request: Request<B>) -> (Result<(u16, Bytes), BoxError>, Report)
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let (response, report) = report(service.oneshot(request)).await;
    let answer = match response {
        Ok(response) => {
            let status = response.status().as_u16();
            response.into_body().collect().await.map(|body| (status, body.to_bytes())).map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    (answer, report.expect("there is a retry layer"))
}

/// Waits until the condition is true, and names it if it never is.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(300) {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the condition never came true: {what}");
}
