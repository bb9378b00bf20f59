//! Requests that are too large, and requests that are expensive, in front of a service of few permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::http::respond::RespondLayer;
use seawall::registry::Registry;
use seawall::stack::{self, ServerConfig};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::limit::RequestBodyLimitLayer;

const LIMIT: usize = 1 << 10;

/// The permits in use of the shedder.
fn in_flight(registry: &Registry) -> u64 {
    let snapshot = registry.snapshot();
    let shed = snapshot.components.iter().find(|component| component.layer == "load_shed");
    serde_json::to_value(shed.expect("a shedder")).expect("JSON")["condition"]["load_shed"]["in_flight"]
        .as_u64()
        .expect("a number")
}

/// A service of one permit behind a bound on bodies. Its handler waits for `gate`.
fn app(registry: &Registry, gate: &Arc<tokio::sync::Semaphore>) -> Router {
    let mut config = ServerConfig::default();
    config.load_shed.max_in_flight = 1;
    let layers = stack::server(&config).unwrap().named_in(registry, "inbound").unwrap();
    let wait = |State(gate): State<Arc<tokio::sync::Semaphore>>, body: Bytes| async move {
        drop(gate.acquire().await);
        body.len().to_string()
    };
    let bounded = ServiceBuilder::new().layer(RequestBodyLimitLayer::new(LIMIT)).layer(layers);
    Router::new().route("/", post(wait)).with_state(Arc::clone(gate)).layer(bounded)
}

fn sized(bytes: usize) -> Request<axum::body::Body> {
    Request::post("/").header(CONTENT_LENGTH, bytes).body(axum::body::Body::from(vec![0; bytes])).unwrap()
}

#[tokio::test]
async fn oversized_request_is_refused_at_once_though_all_permits_are_taken() {
    let (registry, gate) = (Registry::new(), Arc::new(tokio::sync::Semaphore::new(0)));
    let app = app(&registry, &gate);
    let served = tokio::spawn(app.clone().oneshot(sized(LIMIT)));
    while in_flight(&registry) == 0 {
        tokio::task::yield_now().await;
    }
    let refused = app.clone().oneshot(sized(LIMIT + 1)).await.unwrap();
    assert_eq!((refused.status(), in_flight(&registry)), (StatusCode::PAYLOAD_TOO_LARGE, 1));
    gate.add_permits(1);
    assert_eq!(served.await.unwrap().unwrap().status(), StatusCode::OK);
}

/// Its length is not known before.
#[tokio::test]
async fn oversized_stream_is_cut_and_holds_nothing() {
    let (registry, gate) = (Registry::new(), Arc::new(tokio::sync::Semaphore::new(1)));
    let app = app(&registry, &gate);
    let read = Arc::new(AtomicUsize::new(0));
    let frames = futures::stream::repeat_with({
        let read = Arc::clone(&read);
        move || {
            read.fetch_add(100, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 100])))
        }
    });
    let request = Request::post("/").body(axum::body::Body::new(StreamBody::new(frames))).unwrap();
    let answer = app.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(read.load(Ordering::Relaxed) <= LIMIT + 200, "it is not read on");
    drop(answer);
    assert_eq!(in_flight(&registry), 0);
    assert_eq!(app.oneshot(sized(1)).await.unwrap().status(), StatusCode::OK, "the next one is served");
}

/// Each takes a permit for each kilobyte: a large one leaves the others theirs.
#[tokio::test]
async fn expensive_request_takes_its_share_and_no_more() {
    let config = BulkheadConfig { max_concurrent: 10, max_waiting: 0, ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::new(config).unwrap().weighed_by(|request: &Request<axum::body::Body>| {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map_or(10, |bytes: u64| u32::try_from(bytes.div_ceil(1000)).unwrap_or(u32::MAX).clamp(1, 8))
    });
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let wait = |State(gate): State<Arc<tokio::sync::Semaphore>>, _: Bytes| async move { drop(gate.acquire().await) };
    let layers = ServiceBuilder::new().layer(RespondLayer::new()).layer(bulkhead);
    let app = Router::new().route("/", post(wait)).with_state(Arc::clone(&gate)).layer(layers);
    let large = tokio::spawn(app.clone().oneshot(sized(1_000_000)));
    tokio::task::yield_now().await;
    let quick = [0, 1].map(|_| tokio::spawn(app.clone().oneshot(sized(10))));
    tokio::task::yield_now().await;
    let refused = app.clone().oneshot(sized(10)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "8 + 1 + 1 permits are taken");
    gate.add_permits(1);
    assert_eq!(large.await.unwrap().unwrap().status(), StatusCode::OK);
    for quick in quick {
        assert_eq!(quick.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}
