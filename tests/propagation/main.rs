//! What travels between processes: deadlines, attempt numbers, and "do not retry". Over connections in memory, in
//! virtual time.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod amplification;
mod attempts;
mod cancellation;
mod deadlines;
#[cfg(feature = "grpc")]
mod grpc;
mod hostile;
mod load_report;
mod priorities;

#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use seawall::deadline::DeadlineLayer;
use seawall::http::propagation::{ExtractLayer, InjectLayer, PropagationConfig};
use seawall::http::respond::RespondLayer;
use seawall::retry::{Backoff, RetryConfig, RetryLayer};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use crate::pipes::{Connector, PipeListener};

/// Far more than any test takes.
const LONG: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

type Client = BoxCloneSyncService<Request<Empty<Bytes>>, Answer, BoxError>;

/// A client that returns responses with their whole bodies.
fn whole<S, B>(client: S) -> Client
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let client = client.map_err(Into::into).and_then(|response: Response<B>| async {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Into::into)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec())? })
    });
    BoxCloneSyncService::new(client)
}

async fn get(client: &Client, address: SocketAddr) -> Result<Answer, BoxError> {
    send(client, address, &[]).await
}

async fn send(client: &Client, address: SocketAddr, headers: &[(&str, &str)]) -> Result<Answer, BoxError> {
    let mut request = Request::get(format!("http://{address}/"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.clone().oneshot(request.body(Empty::new())?).await
}

fn bare() -> Client {
    whole(HyperClient::builder(TokioExecutor::new()).build(Connector))
}

fn inject() -> InjectLayer {
    InjectLayer::http(PropagationConfig::default()).unwrap()
}

/// Propagates deadlines, and sets none.
fn injecting() -> Client {
    whole(inject().layer(HyperClient::builder(TokioExecutor::new()).build(Connector)))
}

/// Makes up to three attempts.
fn retrying(retries: RetryLayer<seawall::http::ByStatus, seawall::http::ByMethod>) -> Client {
    let stack = ServiceBuilder::new().layer(retries).layer(inject());
    whole(stack.service(HyperClient::builder(TokioExecutor::new()).build(Connector)))
}

fn retries() -> RetryConfig {
    RetryConfig { backoff: Backoff::exponential(Duration::from_millis(1), 2.0), ..RetryConfig::default() }
}

/// A tier that answers each request with `handler`.
async fn tier<T: 'static>(handler: impl Handler<T, ()>) -> SocketAddr {
    let layers = ServiceBuilder::new()
        .layer(ExtractLayer::http(PropagationConfig::default()).unwrap())
        .layer(RespondLayer::new())
        .layer(DeadlineLayer::http(LONG).unwrap());
    serve(Router::new().fallback(handler).layer(layers)).await
}

async fn serve(app: Router) -> SocketAddr {
    pipes::serve(app)
}

/// A tier that proxies the tier below it.
async fn relay(client: Client, below: SocketAddr) -> SocketAddr {
    tier(move || {
        let client = client.clone();
        async move {
            match get(&client, below).await {
                Ok(answer) => (answer.status, answer.body),
                Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
            }
        }
    })
    .await
}

/// Waits until the condition is true, with a bound for broken tests.
async fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let all = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, all).await.is_ok(), "{what}");
}

#[derive(Clone, Debug, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts its drop.
    fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Never ends, and counts its start and its drop.
fn hang(begun: &Count, dropped: &Count) -> impl Future<Output = StatusCode> + Send + use<> {
    begun.add();
    let dropped = dropped.on_drop();
    async move {
        let _dropped = dropped;
        std::future::pending().await
    }
}
