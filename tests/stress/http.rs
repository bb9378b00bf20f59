//! HTTP/1.1 and HTTP/2: an axum service, and calls of hyper's client.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use fastrand::Rng;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seawall::balance::AtEndpoint;
use seawall::stack::{BalancedClientLayer, ClientLayer};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};

use crate::counted::{Bodies, Counted};
use crate::endpoints::{Hedged, HttpHedged};
use crate::payload::{Plan, pause};
use crate::progress::{End, Failure};
use crate::setup::Call;

pub(crate) const KINDS: [&str; 6] = ["whole", "stream", "upload", "late", "status", "reset"];

type RequestBody = Counted<UnsyncBoxBody<Bytes, Failure>>;
type ResponseBody = UnsyncBoxBody<Bytes, Failure>;
type HttpClient = BoxCloneSyncService<Request<RequestBody>, http::Response<ResponseBody>, Failure>;

pub(crate) fn app() -> Router {
    Router::new()
        .route(
            "/whole/{parts}/{size}",
            get(|Path((_, size)): Path<(usize, usize)>| async move { Plan { parts: 1, size }.part() }),
        )
        .route("/stream/{parts}/{size}", get(|Path((parts, size))| async move { stream(Plan { parts, size }, false) }))
        .route("/reset/{parts}/{size}", get(|Path((parts, size))| async move { stream(Plan { parts, size }, true) }))
        .route("/upload/{parts}/{size}", post(|body: axum::body::Body| async { Response::new(body) }))
        .route("/late/{parts}/{size}", get(|| tokio::time::sleep(Duration::from_millis(fastrand::u64(..8)))))
        .route(
            "/status/{status}/{size}",
            get(|Path((status, _)): Path<(u16, usize)>| async move { StatusCode::from_u16(status).unwrap() }),
        )
}

/// Ends with trailers, or with an error: then HTTP/2 resets the stream, and HTTP/1.1 closes the connection.
fn stream(plan: Plan, reset: bool) -> Response {
    let end = stream::once(async move {
        pause().await;
        match reset {
            true => Err(BoxError::from("reset")),
            false => Ok(Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from(1))]))),
        }
    });
    Response::new(axum::body::Body::new(StreamBody::new(plan.stream().map(|part| Ok(Frame::data(part))).chain(end))))
}

/// Makes clients, each with one connection pool.
pub(crate) struct Clients<'a> {
    pub(crate) http2: bool,
    pub(crate) bodies: &'a Bodies,
}

/// Repeated, because the client is generic over the body, which differs from stack to stack.
macro_rules! client {
    ($clients:expr) => {{
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http2_only($clients.http2).pool_timer(TokioTimer::new());
        let bodies = $clients.bodies.clone();
        builder.build_http().map_response(move |response: http::Response<hyper::body::Incoming>| {
            response.map(|body| bodies.counted(body))
        })
    }};
}

impl Clients<'_> {
    pub(crate) fn bare(&self, server: SocketAddr) -> Call {
        self.calls(server, boxed(client!(self)))
    }

    pub(crate) fn with_stack(&self, server: SocketAddr, stack: &ClientLayer) -> Call {
        self.calls(server, boxed(stack.service(client!(self))))
    }

    pub(crate) fn balanced(&self, stack: &BalancedClientLayer) -> Call {
        let client = client!(self);
        self.calls(NO_SERVER, boxed(stack.service(move |endpoint| AtEndpoint::new(endpoint, client.clone()))))
    }

    pub(crate) fn hedged(&self, stack: &Hedged<HttpHedged>) -> Call {
        let client = client!(self);
        let HttpHedged { deadline, retry, quarantine, hedge, inject } = stack.layers.clone();
        let balance = stack.balance.service(move |endpoint| inject.layer(AtEndpoint::new(endpoint, client.clone())));
        let layers = ServiceBuilder::new().layer(deadline).layer(retry).layer(quarantine).layer(hedge);
        self.calls(NO_SERVER, boxed(layers.service(balance)))
    }

    fn calls(&self, server: SocketAddr, client: HttpClient) -> Call {
        let bodies = self.bodies.clone();
        std::sync::Arc::new(move |kind, rng| Box::pin(call(client.clone(), server, kind, rng, bodies.clone())))
    }
}

/// The balancer sends a request to the address of an endpoint instead.
const NO_SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

fn boxed<S, B>(client: S) -> HttpClient
where
    S: tower::Service<Request<RequestBody>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let unify = |response: http::Response<B>| response.map(|body| body.map_err(Failure::of).boxed_unsync());
    BoxCloneSyncService::new(client.map_response(unify).map_err(Failure::of))
}

async fn call(
    client: HttpClient,
    server: SocketAddr,
    kind: usize,
    mut rng: Rng,
    bodies: Bodies,
) -> Result<End, Failure> {
    let (plan, kind) = (Plan::random(&mut rng), KINDS[kind]);
    let status = match kind {
        "status" => rng.choice([200, 204, 404, 429, 500, 503]).unwrap_or(200),
        _ => 200,
    };
    let parts = if kind == "status" { usize::from(status) } else { plan.parts };
    let body = match kind {
        "upload" => StreamBody::new(plan.stream().map(|part| Ok(Frame::data(part)))).boxed_unsync(),
        _ => Empty::new().map_err(|never| match never {}).boxed_unsync(),
    };
    let in_a_hurry = rng.u8(..32) == 0;
    let mut request = Request::builder()
        .method(if kind == "upload" { Method::POST } else { Method::GET })
        .uri(format!("http://{server}/{kind}/{parts}/{}", plan.size));
    if in_a_hurry {
        request = request.header("x-request-timeout-ms", rng.u64(1..10));
    }
    let response = client.oneshot(request.body(bodies.counted(body)).map_err(Failure::of)?).await?;
    if response.status().as_u16() != status {
        return Err(Failure::of(format!("{} instead of {status}", response.status())));
    }
    let mut body = response.into_body();
    // Some bodies are parked, some are read in part.
    if rng.u8(..16) == 0 {
        tokio::time::sleep(Duration::from_millis(rng.u64(..5))).await;
        return Ok(End::GivenUp);
    }
    let mut left_after = if rng.u8(..16) == 0 { rng.usize(..plan.parts) } else { usize::MAX };
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read += frame.data_ref().map_or(0, Bytes::len),
            Err(_) if kind == "reset" => return Ok(End::Completed),
            Err(error) => return Err(error),
        }
        if left_after == 0 {
            return Ok(End::GivenUp);
        }
        left_after -= 1;
    }
    let expected = match kind {
        "whole" => plan.size,
        "stream" | "upload" => plan.total(),
        _ => read,
    };
    assert!(kind != "reset", "a response that was reset ended without an error");
    assert_eq!(read, expected, "{kind}: a response that ended without an error is complete");
    Ok(End::Completed)
}
