//! Clients that do not send what they have announced: they hold no place of a shedder, and not for ever.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::future::{FutureExt, join_all};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use seawall::deadline::DeadlineConfig;
use seawall::load_shed::{LoadShedConfig, LoadShedHandle};
use seawall::registry::{Condition, Registry};
use seawall::stack::{self, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::ServiceExt;

use crate::serving::serve;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A body that comes as it is sent.
struct Sent(UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn upload(path: &str) -> (UnboundedSender<Bytes>, Request<Body>) {
    let (sender, receiver) = unbounded_channel();
    (sender, Request::post(path).body(Body::new(Sent(receiver))).unwrap())
}

fn empty(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// `/upload` works for 100 ms when it has all, `/work` for 100 ms.
fn app(config: &ServerConfig) -> (Router, LoadShedHandle, Registry) {
    let registry = Registry::new();
    let layers = stack::server(config).unwrap().named_in(&registry, "inbound").unwrap();
    let handle = layers.load_shed();
    let work = || sleep(100 * MS);
    let app = Router::new()
        .route("/work", get(work))
        .route("/upload", post(move |_: Bytes| work()))
        .route(
            "/apart", // another task reads it
            post(move |body: Body| async move {
                tokio::spawn(body.collect()).await.unwrap().map_err(|_| StatusCode::BAD_REQUEST)?;
                work().await;
                Ok::<_, StatusCode>(())
            }),
        )
        .route("/ignored", post(move |body: Body| async move { (drop(body), work().await).1 }));
    (app.layer(layers), handle, registry)
}

fn places(max_in_flight: u32) -> ServerConfig {
    ServerConfig { load_shed: LoadShedConfig { max_in_flight, ..Default::default() }, ..Default::default() }
}

async fn status(app: &Router, request: Request<Body>) -> StatusCode {
    app.clone().oneshot(request).await.unwrap().status()
}

fn service_time(registry: &Registry) -> Duration {
    let snapshot = registry.snapshot();
    let shed = snapshot.of("inbound").find_map(|component| match &component.condition {
        Condition::LoadShed(gate) => Some(gate.service_time),
        _ => None,
    });
    shed.unwrap()
}

#[tokio::test(start_paused = true)]
async fn upload_that_waits_for_its_client_holds_no_place() {
    for path in ["/upload", "/apart"] {
        let (app, handle, registry) = app(&places(2));
        let mut senders = Vec::new();
        let mut uploads = Vec::new();
        for _ in 0..50 {
            let (sender, request) = upload(path);
            senders.push(sender);
            let app = app.clone();
            uploads.push(tokio::spawn(async move { status(&app, request).await }));
            // The other task looks at the body only after that.
            sleep(MS).await;
        }
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "{path}");
        for _ in 0..20 {
            assert_eq!(status(&app, empty("/work")).await, 200, "{path}");
        }
        // What comes in pieces takes a place for as long as there is something to do with them.
        for sender in &senders {
            sender.send(Bytes::from_static(b"some")).unwrap();
        }
        sleep(MS).await;
        assert_eq!(handle.in_flight(), 0, "{path}");
        // All have come, and two are worked on at once.
        let start = Instant::now();
        drop(senders);
        sleep(MS).await;
        assert_eq!((handle.in_flight(), handle.waiting()), (2, 48), "{path}");
        for upload in uploads {
            assert_eq!(upload.await.unwrap(), 200, "{path}");
        }
        assert!((2500..2520).contains(&start.elapsed().as_millis()), "{path}: {:?}", start.elapsed());
        let learned = service_time(&registry);
        assert!((95..=105).contains(&learned.as_millis()), "the clients' time is nobody's: {path}: {learned:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn upload_whose_body_has_come_goes_before_newcomers() {
    let (app, handle, _) = app(&places(1));
    let (sender, request) = upload("/upload");
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, uploads) = (Arc::clone(&order), app.clone());
    let upload = tokio::spawn(async move {
        assert_eq!(status(&uploads, request).await, 200);
        seen.lock().unwrap().push("upload");
    });
    sleep(MS).await;
    let works: Vec<_> = ["first", "second", "third"]
        .map(|name| {
            let (seen, app) = (Arc::clone(&order), app.clone());
            tokio::spawn(async move {
                assert_eq!(status(&app, empty("/work")).await, 200);
                seen.lock().unwrap().push(name);
            })
        })
        .into_iter()
        .collect();
    sleep(MS).await;
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 2));
    drop(sender);
    upload.await.unwrap();
    for work in works {
        work.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["first", "upload", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn stalled_upload_is_answered_408_before_the_deadline() {
    let (app, handle, registry) = app(&places(2));
    for path in ["/upload", "/apart"] {
        let (sender, request) = upload(path);
        let start = Instant::now();
        let call = tokio::spawn({
            let app = app.clone();
            async move { status(&app, request).await }
        });
        // As long as something comes there is no stall.
        for _ in 0..2 {
            sleep(3 * SECOND).await;
            sender.send(Bytes::from_static(b"x")).unwrap();
        }
        let _ = call;
        let (_silent, request) = upload(path);
        let start_of_silence = Instant::now();
        assert_eq!(status(&app, request).await, 408, "{path}");
        assert_eq!(start_of_silence.elapsed().as_secs(), 5, "half of the time that it has: {path}");
        assert_eq!(call.await.unwrap(), 504, "{path}: in all it may not take longer than the deadline");
        assert!(start.elapsed() < 12 * SECOND);
    }
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(service_time(&registry), Duration::ZERO, "nothing is learned of the service");
    // The share is a setting, and holds from the next call on.
    let layers = stack::server(&ServerConfig { request_idle_share: 0.1, ..ServerConfig::default() }).unwrap();
    let app = Router::new().route("/upload", post(|_: Bytes| async {})).layer(layers.clone());
    for (share, expected) in [(0.1, 1), (0.2, 2)] {
        layers.reload(&ServerConfig { request_idle_share: share, ..ServerConfig::default() }).unwrap();
        let (_silent, request) = upload("/upload");
        let start = Instant::now();
        assert_eq!(status(&app, request).await, 408);
        assert_eq!(start.elapsed().as_secs(), expected);
    }
    for share in [0.0, -1.0, 1.1, f64::NAN] {
        let error = stack::server(&ServerConfig { request_idle_share: share, ..ServerConfig::default() }).unwrap_err();
        assert_eq!(error.faults()[0].path(), "request_idle_share");
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_a_handler_does_not_want_costs_it_no_place() {
    let (app, handle, _) = app(&places(1));
    let (_sender, request) = upload("/ignored");
    let mut call = Box::pin(status(&app, request));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(handle.in_flight(), 1, "it is at work");
    assert_eq!(call.await, 200);
    assert_eq!(handle.in_flight(), 0);
}

/// A handler that waits for a piece, and then goes on without the rest.
#[tokio::test(start_paused = true)]
async fn handler_that_gives_up_on_a_body_works_with_a_place() {
    let layers = stack::server(&places(1)).unwrap();
    let handle = layers.load_shed();
    let app = Router::new().route(
        "/",
        post(|mut body: Body| async move {
            let _ = timeout(SECOND, body.frame()).await;
            drop(body);
            sleep(SECOND).await;
        }),
    );
    let app = app.layer(layers);
    let (_sender, request) = upload("/");
    let call = tokio::spawn(async move { status(&app, request).await });
    sleep(500 * MS).await;
    assert_eq!(handle.in_flight(), 0);
    sleep(SECOND).await;
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(call.await.unwrap(), 200);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelled_upload_leaves_nothing_behind() {
    for after in [0, 1, 5, 150] {
        let (app, handle, _) = app(&places(1));
        let (sender, request) = upload("/upload");
        let call = tokio::spawn({
            let app = app.clone();
            async move { status(&app, request).await }
        });
        let (other, request) = upload("/upload");
        let waits = tokio::spawn({
            let app = app.clone();
            async move { status(&app, request).await }
        });
        sleep(MS).await;
        drop((sender, other));
        sleep(after * MS).await;
        call.abort();
        waits.abort();
        let _ = (call.await, waits.await);
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "after {after} ms");
        assert_eq!(status(&app, empty("/work")).await, 200);
    }
}

/// The body arrives, and there is no place in time for what follows.
#[tokio::test(start_paused = true)]
async fn upload_that_comes_too_late_for_a_place_is_refused_with_a_hint() {
    let deadline = DeadlineConfig { timeout: 350 * MS, ..ServerConfig::default().deadline };
    let (app, _, _) = app(&ServerConfig { deadline, ..places(1) });
    for _ in 0..20 {
        assert_eq!(status(&app, empty("/work")).await, 200);
    }
    let (senders, requests): (Vec<_>, Vec<_>) = (0..5).map(|_| upload("/upload")).unzip();
    let calls: Vec<_> = requests.into_iter().map(|request| tokio::spawn(app.clone().oneshot(request))).collect();
    advance(20 * MS).await;
    drop(senders);
    let answers = join_all(calls).await;
    let answers: VecDeque<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    let served = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(served, 3, "330 ms are enough for three");
    for refused in answers.iter().filter(|answer| answer.status() != 200) {
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
}

/// Over real sockets: heads without bodies, a byte a second, over two connections of HTTP/2 and many of HTTP/1.
async fn honest_clients_are_served(attack: impl AsyncFnOnce(std::net::SocketAddr) -> Box<dyn std::any::Any>) {
    let (app, handle, _) = app(&places(8));
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let app = app.route("/hello", get(|| async { "hello" })).layer(axum::middleware::map_request(
        move |request: Request<Body>| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { request }
        },
    ));
    let address = serve(app).await;
    let attackers = attack(address).await;
    while reached.load(Ordering::SeqCst) < 20 || handle.in_flight() > 0 {
        sleep(MS).await;
    }
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(attackers);
}

#[tokio::test]
async fn heads_without_bodies_on_two_http2_connections_keep_nobody_out() {
    honest_clients_are_served(async |address| {
        let mut held = Vec::new();
        for _ in 0..2 {
            let (mut client, connection) =
                h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
            tokio::spawn(connection);
            for _ in 0..10 {
                client = client.ready().await.unwrap();
                let request = Request::post("http://x/upload").header("content-length", "9").body(()).unwrap();
                held.push(client.send_request(request, false).unwrap());
                tokio::task::yield_now().await;
            }
        }
        Box::new(held) as Box<dyn std::any::Any>
    })
    .await;
}

#[tokio::test]
async fn a_byte_now_and_then_on_many_http1_connections_keeps_nobody_out() {
    honest_clients_are_served(async |address| {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\nx").await.unwrap();
            held.push(tokio::spawn(async move {
                while stream.write_all(b"x").await.is_ok() {
                    sleep(50 * MS).await;
                }
            }));
        }
        Box::new(held) as Box<dyn std::any::Any>
    })
    .await;
}
