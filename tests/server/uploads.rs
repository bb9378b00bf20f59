//! Clients that do not send the body that they announced: they hold no permit of a shedder, and end within a bound.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{FutureExt, poll_fn};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use seawall::deadline::DeadlineConfig;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, PermitsHandle, current_permit};
use seawall::registry::{Condition, Registry};
use seawall::stack::{self, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::serving::serve;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A body whose frames come when the test sends them.
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

/// `/upload` works for 100 ms once the whole body is there, `/work` for 100 ms.
fn app(config: &ServerConfig) -> (Router, PermitsHandle, Registry) {
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
async fn upload_that_waits_for_its_client_holds_no_permit() {
    for path in ["/upload", "/apart"] {
        let (app, handle, registry) = app(&places(2));
        let mut senders = Vec::new();
        let mut uploads = Vec::new();
        for _ in 0..30 {
            let (sender, request) = upload(path);
            senders.push(sender);
            let app = app.clone();
            uploads.push(tokio::spawn(async move { status(&app, request).await }));
            // The other task polls the body only after that.
            sleep(MS).await;
        }
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "{path}");
        for _ in 0..20 {
            assert_eq!(status(&app, empty("/work")).await, 200, "{path}");
        }
        // A frame that comes takes a permit only while it is processed.
        for sender in &senders {
            sender.send(Bytes::from_static(b"some")).unwrap();
        }
        sleep(MS).await;
        assert_eq!(handle.in_flight(), 0, "{path}");
        // All bodies have come. Two calls have permits, and a call that has begun does not wait long for one.
        let start = Instant::now();
        drop(senders);
        sleep(MS).await;
        assert_eq!((handle.in_flight(), handle.waiting()), (2, 28), "{path}");
        sleep(55 * MS).await;
        assert_eq!((handle.in_flight(), handle.waiting()), (30, 0), "{path}");
        for upload in uploads {
            assert_eq!(upload.await.unwrap(), 200, "{path}");
        }
        assert!((150..160).contains(&start.elapsed().as_millis()), "{path}: {:?}", start.elapsed());
        let learned = service_time(&registry);
        assert!((95..=105).contains(&learned.as_millis()), "the clients' time is no service time: {path}: {learned:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn complete_upload_goes_before_new_calls() {
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
    sleep(60 * MS).await;
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
        // While frames come there is no stall.
        for _ in 0..2 {
            sleep(3 * SECOND).await;
            sender.send(Bytes::from_static(b"x")).unwrap();
        }
        let (_silent, request) = upload(path);
        let start_of_silence = Instant::now();
        assert_eq!(status(&app, request).await, 408, "{path}");
        assert_eq!(start_of_silence.elapsed().as_secs(), 5, "half of the call's time: {path}");
        assert_eq!(call.await.unwrap(), 504, "{path}: the whole call ends at the deadline");
        assert!(start.elapsed() < 12 * SECOND);
    }
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(service_time(&registry), Duration::ZERO, "no sample of the service time");
    // The share is a setting, and applies from the next call on.
    let layers = stack::server(&ServerConfig { request_idle_share: 0.1, ..ServerConfig::default() }).unwrap();
    let app = Router::new()
        .route("/upload", post(|_: Bytes| async {}))
        .layer(layers.clone().with_respond(RespondLayer::new().verbose()));
    for (share, expected) in [(0.1, 1), (0.2, 2)] {
        layers.reload(&ServerConfig { request_idle_share: share, ..ServerConfig::default() }).unwrap();
        let (_silent, request) = upload("/upload");
        let start = Instant::now();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), start.elapsed().as_secs()), (408, expected));
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(&format!("exceeded after {expected}.0s ")), "{text}");
        assert!(text.ends_with(&format!(": given {expected}.0s")), "{text}");
    }
    for share in [0.0, -1.0, 1.1, f64::NAN] {
        let error = stack::server(&ServerConfig { request_idle_share: share, ..ServerConfig::default() }).unwrap_err();
        assert_eq!(error.faults()[0].path(), "request_idle_share");
    }
}

#[tokio::test(start_paused = true)]
async fn unread_request_body_costs_the_handler_no_permit() {
    let (app, handle, _) = app(&places(1));
    let (_sender, request) = upload("/ignored");
    let mut call = Box::pin(status(&app, request));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(handle.in_flight(), 1, "the handler runs");
    assert_eq!(call.await, 200);
    assert_eq!(handle.in_flight(), 0);
}

/// A handler that waits for a frame, and then continues without the rest.
#[tokio::test(start_paused = true)]
async fn handler_that_drops_a_body_works_with_a_permit() {
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

/// Whole calls take two seconds, and at most one second is left: for the rest of this call that may be enough.
#[tokio::test(start_paused = true)]
async fn complete_upload_may_have_less_time_than_a_whole_call() {
    let deadline = DeadlineConfig { timeout: 10 * SECOND, ..ServerConfig::default().deadline };
    let load_shed = LoadShedConfig { max_in_flight: 1, max_wait: 10 * SECOND, ..Default::default() };
    let layers = stack::server(&ServerConfig { deadline, load_shed, ..ServerConfig::default() }).unwrap();
    let handle = layers.load_shed();
    let app = Router::new()
        .route("/work", get(|| sleep(2 * SECOND)))
        .route("/upload", post(|_: Bytes| async {}))
        .layer(layers);
    for _ in 0..20 {
        assert_eq!(status(&app, empty("/work")).await, 200);
    }
    let (sender, request) = upload("/upload");
    let start = Instant::now();
    let call = tokio::spawn({
        let app = app.clone();
        async move { status(&app, request).await }
    });
    for _ in 0..3 {
        sleep(2 * SECOND + 300 * MS).await;
        sender.send(Bytes::from_static(b"x")).unwrap();
    }
    sleep(100 * MS).await;
    let works: Vec<_> = (0..3)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { status(&app, empty("/work")).await })
        })
        .collect();
    // A permit is released within the time for which the call waits.
    sleep(1980 * MS).await;
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 2));
    drop(sender);
    assert_eq!(call.await.unwrap(), 200);
    assert!((9000..9005).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    for work in works {
        assert_eq!(work.await.unwrap(), 200);
    }
}

/// The deadline passes before a permit is free.
#[tokio::test(start_paused = true)]
async fn upload_complete_just_before_its_deadline_is_refused() {
    let deadline = DeadlineConfig { timeout: 350 * MS, ..ServerConfig::default().deadline };
    let idle = ServerConfig { deadline, request_idle_share: 1.0, ..places(1) };
    let (app, handle, _) = app(&idle);
    let (sender, request) = upload("/upload");
    let start = Instant::now();
    let call = tokio::spawn(app.clone().oneshot(request));
    sleep(300 * MS).await;
    let work = tokio::spawn(app.clone().oneshot(empty("/work")));
    sleep(20 * MS).await;
    drop(sender);
    let answer = call.await.unwrap().unwrap();
    assert!([503, 504].contains(&answer.status().as_u16()), "{}", answer.status());
    assert!((350..355).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(work.await.unwrap().unwrap().status(), 200);
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

/// A handler holds a resource while it reads its body, and new calls with permits wait for that resource.
#[tokio::test(start_paused = true)]
async fn upload_whose_handler_blocks_new_calls_continues() {
    for max_in_flight in [1, 2] {
        let layers = stack::server(&places(max_in_flight)).unwrap();
        let handle = layers.load_shed();
        let pool = Arc::new(Semaphore::new(1));
        let app = Router::new()
            .route(
                "/",
                post(move |body: Bytes| async move { body.len().to_string() }).layer(axum::middleware::from_fn(
                    move |request: axum::extract::Request, next: axum::middleware::Next| {
                        let pool = Arc::clone(&pool);
                        async move {
                            let _connection = pool.acquire_owned().await;
                            next.run(request).await
                        }
                    },
                )),
            )
            .layer(layers);
        let (sender, request) = upload("/");
        let first = tokio::spawn(app.clone().oneshot(request));
        sleep(MS).await;
        let others: Vec<_> = (0..max_in_flight)
            .map(|_| {
                let (sender, request) = upload("/");
                drop(sender);
                tokio::spawn(app.clone().oneshot(request))
            })
            .collect();
        sleep(100 * MS).await;
        assert_eq!(handle.in_flight(), max_in_flight as usize, "all new calls wait for the connection");
        let start = Instant::now();
        drop(sender);
        for call in std::iter::once(first).chain(others) {
            assert_eq!(call.await.unwrap().unwrap().status(), 200);
        }
        assert!((50..60).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    }
}

/// Work that needs the whole body, and holds the call's permit until it is done.
#[tokio::test(start_paused = true)]
async fn work_that_holds_the_permit_reads_the_body_at_once() {
    // When the work takes the permit: before the handler waits, in the poll in which it waits, or while the permit is
    // released.
    for asks_after in [None, Some(0), Some(1)] {
        let layers = stack::server(&places(1)).unwrap();
        let handle = layers.load_shed();
        let seen = handle.clone();
        let app = Router::new()
            .route(
                "/",
                post(move |body: Body| async move {
                    let (pieces, mut received) = unbounded_channel::<Bytes>();
                    let mut body = body.into_data_stream();
                    let mut permit = None;
                    if asks_after.is_none() {
                        permit = current_permit();
                        tokio::task::yield_now().await;
                    }
                    let mut waits = 0;
                    if let Some(after) = asks_after {
                        let piece = poll_fn(|cx| {
                            let piece = body.poll_next_unpin(cx);
                            if waits == after {
                                permit = current_permit();
                                cx.waker().wake_by_ref();
                            }
                            waits += 1;
                            piece
                        });
                        pieces.send(piece.await.unwrap().unwrap()).unwrap();
                    }
                    assert!(permit.is_some());
                    let work = tokio::spawn(async move {
                        let _permit = permit;
                        let mut length = 0;
                        while let Some(piece) = received.recv().await {
                            length += piece.len();
                        }
                        assert_eq!(seen.in_flight(), 1, "the work holds the permit of the call, and no second one");
                        length
                    });
                    while let Some(piece) = body.next().await {
                        pieces.send(piece.unwrap()).unwrap();
                    }
                    drop(pieces);
                    work.await.unwrap().to_string()
                }),
            )
            .layer(layers);
        let (sender, request) = upload("/");
        let call = tokio::spawn(app.oneshot(request));
        for _ in 0..3 {
            sleep(100 * MS).await;
            sender.send(Bytes::from_static(b"x")).unwrap();
        }
        sleep(100 * MS).await;
        assert_eq!(handle.in_flight(), 1, "{asks_after:?}");
        let start = Instant::now();
        drop(sender);
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "3");
        assert!(start.elapsed() < 2 * MS, "{asks_after:?}: {:?}", start.elapsed());
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    }
}

/// Sixteen uploads per permit.
#[tokio::test(start_paused = true)]
async fn uploads_beyond_a_bound_keep_their_permits() {
    let (app, handle, _) = app(&places(2));
    for round in 0..2 {
        let mut senders = Vec::new();
        let mut calls = Vec::new();
        for n in 1..=33 {
            let (sender, request) = upload("/upload");
            senders.push(sender);
            calls.push(tokio::spawn(app.clone().oneshot(request)));
            sleep(MS).await;
            assert_eq!(handle.in_flight(), usize::from(n > 32), "upload {n} of round {round}");
        }
        assert_eq!(status(&app, empty("/work")).await, 200);
        if round == 0 {
            // Dropped uploads are no longer counted; nor, below, are completed ones.
            for call in &calls {
                call.abort();
            }
        }
        drop(senders);
        for call in calls {
            assert!(call.await.is_err_and(|error| error.is_cancelled()) == (round == 0));
        }
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    }
    let (_sender, request) = upload("/upload");
    let _call = tokio::spawn(app.clone().oneshot(request));
    sleep(MS).await;
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn cut_body_fails_at_every_further_poll() {
    let layers = stack::server(&places(1)).unwrap();
    let (seen, mut results) = unbounded_channel();
    let app = Router::new().route(
        "/",
        post(move |mut body: Body| {
            let seen = seen.clone();
            async move {
                for _ in 0..3 {
                    let frame = body.frame().await;
                    let failed = frame.is_some_and(|frame| frame.is_err());
                    seen.send((failed, http_body::Body::is_end_stream(&body))).unwrap();
                }
            }
        }),
    );
    let app = app.layer(layers);
    let (_silent, request) = upload("/");
    assert_eq!(status(&app, request).await, 408);
    for _ in 0..3 {
        assert_eq!(results.recv().await, Some((true, false)), "a cut body does not look complete");
    }
}

/// A client that disconnects, and a handler that keeps the body.
#[tokio::test(start_paused = true)]
async fn handler_of_a_disconnected_client_works_with_a_permit() {
    let layers = stack::server(&places(1)).unwrap();
    let handle = layers.load_shed();
    let app = Router::new().route(
        "/",
        post(|mut body: Body| async move {
            assert!(body.frame().await.unwrap().is_err());
            sleep(SECOND).await;
            drop(body);
        }),
    );
    let app = app.layer(layers);
    let hangs_up = async {
        sleep(SECOND).await;
        Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let body = Body::from_stream(futures::stream::once(hangs_up));
    let call = tokio::spawn(app.oneshot(Request::post("/").body(body).unwrap()));
    sleep(500 * MS).await;
    assert_eq!(handle.in_flight(), 0);
    sleep(SECOND).await;
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

/// Over real sockets: heads without bodies, or a byte a second, over two HTTP/2 connections and many HTTP/1
/// connections.
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
async fn http2_heads_without_bodies_refuse_no_other_clients() {
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
async fn trickling_http1_bodies_refuse_no_other_clients() {
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
