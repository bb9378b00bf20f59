//! tower-http's layers around and inside the assembled stacks.
#![cfg(feature = "http")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::{DecompressionLayer, RequestDecompressionLayer};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{ResponseBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

const SECOND: Duration = Duration::from_secs(1);
const ID: HeaderName = HeaderName::from_static("x-request-id");

/// Layers that any service can have.
macro_rules! common {
    () => {
        ServiceBuilder::new()
            .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION]))
            .layer(SetRequestIdLayer::new(ID, MakeRequestUuid))
            .layer(TraceLayer::new_for_http())
            .layer(PropagateRequestIdLayer::new(ID))
            .layer(SetResponseHeaderLayer::overriding(header::SERVER, HeaderValue::from_static("sea")))
            .layer(ResponseBodyTimeoutLayer::new(10 * SECOND))
    };
}

/// Layers that answer by themselves, or change bodies.
macro_rules! of_a_server {
    () => {
        common!()
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, 10 * SECOND))
            .layer(CorsLayer::permissive())
            .layer(CompressionLayer::new())
            .layer(ValidateRequestHeaderLayer::accept("text/plain"))
            .layer(CatchPanicLayer::new())
            .layer(RequestBodyLimitLayer::new(1 << 20))
            .layer(RequestDecompressionLayer::new())
            .layer(MapResponseBodyLayer::new(Body::new))
    };
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "hello ".repeat(1000) }))
        .route("/old", get(|| async { axum::response::Redirect::to("/") }))
        .route("/post", post(|body: String| async move { body }))
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// Returns the head and the body of a response.
async fn ask<S, B>(client: S, request: Request<Full<Bytes>>) -> (http::response::Parts, Bytes)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let response = client.oneshot(request).await.map_err(Into::into).unwrap();
    let (head, body) = response.into_parts();
    (head, body.collect().await.map_err(Into::into).unwrap().to_bytes())
}

fn request(uri: String) -> Request<Full<Bytes>> {
    Request::get(uri).header("accept", "text/plain").header("authorization", "secret").body(Full::default()).unwrap()
}

fn bare() -> Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

#[tokio::test]
async fn layers_around_the_server_stack() {
    let stack = stack::server(&ServerConfig::default()).unwrap();
    let address = serve(routes().layer(of_a_server!().layer(stack))).await;
    let client = DecompressionLayer::new().layer(bare());
    let (head, body) = ask(client, request(format!("{address}/"))).await;
    assert_eq!((head.status, body.len()), (StatusCode::OK, 6000));
    assert!(head.headers.contains_key("x-request-id") && head.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn layers_inside_the_server_stack() {
    let app = routes().layer(of_a_server!()).layer(stack::server(&ServerConfig::default()).unwrap());
    let address = serve(app).await;
    let client = DecompressionLayer::new().layer(bare());
    let (head, body) = ask(client, request(format!("{address}/"))).await;
    assert_eq!((head.status, body.len()), (StatusCode::OK, 6000));
    assert_eq!(head.headers["server"], "sea");
}

#[tokio::test]
async fn layers_around_the_client_stack() {
    let address = serve(routes()).await;
    let stack = stack::client(&ClientConfig::default()).unwrap();
    let client = common!()
        .layer(FollowRedirectLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, 10 * SECOND))
        .layer(stack)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let (head, body) = ask(client, request(format!("{address}/old"))).await;
    assert_eq!((head.status, body.len()), (StatusCode::OK, 6000));
}

#[tokio::test]
async fn layers_inside_the_client_stack() {
    let address = serve(routes().layer(CompressionLayer::new())).await;
    let client = stack::client(&ClientConfig::default()).unwrap().layer(
        common!()
            .layer(FollowRedirectLayer::new())
            .layer(DecompressionLayer::new())
            .service(Client::builder(TokioExecutor::new()).build_http()),
    );
    let (head, body) = ask(client, request(format!("{address}/old"))).await;
    assert_eq!((head.status, body.len()), (StatusCode::OK, 6000));
}

/// A layer around the stack that answers by itself sends an empty body.
#[tokio::test]
async fn layer_that_answers_by_itself_sends_an_empty_body() {
    let layers = ServiceBuilder::new()
        .layer(ValidateRequestHeaderLayer::accept("image/png"))
        .layer(CorsLayer::permissive())
        .layer(stack::server(&ServerConfig::default()).unwrap());
    let address = serve(routes().layer(layers)).await;
    let (head, body) = ask(bare(), request(format!("{address}/"))).await;
    assert_eq!((head.status, body.len()), (StatusCode::NOT_ACCEPTABLE, 0));
}

#[cfg(feature = "grpc")]
#[test]
fn layers_around_the_grpc_stacks() {
    fn is_service<S: Service<Request<tonic::body::Body>>>(_: &S) {}
    let (_, health) = tonic_health::server::health_reporter();
    let server = ServiceBuilder::new()
        .layer(TraceLayer::new_for_grpc())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, SECOND))
        .layer(stack::grpc::server(&ServerConfig::default()).unwrap())
        .service(tonic::service::Routes::new(health).prepare());
    is_service(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let channel = tonic::transport::Endpoint::from_static("http://[::1]:50051").connect_lazy();
    let client = ServiceBuilder::new()
        .layer(TraceLayer::new_for_grpc())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, SECOND))
        .layer(stack::grpc::client(&ClientConfig::default()).unwrap())
        .layer(seawall::http::MapRequestBodyLayer::new(tonic::body::Body::new))
        .service(channel);
    is_service(&client);
}
