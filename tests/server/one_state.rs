//! A layer value has one state, however often axum applies it and however the router is served.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt};

use crate::serving::{Reader, serve, until};

const ROUTES: usize = 10;
/// Far more than a test takes, however busy the machine is.
const LONG: Duration = Duration::from_secs(600);

/// Many routes whose handlers run until they are told to stop, with two permits for all routes.
fn two_at_once() -> (Router, PermitsHandle, PermitsHandle, Arc<Notify>) {
    let config = LoadShedConfig { max_in_flight: 2, queue_ratio: 0.0, max_wait: LONG, ..LoadShedConfig::default() };
    let shed = LoadShedLayer::http(config).unwrap();
    let bulkhead = BulkheadLayer::http(BulkheadConfig { max_concurrent: 5, ..BulkheadConfig::default() }).unwrap();
    let handles = (shed.handle(), bulkhead.handle());
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(DeadlineLayer::http(LONG).unwrap())
        .layer(shed)
        .layer(bulkhead);
    let stop = Arc::new(Notify::new());
    let app = (0..ROUTES).fold(Router::new(), |app, n| {
        let stop = Arc::clone(&stop);
        app.route(
            &format!("/{n}"),
            get(move || async move {
                stop.notified().await;
                "well"
            }),
        )
    });
    (app.layer(layers), handles.0, handles.1, stop)
}

fn status(answer: &[u8]) -> &str {
    std::str::from_utf8(&answer[9..12]).unwrap()
}

#[tokio::test]
async fn many_routes_served_by_axum_have_one_state() {
    let (app, shed, bulkhead, stop) = two_at_once();
    let address = serve(app).await;
    let served = [Reader::get(address, "/0").await, Reader::get(address, "/1").await];
    until(|| shed.in_flight() == 2).await;
    // The queue has one place. Every further call is refused, on any route.
    let waiting = Reader::get(address, "/2").await;
    until(|| shed.waiting() == 1).await;
    for n in 3..ROUTES {
        let answer = Reader::get(address, &format!("/{n}")).await.rest().await;
        assert_eq!(status(&answer), "503", "route {n}");
    }
    assert_eq!(bulkhead.in_flight(), 2);
    stop.notify_waiters();
    for reader in served {
        assert_eq!(status(&reader.rest().await), "200");
    }
    until(|| shed.waiting() == 0).await;
    stop.notify_one();
    assert_eq!(status(&waiting.rest().await), "200");
    until(|| shed.in_flight() == 0 && bulkhead.in_flight() == 0).await;
}

/// A router that is served without a make-service applies its layers anew for each request.
#[tokio::test]
async fn bare_router_served_by_hyper_has_one_state() {
    let (app, shed, bulkhead, stop) = two_at_once();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let app = app.clone();
            let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                app.clone().oneshot(request.map(Body::new))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    let served = [Reader::get(address, "/0").await, Reader::get(address, "/1").await];
    until(|| shed.in_flight() == 2).await;
    let waiting = Reader::get(address, "/2").await;
    until(|| shed.waiting() == 1).await;
    assert_eq!(status(&Reader::get(address, "/9").await.rest().await), "503");
    stop.notify_waiters();
    for reader in served {
        assert_eq!(status(&reader.rest().await), "200");
    }
    drop(waiting);
    until(|| shed.in_flight() == 0 && shed.waiting() == 0 && bulkhead.in_flight() == 0).await;
}

#[tokio::test]
async fn unread_body_holds_a_bulkhead_permit_but_no_shed_permit() {
    let (app, shed, bulkhead, stop) = two_at_once();
    let mut unread = Vec::new();
    for n in 0..5 {
        stop.notify_one();
        let request = Request::get(format!("/{n}")).body(Body::empty()).unwrap();
        unread.push(app.clone().oneshot(request).await.unwrap());
        assert_eq!((shed.in_flight(), bulkhead.in_flight()), (0, n + 1));
    }
    assert!(unread.iter().all(|response| response.status() == 200));
    for response in unread.drain(..) {
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "well");
    }
    assert_eq!(bulkhead.in_flight(), 0);
}
