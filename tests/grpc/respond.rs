//! Refusals and failures become statuses that any gRPC client can read.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection, rejection_in};
use seawall::http::respond::RespondLayer;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_types::StatusExt;
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};

use crate::fault::{Answer, Fault, channel};

/// Serves tonic-health behind a layer; the layer that answers refusals is outermost.
macro_rules! serve {
    ($service:expr, $layer:expr) => {{
        let listener = crate::pipes::PipeListener::bind();
        let address = listener.address();
        let layers = tower::ServiceBuilder::new().layer(seawall::http::respond::RespondLayer::grpc()).layer($layer);
        let server = tonic::transport::Server::builder().layer(layers).add_service($service);
        tokio::spawn(async move { server.serve_with_incoming(listener.into_stream()).await });
        address
    }};
}

pub(crate) use serve;

/// Never answers the one method, and answers the other with an endless stream.
pub(crate) struct Endless;

#[tonic::async_trait]
impl Health for Endless {
    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        std::future::pending().await
    }

    type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        use tokio_stream::StreamExt as _;

        let first = tokio_stream::once(Ok(HealthCheckResponse { status: 1 }));
        Ok(tonic::Response::new(Box::pin(first.chain(tokio_stream::pending()))))
    }
}

async fn check(address: SocketAddr) -> Result<tonic::Response<HealthCheckResponse>, Status> {
    HealthClient::new(channel(address)).check(HealthCheckRequest::default()).await
}

fn reason(status: &Status) -> (String, String, String) {
    let info = status.get_details_error_info().expect("there is an ErrorInfo");
    (info.reason, info.domain, info.metadata.get("layer").cloned().unwrap_or_default())
}

fn pushback(status: &Status) -> Option<u64> {
    status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().unwrap().parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn call_past_its_deadline_is_deadline_exceeded() {
    let address = serve!(HealthServer::new(Endless), DeadlineLayer::new(Duration::from_millis(20)).unwrap());
    let status = check(address).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "deadline_exceeded");
    assert_eq!(reason(&status), ("DEADLINE_EXCEEDED".into(), "seawall".into(), "deadline".into()));
    assert!(pushback(&status).is_none() && status.get_details_retry_info().is_none());
}

#[tokio::test(start_paused = true)]
async fn call_without_time_is_refused_before_the_handler_runs() {
    let handler =
        service_fn(|_: Request<()>| async { unreachable!("the handler runs") as Result<Response<String>, BoxError> });
    let mut service = DeadlineLayer::grpc(Duration::from_secs(1)).unwrap().layer(handler);
    let request = Request::builder().header("grpc-timeout", "0n").body(()).unwrap();
    let error = service.call(request).await.map(drop).unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExpired));
}

#[tokio::test(start_paused = true)]
async fn exhausted_rate_is_resource_exhausted_with_retry_delay() {
    let limit = RateLimitConfig { permits: 1, per: Duration::from_secs(60), ..RateLimitConfig::default() };
    let (_, health) = tonic_health::server::health_reporter();
    let address = serve!(health, RateLimitLayer::new(limit).unwrap());
    assert!(check(address).await.is_ok());
    let status = check(address).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), ("RATE_LIMITED".into(), "seawall".into(), "rate_limit".into()));
    let millis = pushback(&status).expect("a pushback");
    assert!((50_000..=60_000).contains(&millis), "{millis}");
    let delay =
        status.get_details_retry_info().and_then(|info| info.retry_delay).expect("the same wait in a RetryInfo");
    assert!(delay <= Duration::from_millis(millis) && delay + Duration::from_millis(2) > Duration::from_millis(millis));
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_unavailable() {
    let config = BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..BulkheadConfig::default() };
    let layer = BulkheadLayer::new(config).unwrap();
    let handle = layer.handle();
    let address = serve!(HealthServer::new(Endless), layer);
    let first = tokio::spawn(check(address));
    assert!(crate::fault::comes_true(|| handle.in_flight() == 1).await);
    let status = check(address).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status), ("QUEUE_FULL".into(), "seawall".into(), "bulkhead".into()));
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_internal_without_their_text() {
    let failing =
        service_fn(|_: Request<()>| async { Err::<Response<String>, BoxError>("the password is 1234".into()) });
    let response = RespondLayer::grpc().layer(failing).call(Request::new(())).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    assert_eq!(
        (&response.headers()["grpc-status"], &response.headers()["grpc-message"]),
        (&"13".parse().unwrap(), &"internal error".parse().unwrap())
    );
    assert!(!format!("{response:?}").contains("1234"));
    assert!(http_body::Body::is_end_stream(response.body()), "trailers-only");
}

#[tokio::test(start_paused = true)]
async fn failed_body_ends_with_a_status() {
    use http_body::Frame;

    let service = service_fn(|_: Request<()>| async {
        let frames = [
            Ok(Frame::data(Bytes::from("half"))),
            Err::<_, BoxError>("lost in the cellar".into()),
            Ok(Frame::data(Bytes::from("more"))),
        ];
        let body = http_body_util::StreamBody::new(tokio_stream::iter(frames));
        Ok::<_, BoxError>(Response::builder().header("content-type", "application/grpc+proto").body(body).unwrap())
    });
    let mut body = RespondLayer::grpc().layer(service).call(Request::new(())).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "13");
    assert!(body.frame().await.is_none(), "the body has ended");
}

/// A reader that does not read gRPC trailers would take it for complete; over HTTP/1.1 trailers are not even sent.
#[tokio::test(start_paused = true)]
async fn truncated_response_that_is_not_grpc_ends_with_an_error() {
    let app = axum::Router::new().fallback(|| async {
        use tokio_stream::StreamExt as _;

        let beginning = tokio_stream::once(Ok::<_, BoxError>("half"));
        axum::body::Body::from_stream(beginning.chain(tokio_stream::pending()))
    });
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::grpc())
        .layer(DeadlineLayer::grpc(Duration::from_millis(20)).unwrap());
    let address = crate::pipes::serve(app.layer(layers));
    for only_http2 in [false, true] {
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(only_http2)
            .build::<_, String>(crate::pipes::Connector);
        let mut body = client.get(format!("http://{address}/").parse().unwrap()).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        assert!(body.frame().await.unwrap().is_err(), "the cut is an error");
    }
}

#[tokio::test(start_paused = true)]
async fn connection_refused_is_unavailable() {
    let status = HealthClient::new(RespondLayer::grpc().layer(channel(crate::pipes::unused_address())))
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the dependency was not reached"));
}

#[tokio::test(start_paused = true)]
async fn service_that_fails_to_become_ready_is_answered() {
    #[derive(Clone)]
    struct Broken;
    impl Service<()> for Broken {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("closed".into()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("the service is never ready")
        }
    }
    let response = tower::ServiceExt::oneshot(RespondLayer::grpc().layer(Broken), ()).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "13");
}

#[tokio::test(start_paused = true)]
async fn refusal_inside_a_client_is_the_source_of_the_status() {
    let fault = Fault::serve(|_| Answer::Never).await;
    let stack = DeadlineLayer::new(Duration::from_millis(50)).unwrap().layer(fault.channel());
    let status = HealthClient::new(stack).check(HealthCheckRequest::default()).await.unwrap_err();
    let rejected = rejection_in(&status).expect("the refusal is the source");
    assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn outermost_respond_layer_of_a_client_sets_the_code() {
    let fault = Fault::serve(|_| Answer::Never).await;
    let stack = ServiceBuilder::new()
        .layer(RespondLayer::grpc())
        .layer(DeadlineLayer::new(Duration::from_millis(50)).unwrap())
        .service(fault.channel());
    let status = HealthClient::new(stack).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status).2, "deadline");
}
