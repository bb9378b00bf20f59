//! Fallbacks for gRPC calls of a tonic client: the status is in the head or in the trailers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use seawall::deadline::DeadlineLayer;
use seawall::fallback::{self, AnsweredByFallback, FallbackConfig, FallbackLayer};
use seawall::http::MapRequestBodyLayer;
use seawall::verdict::Verdict;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{BoxError, ServiceBuilder, service_fn};

/// A message `SERVING` (1), if there is one, and this status in the trailers.
fn answer(status: &'static str, has_message: bool) -> Response<tonic::body::Body> {
    let mut frames = Vec::new();
    if has_message {
        frames.push(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    frames.push(Frame::trailers(trailers));
    let body = StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)));
    Response::builder().header("content-type", "application/grpc").body(tonic::body::Body::new(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn unavailable_in_trailers_is_answered_and_marked() {
    for (status, verdict) in [("14", Some(Verdict::Transient)), ("13", Some(Verdict::Failed)), ("5", None), ("0", None)]
    {
        let primary =
            service_fn(move |_: http::Request<_>| async move { Ok::<_, BoxError>(answer(status, status == "0")) });
        let standby = service_fn(|_: http::Request<_>| async { Ok::<_, BoxError>(answer("0", true)) });
        // The idempotent call may be sent again whatever became of the first.
        let layer = FallbackLayer::grpc(FallbackConfig::default(), fallback::grpc_service(standby)).unwrap();
        let channel = ServiceBuilder::new()
            .layer(DeadlineLayer::grpc(Duration::from_secs(1)).unwrap())
            .layer(layer)
            .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
            .service(primary);
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.extensions_mut().insert(seawall::http::Idempotent(true));
        let result = HealthClient::new(channel).check(request).await;
        match (verdict, status) {
            (Some(verdict), _) => {
                let response = result.unwrap();
                let mark = response.extensions().get::<AnsweredByFallback>().unwrap();
                assert_eq!(mark.verdict(), verdict);
                assert_eq!(response.get_ref().status, 1);
            }
            (None, "0") => assert!(result.unwrap().extensions().get::<AnsweredByFallback>().is_none()),
            (None, _) => assert_eq!(result.unwrap_err().code(), tonic::Code::NotFound, "the caller's own fault"),
        }
    }
}
