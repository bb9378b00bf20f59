//! Each fault over hyper's HTTP/1.1 and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seawall::chaos::{ChaosFault, ChaosHandle, ChaosLayer, Injected};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::http::ByStatus;
use seawall::http::respond::RespondLayer;
use seawall::verdict::{Classify, Verdict};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::pipes::{Connector, PipeListener};
use crate::{MS, all, always};

const DEADLINE: Duration = Duration::from_millis(2000);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    Http1,
    Http2,
}

/// "hello world!" in two frames, and trailers.
async fn hello(_: Request<Incoming>) -> Result<Response<impl Body<Data = Bytes, Error = BoxError> + Send>, BoxError> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "yes".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"hello ")),
        Frame::data(Bytes::from_static(b"world!")),
        Frame::trailers(trailers),
    ];
    let body = StreamBody::new(stream::iter(frames.map(Ok)));
    Ok(Response::builder().header("trailer", "x-end").body(body).unwrap())
}

/// Serves this service over connections in memory.
fn serve<S, B>(service: S) -> String
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut listener = PipeListener::bind();
    let uri = format!("http://{}/orders/7", listener.address());
    tokio::spawn(async move {
        loop {
            let connection = TokioIo::new(listener.accept().await);
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(connection, service).await;
            });
        }
    });
    uri
}

/// What a client sees of a response.
#[derive(Debug)]
struct Seen {
    status: u16,
    headers: HeaderMap,
    injected: Option<&'static str>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// The error at the end of the body.
    error: Option<BoxError>,
    took: Duration,
}

async fn see<S, B>(client: S, uri: &str) -> Result<Seen, (BoxError, Duration)>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let start = Instant::now();
    let request = Request::get(uri).header("te", "trailers").body(Empty::new()).unwrap();
    let response = client.oneshot(request).await.map_err(|error| (error, start.elapsed()))?;
    let (head, body) = response.into_parts();
    let mut body = std::pin::pin!(body);
    let (mut seen, mut trailers, mut error) = (Vec::new(), None, None);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => seen.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(failed) => {
                error = Some(failed.into());
                break;
            }
        }
    }
    let injected = head.extensions.get::<Injected>().map(Injected::fault);
    let (status, headers, took) = (head.status.as_u16(), head.headers, start.elapsed());
    Ok(Seen { status, headers, injected, body: seen, trailers, error, took })
}

fn hyper_client(version: Version) -> Client<Connector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::Http2).build(Connector)
}

/// A call with this fault on the client's side.
async fn on_the_client(version: Version, fault: ChaosFault) -> (Result<Seen, (BoxError, Duration)>, ChaosHandle) {
    let uri = serve(service_fn(hello));
    let chaos = ChaosLayer::http(always(fault)).unwrap();
    let handle = chaos.handle();
    let client =
        ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap()).layer(chaos).service(hyper_client(version));
    (see(client, &uri).await, handle)
}

/// A call with this fault on the server's side.
async fn on_the_server(version: Version, fault: ChaosFault) -> (Result<Seen, (BoxError, Duration)>, ChaosHandle) {
    let chaos = ChaosLayer::http(always(fault)).unwrap();
    let handle = chaos.handle();
    let uri = serve(ServiceBuilder::new().layer(chaos).service(service_fn(hello)));
    let client = ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap()).service(hyper_client(version));
    (see(client, &uri).await, handle)
}

fn verdict(error: &BoxError) -> Verdict {
    Classify::<Response<Empty<Bytes>>>::classify(&ByStatus::new(), Err(error))
}

fn reason(error: &BoxError) -> Option<Reason> {
    rejection(error).map(|rejected| rejected.reason())
}

fn is_about(took: Duration, expected: Duration) -> bool {
    (expected..expected + 50 * MS).contains(&took)
}

#[tokio::test(start_paused = true)]
async fn every_fault_on_the_client() {
    for version in [Version::Http1, Version::Http2] {
        for fault in all() {
            check(version, fault, true).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_on_the_server() {
    for version in [Version::Http1, Version::Http2] {
        for fault in all() {
            check(version, fault, false).await;
        }
    }
}

async fn check(version: Version, fault: ChaosFault, is_client: bool) {
    let (seen, handle) = match is_client {
        true => on_the_client(version, fault).await,
        false => on_the_server(version, fault).await,
    };
    let case = format!("{version:?} {fault:?}, on the client: {is_client}: {seen:?}");
    let whole = |seen: &Seen| {
        assert_eq!((seen.status, &seen.body[..], seen.error.is_none()), (200, &b"hello world!"[..], true), "{case}");
    };
    let has_trailers = |seen: &Seen| seen.trailers.as_ref().is_some_and(|trailers| trailers.contains_key("x-end"));
    if let Ok(seen) = &seen {
        // The mark is for the process that injects.
        assert_eq!(seen.injected, is_client.then_some(fault.as_str()), "{case}");
    }
    match (fault, &seen) {
        (ChaosFault::Latency(_), Ok(seen)) => {
            whole(seen);
            assert!(has_trailers(seen) && is_about(seen.took, 500 * MS), "{case}");
        }
        (ChaosFault::Refuse { .. }, Err((error, _))) if is_client => {
            let rejected = rejection(error).unwrap();
            assert_eq!((rejected.reason(), rejected.layer()), (Reason::Injected, "chaos"), "{case}");
            assert_eq!((rejected.retry_after(), verdict(error)), (Some(3000 * MS), Verdict::Ignored), "{case}");
        }
        // Without a layer that answers errors, an error of a server's service closes the connection or resets the stream.
        (ChaosFault::Refuse { .. } | ChaosFault::Drop, Err((error, _))) => {
            assert_eq!(verdict(error), Verdict::Lost, "{case}");
            assert_eq!(Injected::find(error).map(Injected::fault), is_client.then_some("drop"), "{case}");
        }
        (ChaosFault::Status { .. }, Ok(seen)) => {
            assert_eq!((seen.status, &seen.headers["retry-after"]), (503, &"7".parse().unwrap()), "{case}");
        }
        (ChaosFault::Code { .. }, Ok(seen)) => {
            assert_eq!((seen.status, &seen.headers["grpc-status"]), (200, &"14".parse().unwrap()), "{case}");
            assert_eq!(seen.headers["grpc-retry-pushback-ms"], "250", "{case}");
        }
        (ChaosFault::Hang, Err((error, took))) => {
            assert_eq!(reason(error), Some(Reason::DeadlineExceeded), "{case}");
            assert!(is_about(*took, DEADLINE), "{case}");
        }
        (ChaosFault::Stall { .. }, Ok(seen)) => {
            assert_eq!((seen.status, &seen.body[..]), (200, &b"hello"[..]), "{case}");
            assert_eq!(reason(seen.error.as_ref().unwrap()), Some(Reason::DeadlineExceeded), "{case}");
            assert!(is_about(seen.took, DEADLINE), "{case}");
        }
        (ChaosFault::Drip { .. }, Ok(seen)) => {
            whole(seen);
            assert!(has_trailers(seen) && is_about(seen.took, 300 * MS), "{case}");
        }
        (ChaosFault::Truncate { .. }, Ok(seen)) => {
            assert_eq!((&seen.body[..], seen.error.is_none()), (&b"hello"[..], true), "{case}");
            assert!(!has_trailers(seen), "{case}");
        }
        (ChaosFault::Reset { .. }, Ok(seen)) => {
            // Over HTTP/2 a reset may overtake the data.
            assert!(b"hello".starts_with(&seen.body), "{case}");
            let error = seen.error.as_ref().unwrap();
            assert_eq!(verdict(error), Verdict::Lost, "{case}");
            assert_eq!(Injected::find(error).map(Injected::fault), is_client.then_some("reset"), "{case}");
        }
        (ChaosFault::NoTrailers, Ok(seen)) => {
            whole(seen);
            assert!(!has_trailers(seen), "{case}");
        }
        _ => panic!("{case}"),
    }
    drop(seen);
    let start = Instant::now();
    // A server sees that its client is gone once it runs.
    while handle.active() > 0 && start.elapsed() < 60_000 * MS {
        tokio::time::sleep(MS).await;
    }
    assert_eq!(handle.active(), 0, "{version:?} {fault:?}: in progress");
}

/// Over HTTP/1.1 a body that ends before its announced length is an error.
#[tokio::test(start_paused = true)]
async fn truncated_body_with_a_length_closes_the_connection() {
    let chaos = ChaosLayer::http(always(ChaosFault::Truncate { after: 5 })).unwrap();
    let whole =
        service_fn(|_: Request<Incoming>| async { Ok::<_, BoxError>(Response::new(Full::from("hello world!"))) });
    let uri = serve(chaos.layer(whole));
    let client = ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap());
    let seen = see(client.service(hyper_client(Version::Http1)), &uri).await.unwrap();
    assert_eq!(seen.headers["content-length"], "12");
    assert_eq!(verdict(seen.error.as_ref().unwrap()), Verdict::Lost);
}

/// With a layer that answers errors outside, a refusal is a 503.
#[tokio::test(start_paused = true)]
async fn refusal_behind_respond_is_answered() {
    let chaos = ChaosLayer::http(always(ChaosFault::Refuse { retry_after: Some(3000 * MS) })).unwrap();
    let uri = serve(ServiceBuilder::new().layer(RespondLayer::new()).layer(chaos).service(service_fn(hello)));
    let client = ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap());
    let seen = see(client.service(hyper_client(Version::Http1)), &uri).await.unwrap();
    assert_eq!((seen.status, &seen.body[..]), (503, &b"injected"[..]));
    assert_eq!(seen.headers["retry-after"], "3");
}

/// A body shorter than `after` stalls, fails or ends at its end.
#[tokio::test(start_paused = true)]
async fn fault_beyond_a_short_body_comes_at_its_end() {
    for (fault, is_error) in [
        (ChaosFault::Stall { after: 1000 }, true),
        (ChaosFault::Reset { after: 12 }, true),
        (ChaosFault::Reset { after: 1000 }, true),
        (ChaosFault::Truncate { after: 1000 }, false),
    ] {
        let (seen, _) = on_the_client(Version::Http1, fault).await;
        let seen = seen.unwrap();
        assert_eq!((&seen.body[..], seen.error.is_some()), (&b"hello world!"[..], is_error), "{fault:?}");
        assert!(seen.trailers.is_none(), "{fault:?}");
    }
}

/// A stalled body is cut even if nothing reads it, and then it is in progress no more.
#[tokio::test(start_paused = true)]
async fn unread_stalled_body_is_cut_at_the_deadline() {
    let uri = serve(service_fn(hello));
    let chaos = ChaosLayer::http(always(ChaosFault::Stall { after: 0 })).unwrap();
    let handle = chaos.handle();
    for deadline in [Some(DEADLINE), None] {
        let request = Request::get(&uri).body(Empty::<Bytes>::new()).unwrap();
        let client = chaos.layer(hyper_client(Version::Http2));
        let (bound, response) = match deadline {
            Some(deadline) => {
                let client = ServiceBuilder::new().layer(DeadlineLayer::http(deadline).unwrap()).service(client);
                (
                    deadline,
                    client.oneshot(request).await.unwrap().map(|body| body.map_err(BoxError::from).boxed_unsync()),
                )
            }
            None => (60_000 * MS, client.oneshot(request).await.unwrap().map(BodyExt::boxed_unsync)),
        };
        tokio::time::sleep(bound - 10 * MS).await;
        assert_eq!(handle.active(), 1);
        tokio::time::sleep(50 * MS).await;
        assert_eq!(handle.active(), 0);
        assert!(rejection(&response.into_body().collect().await.unwrap_err()).is_some());
    }
}
