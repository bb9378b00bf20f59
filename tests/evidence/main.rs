//! Which evidence the end of a call gives, row by row of the table in `src/evidence.md`. Rows about protocols use
//! stacks over connections in memory and virtual time, or real sockets.
#![cfg(all(feature = "http", feature = "grpc"))]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod deadlines;
mod given_up;
mod optional;
mod stalls;
mod tiers;
mod unsent;
mod uploads;
mod verdicts;

#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use seawall::http::{MapRequestBody, MapRequestBodyLayer, ReplayBody};
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{BoxError, Layer, ServiceExt};

use crate::pipes::{Connector, PipeListener};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type HttpClient = stack::Client<legacy::Client<Connector, ReplayBody<Full<Bytes>>>>;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An axum service behind the server stack, in memory.
fn serve(app: Router) -> SocketAddr {
    pipes::serve(app.layer(stack::server(&ServerConfig::default()).unwrap()))
}

/// Connects to listeners in memory and to sockets.
fn http_client(config: &ClientConfig) -> (HttpClient, stack::ClientLayer) {
    let layers = stack::client(config).unwrap();
    let client = layers.service(legacy::Client::builder(TokioExecutor::new()).build(Connector));
    (client, layers)
}

/// One call, with its response read to the end.
async fn get(client: &HttpClient, to: SocketAddr) -> Result<StatusCode, BoxError> {
    let request = Request::get(format!("http://{to}/")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

type GrpcClient = HealthClient<
    stack::Client<
        MapRequestBody<Channel, fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body>,
        seawall::grpc::ByCode,
        seawall::grpc::ByCall,
        seawall::grpc::propagation::GrpcPropagator,
        seawall::grpc::ByTimeout,
    >,
>;
type GrpcLayers = stack::ClientLayer<
    seawall::grpc::ByCode,
    seawall::grpc::ByCall,
    seawall::grpc::propagation::GrpcPropagator,
    seawall::grpc::ByTimeout,
>;

fn grpc_client(config: &ClientConfig, to: SocketAddr) -> (GrpcClient, GrpcLayers) {
    let layers = stack::grpc::client(config).unwrap();
    let channel = Endpoint::from_shared(format!("http://{to}")).unwrap().connect_with_connector_lazy(Connector);
    let mapped: fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body = tonic::body::Body::new;
    (HealthClient::new(layers.service(MapRequestBodyLayer::new(mapped).layer(channel))), layers)
}

/// A tonic service behind the server stack, in memory.
fn serve_grpc(service: impl Health) -> SocketAddr {
    let mut listener = PipeListener::bind();
    let address = listener.address();
    let layers = stack::grpc::server(&ServerConfig::default()).unwrap();
    let service = layers.service(tonic::service::Routes::new(HealthServer::new(service)).prepare());
    let service = hyper_util::service::TowerToHyperService::new(service);
    tokio::spawn(async move {
        loop {
            let socket = listener.accept().await;
            let service = service.clone();
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(hyper_util::rt::TokioIo::new(socket), service));
        }
    });
    address
}

/// Answers a health check by a closure.
struct Answering<F>(F);

#[tonic::async_trait]
impl<F, A> Health for Answering<F>
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Status>> + Send,
{
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        (self.0)().await?;
        Ok(tonic::Response::new(HealthCheckResponse::default()))
    }

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no streams here"))
    }
}

async fn check(client: &GrpcClient) -> Result<(), Status> {
    client.clone().check(HealthCheckRequest::default()).await.map(drop)
}

/// A response with no body.
fn answer(status: u16, headers: &[(&str, &str)]) -> Response<String> {
    let response = Response::builder().status(status);
    headers.iter().fold(response, |response, (name, value)| response.header(*name, *value)).body(String::new()).unwrap()
}
