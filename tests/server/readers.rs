//! Slow readers and long streams: the work has one deadline, and the reading of its result has another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http::Response;
use hyper_util::rt::TokioIo;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::http::LongLived;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer, PermitsHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceBuilder;

use crate::pipes::connect;
use crate::serving::{Endless, Reader, serve_in_memory, until};

const DEADLINE: Duration = Duration::from_millis(100);
const BODY: Duration = Duration::from_millis(400);
const LONG: usize = 16 << 20;

type Dropped = Arc<Mutex<Vec<oneshot::Receiver<Instant>>>>;

/// A service that works for a tenth of a second at most. Its responses may be read for longer.
fn app() -> (Router, PermitsHandle, Dropped) {
    app_with(BODY)
}

fn app_with(body_timeout: Duration) -> (Router, PermitsHandle, Dropped) {
    let shed = LoadShedLayer::http(LoadShedConfig { max_in_flight: 1, ..LoadShedConfig::default() }).unwrap();
    let handle = shed.handle();
    let config = DeadlineConfig { timeout: DEADLINE, body_timeout: Some(body_timeout), ..DeadlineConfig::default() };
    let layers =
        ServiceBuilder::new().layer(RespondLayer::new()).layer(DeadlineLayer::http(config).unwrap()).layer(shed);
    let dropped = Dropped::default();
    let endless = |every: Duration, lives: Option<Duration>| {
        let dropped = Arc::clone(&dropped);
        get(move || {
            let (body, told) = Endless::new(every);
            dropped.lock().unwrap().push(told);
            let mut response = Response::new(Body::new(body));
            if let Some(lives) = lives {
                response.extensions_mut().insert(LongLived::new(lives));
            }
            std::future::ready(response)
        })
    };
    let app = Router::new()
        .route("/slow", get(|| async { sleep(10 * DEADLINE).await }))
        .route("/long", get(|| async { vec![b'x'; LONG] }))
        .route("/endless", endless(Duration::ZERO, None))
        .route("/events", endless(DEADLINE / 5, None))
        .route("/live", endless(DEADLINE / 5, Some(3 * BODY)))
        .layer(layers);
    (app, handle, dropped)
}

#[tokio::test(start_paused = true)]
async fn slow_work_is_answered_at_the_deadline() {
    let (app, ..) = app();
    let address = serve_in_memory(app).await;
    let start = Instant::now();
    let answer = Reader::get(address, "/slow").await.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 504"), "{}", String::from_utf8_lossy(&answer));
    assert!(start.elapsed() < 2 * DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn slow_reader_may_exceed_the_deadline_of_the_work() {
    let (app, handle, _) = app_with(100 * BODY);
    let mut reader = Reader::get(serve_in_memory(app).await, "/long").await;
    // Reads a part now and then until well after the deadline, and then the rest.
    let mut bytes = 0;
    for _ in 0..5 {
        bytes += reader.read(16 * 1024).await;
        sleep(DEADLINE / 2).await;
        assert_eq!(handle.in_flight(), 0, "the work has ended");
    }
    bytes += reader.rest().await.len();
    assert!(bytes > LONG, "head and body: {bytes}");
}

#[tokio::test(start_paused = true)]
async fn stalled_readers_hold_no_permit_and_are_cut() {
    let (app, handle, dropped) = app();
    let address = serve_in_memory(app).await;
    let start = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..20 {
        // There is one permit, and each reader gets its head.
        let mut reader = Reader::get(address, "/endless").await;
        assert!(reader.read(1024).await > 0);
        readers.push(reader);
    }
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    let dropped = std::mem::take(&mut *dropped.lock().unwrap());
    for told in dropped {
        let at = timeout(20 * BODY, told).await.expect("the body is cut").unwrap();
        assert!(at >= start + BODY && at < start + 10 * BODY, "cut after {:?}", at - start);
    }
    for reader in readers {
        let rest = timeout(20 * BODY, reader.rest()).await.expect("the connection is closed");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a truncated response must not look complete");
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_of_the_reader_drops_the_body() {
    let (app, _, dropped) = app();
    let mut reader = Reader::get(serve_in_memory(app).await, "/events").await;
    assert!(reader.read(1024).await > 0);
    let told = dropped.lock().unwrap().pop().unwrap();
    let left = Instant::now();
    drop(reader);
    let at = timeout(BODY, told).await.expect("the body is dropped").unwrap();
    assert!(at < left + DEADLINE, "hyper notices when it next writes: {:?}", at - left);
}

#[tokio::test(start_paused = true)]
async fn unmarked_stream_ends_at_the_body_timeout() {
    let (app, _, dropped) = app();
    let start = Instant::now();
    let reader = Reader::get(serve_in_memory(app).await, "/events").await;
    timeout(4 * BODY, reader.rest()).await.expect("the connection is closed");
    let told = dropped.lock().unwrap().pop().unwrap();
    let at = told.await.unwrap() - start;
    assert!(at >= BODY && at < 2 * BODY, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn long_lived_stream_lasts_for_its_own_timeout() {
    let (app, handle, dropped) = app();
    let start = Instant::now();
    let reader = Reader::get(serve_in_memory(app).await, "/live").await;
    let reading = tokio::spawn(reader.rest());
    until(|| start.elapsed() > 2 * DEADLINE).await;
    assert_eq!(handle.in_flight(), 0);
    timeout(6 * BODY, reading).await.expect("the connection is closed").unwrap();
    let told = dropped.lock().unwrap().pop().unwrap();
    let at = told.await.unwrap() - start;
    assert!(at >= 3 * BODY && at < 4 * BODY, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn upgraded_connection_outlives_all_deadlines() {
    let shed = LoadShedLayer::http(LoadShedConfig { max_in_flight: 1, ..LoadShedConfig::default() }).unwrap();
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let handles = (shed.handle(), bulkhead.handle());
    let config = DeadlineConfig { timeout: DEADLINE, body_timeout: Some(DEADLINE), ..DeadlineConfig::default() };
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(DeadlineLayer::http(config).unwrap())
        .layer(shed)
        .layer(bulkhead);
    let handler = |mut request: Request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut read, &mut write).await
        });
        let switching = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        switching.body(Body::empty()).unwrap()
    };
    let address = serve_in_memory(Router::new().route("/", get(handler)).layer(layers)).await;
    let mut stream = connect(address, |_| Ok(())).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: server\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    for _ in 0..6 {
        sleep(DEADLINE / 2).await;
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!((&echo, handles.0.in_flight(), handles.1.in_flight()), (b"hello", 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn body_without_body_timeout_ends_at_the_deadline() {
    let (body, told) = Endless::new(DEADLINE / 5);
    let body = Arc::new(Mutex::new(Some(body)));
    let layers = ServiceBuilder::new().layer(RespondLayer::new()).layer(DeadlineLayer::http(2 * DEADLINE).unwrap());
    let handler = move || std::future::ready(Response::new(Body::new(body.lock().unwrap().take().unwrap())));
    let address = serve_in_memory(Router::new().route("/", get(handler)).layer(layers)).await;
    let start = Instant::now();
    timeout(20 * DEADLINE, Reader::get(address, "/").await.rest()).await.expect("the connection is closed");
    let at = told.await.unwrap() - start;
    assert!(at >= 2 * DEADLINE && at < 3 * DEADLINE, "{at:?}");
}
