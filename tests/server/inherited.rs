//! A call that a handler makes ends at the handler's own deadline, body included.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::http::respond::RespondLayer;
use tokio::time::{Instant, timeout};
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::pipes::Connector;
use crate::serving::{Endless, Reader, serve_in_memory};

const DEADLINE: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn parked_body_is_cut_at_the_handlers_deadline() {
    let (endless, told) = Endless::new(DEADLINE / 20);
    let endless = Arc::new(Mutex::new(Some(endless)));
    let behind = serve_in_memory(Router::new().route(
        "/",
        get(move || std::future::ready(http::Response::new(Body::new(endless.lock().unwrap().take().unwrap())))),
    ))
    .await;

    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let handle = bulkhead.handle();
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::http(Duration::from_secs(60)).unwrap())
        .layer(bulkhead)
        .service(Client::builder(TokioExecutor::new()).build(Connector))
        .map_response(|response: http::Response<_>| response.map(BodyExt::boxed_unsync))
        .boxed_clone();
    // axum shares its handlers between threads.
    let client = Arc::new(Mutex::new(client));
    let aside = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&aside);
    let handler = move || {
        let (client, kept) = (client.lock().unwrap().clone(), Arc::clone(&kept));
        async move {
            let request = Request::get(format!("http://{behind}/")).body(Body::empty()).unwrap();
            let response = client.oneshot(request).await.map_err(|_: BoxError| http::StatusCode::BAD_GATEWAY)?;
            *kept.lock().unwrap() = Some(response.into_body());
            Ok::<_, http::StatusCode>("thank you")
        }
    };
    let layers = ServiceBuilder::new().layer(RespondLayer::new()).layer(DeadlineLayer::http(DEADLINE).unwrap());
    let front = serve_in_memory(Router::new().route("/", get(handler)).layer(layers)).await;

    let start = Instant::now();
    let answer = Reader::get(front, "/").await.rest().await;
    assert!(answer.ends_with(b"thank you"), "{}", String::from_utf8_lossy(&answer));
    assert!(start.elapsed() < DEADLINE && handle.in_flight() == 1);

    let at = timeout(10 * DEADLINE, told).await.expect("the body is dropped").unwrap() - start;
    assert!(at >= DEADLINE && at < DEADLINE + Duration::from_millis(100), "{at:?}");
    assert_eq!(handle.in_flight(), 0);
    let mut body = aside.lock().unwrap().take().unwrap();
    let error = loop {
        if let Err(error) = body.frame().await.unwrap() {
            break error;
        }
    };
    assert_eq!(rejection(&error).unwrap().reason(), Reason::DeadlineExceeded);
}
