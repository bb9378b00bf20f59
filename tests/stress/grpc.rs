//! gRPC: a tonic service with a method of each kind, and calls of a tonic client.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes};
use fastrand::Rng;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::Request;
use http::uri::PathAndQuery;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use seawall::grpc::propagation::GrpcPropagator;
use seawall::grpc::{ByCall, ByCode, ByTimeout};
use seawall::http::MapRequestBodyLayer;
use seawall::stack::{self, ClientLayer};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::counted::Bodies;
use crate::endpoints::{GrpcHedged, Hedged};
use crate::payload::{Plan, pause};
use crate::progress::{End, Failure};
use crate::setup::Call;

pub(crate) const KINDS: [&str; 5] = ["unary", "server_stream", "client_stream", "bidirectional", "trailers_only"];

pub(crate) type GrpcClientLayer = ClientLayer<ByCode, ByCall, GrpcPropagator, ByTimeout>;
type GrpcClient =
    BoxCloneSyncService<Request<tonic::body::Body>, http::Response<UnsyncBoxBody<Bytes, Failure>>, Failure>;

/// Messages are raw bytes: no Protobuf, and no Protobuf compiler.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Messages = BoxStream<'static, Result<Bytes, Status>>;
type Answer<T> = Result<tonic::Response<T>, Status>;

pub(crate) fn app() -> Router {
    fn server() -> tonic::server::Grpc<Raw> {
        tonic::server::Grpc::new(Raw)
    }
    type Request = http::Request<axum::body::Body>;
    Router::new()
        .route("/stress/unary", post(|request: Request| async { server().unary(service_fn(unary), request).await }))
        .route(
            "/stress/server_stream",
            post(|request: Request| async { server().server_streaming(service_fn(server_stream), request).await }),
        )
        .route(
            "/stress/client_stream",
            post(|request: Request| async { server().client_streaming(service_fn(client_stream), request).await }),
        )
        .route(
            "/stress/bidirectional",
            post(|request: Request| async { server().streaming(service_fn(bidirectional), request).await }),
        )
        .route(
            "/stress/trailers_only",
            post(|request: Request| async { server().unary(service_fn(trailers_only), request).await }),
        )
}

async fn unary(request: tonic::Request<Bytes>) -> Answer<Bytes> {
    pause().await;
    Ok(tonic::Response::new(request.into_inner()))
}

async fn server_stream(request: tonic::Request<Bytes>) -> Answer<Messages> {
    let mut message = request.into_inner();
    let plan = Plan { parts: message.get_u32() as usize, size: message.get_u32() as usize };
    Ok(tonic::Response::new(plan.stream().map(Ok).boxed()))
}

async fn client_stream(request: tonic::Request<Streaming<Bytes>>) -> Answer<Bytes> {
    let read = request.into_inner().try_fold(0, async |read, part| Ok(read + part.len() as u64)).await?;
    Ok(tonic::Response::new(Bytes::copy_from_slice(&read.to_be_bytes())))
}

async fn bidirectional(request: tonic::Request<Streaming<Bytes>>) -> Answer<Messages> {
    Ok(tonic::Response::new(request.into_inner().boxed()))
}

async fn trailers_only(request: tonic::Request<Bytes>) -> Answer<Bytes> {
    Err(Status::new(Code::from(i32::from(request.into_inner().get_u8())), "as asked"))
}

/// Makes clients of channels, each of which has one connection.
pub(crate) struct Clients<'a> {
    pub(crate) bodies: &'a Bodies,
}

/// A channel whose bodies are counted.
macro_rules! channel {
    ($bodies:expr, $address:expr) => {{
        let bodies = $bodies;
        let channel: Channel = Endpoint::from_shared($address).unwrap().connect_lazy();
        channel
            .map_response(move |response: http::Response<tonic::body::Body>| response.map(|body| bodies.counted(body)))
    }};
}

impl Clients<'_> {
    pub(crate) fn bare(&self, server: SocketAddr) -> Call {
        self.calls(boxed(channel!(self.bodies.clone(), format!("http://{server}"))))
    }

    pub(crate) fn with_stack(&self, server: SocketAddr, stack: &GrpcClientLayer) -> Call {
        let channel = channel!(self.bodies.clone(), format!("http://{server}"));
        self.calls(boxed(stack.service(MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel))))
    }

    pub(crate) fn balanced(&self, stack: &stack::grpc::BalancedClientLayer) -> Call {
        let bodies = self.bodies.clone();
        self.calls(boxed(stack.service(move |endpoint| {
            let channel = channel!(bodies.clone(), endpoint.address().to_owned());
            MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel)
        })))
    }

    pub(crate) fn hedged(&self, stack: &Hedged<GrpcHedged>) -> Call {
        let bodies = self.bodies.clone();
        let GrpcHedged { deadline, retry, quarantine, hedge, inject } = stack.layers.clone();
        let balance = stack.balance.service(move |endpoint| {
            let channel = channel!(bodies.clone(), endpoint.address().to_owned());
            inject.layer(MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel))
        });
        let layers = ServiceBuilder::new().layer(deadline).layer(retry).layer(quarantine).layer(hedge);
        self.calls(boxed(layers.service(balance)))
    }

    fn calls(&self, client: GrpcClient) -> Call {
        let bodies = self.bodies.clone();
        let client = client.map_request(move |request: Request<tonic::body::Body>| {
            request.map(|body| tonic::body::Body::new(bodies.counted(body)))
        });
        let client = BoxCloneSyncService::new(client);
        std::sync::Arc::new(move |kind, rng| Box::pin(call(client.clone(), kind, rng)))
    }
}

fn boxed<S, B>(client: S) -> GrpcClient
where
    S: tower::Service<Request<tonic::body::Body>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let unify = |response: http::Response<B>| response.map(|body| body.map_err(Failure::of).boxed_unsync());
    BoxCloneSyncService::new(client.map_response(unify).map_err(Failure::of))
}

async fn call(client: GrpcClient, kind: usize, mut rng: Rng) -> Result<End, Failure> {
    let (kind, plan) = (KINDS[kind], Plan::random(&mut rng));
    let mut client = tonic::client::Grpc::new(client);
    client.ready().await?;
    let path = PathAndQuery::try_from(format!("/stress/{kind}")).map_err(Failure::of)?;
    let timeout = (rng.u8(..32) == 0).then(|| Duration::from_millis(rng.u64(1..10)));
    match kind {
        "unary" => {
            let answer =
                client.unary(request(plan.part(), timeout), path, Raw).await.map_err(Failure::of)?.into_inner();
            assert_eq!(answer.len(), plan.size);
            Ok(End::Completed)
        }
        "server_stream" => {
            let asked = [plan.parts as u32, plan.size as u32].map(u32::to_be_bytes).concat();
            let answer =
                client.server_streaming(request(Bytes::from(asked), timeout), path, Raw).await.map_err(Failure::of)?;
            read(answer.into_inner(), plan, rng).await
        }
        "client_stream" => {
            let answer =
                client.client_streaming(request(plan.stream(), timeout), path, Raw).await.map_err(Failure::of)?;
            assert_eq!(answer.into_inner().get_u64(), plan.total() as u64);
            Ok(End::Completed)
        }
        "bidirectional" => {
            let answer = client.streaming(request(plan.stream(), timeout), path, Raw).await.map_err(Failure::of)?;
            read(answer.into_inner(), plan, rng).await
        }
        _ => {
            let codes = [Code::NotFound, Code::Internal, Code::Unavailable, Code::ResourceExhausted, Code::Aborted];
            let code = rng.choice(codes).unwrap_or(Code::NotFound);
            let asked = Bytes::copy_from_slice(&[code as u8]);
            match client.unary::<_, Bytes, _>(request(asked, timeout), path, Raw).await {
                Err(status) if status.code() == code => Ok(End::Completed),
                Err(status) => Err(Failure::of(status)),
                Ok(_) => panic!("a call that had to fail succeeded"),
            }
        }
    }
}

fn request<T>(message: T, timeout: Option<Duration>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// Most streams are read to their end, some are read in part, some are parked.
async fn read(mut answer: Streaming<Bytes>, plan: Plan, mut rng: Rng) -> Result<End, Failure> {
    let parts = if rng.u8(..8) == 0 { rng.usize(..=plan.parts) } else { usize::MAX };
    let (mut seen, mut read) = (0, 0);
    while seen < parts {
        let Some(message) = answer.message().await.map_err(Failure::of)? else {
            assert_eq!((seen, read), (plan.parts, plan.total()), "a stream that ended without an error is complete");
            return Ok(End::Completed);
        };
        (seen, read) = (seen + 1, read + message.len());
    }
    tokio::time::sleep(Duration::from_millis(rng.u64(..5))).await;
    Ok(End::GivenUp)
}
