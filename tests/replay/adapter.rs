//! reqwest's client under the layers, on real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::error::{Reason, rejection};
use seawall::http::reqwest::{MaybeSent, ReqwestService};
use seawall::http::{ByMethod, ByStatus};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, Stop, report};
use seawall::verdict::Verdict;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};

use crate::server::Act::{Answer, Die};
use crate::server::Server;
use crate::unused_address;
use crate::upload::{Piece, Upload};

fn retry() -> RetryLayer<ByStatus, ByMethod> {
    let backoff = Backoff::constant(Duration::from_millis(1));
    RetryLayer::http(RetryConfig { backoff, ..RetryConfig::default() }).unwrap()
}

fn client() -> ReqwestService {
    ReqwestService::new(reqwest::Client::builder().no_proxy().build().unwrap())
}

fn request<B>(method: Method, to: SocketAddr, body: B) -> Request<B> {
    Request::builder().method(method).uri(format!("http://{to}/?a=b")).body(body).unwrap()
}

fn own(error: &BoxError) -> &reqwest::Error {
    error.downcast_ref().expect("reqwest's own error")
}

/// An HTTP/2 server that refuses every stream, and counts the streams.
async fn refusing() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let streams = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&streams);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    answer.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    (address, streams)
}

/// As the documentation of the module describes.
#[tokio::test]
async fn retries_of_reqwest_multiply_with_ours_unless_disabled() {
    let sent = async |client: reqwest::ClientBuilder, body: &'static str| {
        let (address, streams) = refusing().await;
        let client = ReqwestService::new(client.no_proxy().http2_prior_knowledge().build().unwrap());
        let call = retry().layer(client).oneshot(request(Method::PUT, address, Full::new(Bytes::from(body))));
        assert!(call.await.is_err());
        streams.load(Ordering::SeqCst)
    };
    assert_eq!(sent(reqwest::Client::builder(), "").await, 9);
    assert_eq!(sent(reqwest::Client::builder(), "a body").await, 3, "reqwest does not retry a stream");
    assert_eq!(sent(reqwest::Client::builder().retry(reqwest::retry::never()), "").await, 3);
}

#[tokio::test]
async fn streamed_upload_is_replayed_with_its_length() {
    let server = Server::new(&[Answer(503), Die(usize::MAX), Answer(200)]).await;
    let upload = Upload::of(&["hello "]).with(Piece::Pause).with(Piece::Data("world".into())).exact();
    let answer = retry().layer(client()).oneshot(request(Method::PUT, server.address, upload)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answered 200");
    assert_eq!(server.bodies(), ["hello world"; 3]);
    for seen in server.seen() {
        assert_eq!(seen.headers["content-length"], "11");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let echo = serve(|request| async { Response::new(request.into_body()) }).await;
    let (sender, frames) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(frames));
    sender.send(Ok(Frame::data("one".into()))).await.unwrap();
    let answer = retry().layer(client()).oneshot(request(Method::POST, echo, body)).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one", "while the upload is in progress");
    sender.send(Ok(Frame::data("two".into()))).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn unsent_post_is_retried_with_the_error_of_reqwest() {
    let request = request(Method::POST, unused_address(), Full::<Bytes>::from("pay"));
    let (answer, report) = report(retry().layer(client()).oneshot(request)).await;
    assert!(own(&answer.unwrap_err()).is_connect());
    assert_eq!(report.unwrap().verdicts, [Verdict::Unsent; 3]);
}

/// The first host has executed the request; only the host of the redirect is not reachable.
#[tokio::test]
async fn post_redirected_to_a_dead_host_is_not_retried() {
    for body in ["pay", ""] {
        let dead = unused_address();
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        let address = serve(move |request| {
            counting.fetch_add(1, Ordering::SeqCst);
            async move {
                request.into_body().collect().await.unwrap();
                let away = Response::builder().status(StatusCode::SEE_OTHER);
                away.header(LOCATION, format!("http://{dead}/receipt")).body(Empty::<Bytes>::new()).unwrap()
            }
        })
        .await;
        let request = request(Method::POST, address, Full::<Bytes>::from(body));
        let (answer, report) = report(retry().layer(client()).oneshot(request)).await;
        let error = answer.unwrap_err();
        assert!(error.is::<MaybeSent>(), "{error:?}");
        assert!(error.source().and_then(|error| error.downcast_ref::<reqwest::Error>()).unwrap().is_connect());
        let report = report.unwrap();
        assert_eq!((report.verdicts, report.stopped), (vec![Verdict::Lost], Stop::NotRepeatable));
        assert_eq!(count.load(Ordering::SeqCst), 1, "{body:?}");
    }
}

#[tokio::test]
async fn redirects_and_timeouts_of_the_client_are_untouched() {
    let address = serve(|request| async move {
        if request.uri().path() == "/new" {
            std::future::pending::<()>().await;
        }
        let moved = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
        moved.header(LOCATION, "/new").body(Empty::<Bytes>::new()).unwrap()
    })
    .await;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(100)).build().unwrap();
    let request = request(Method::GET, address, Empty::<Bytes>::new());
    let (answer, report) = report(
        ServiceBuilder::new()
            .layer(RetryLayer::http(RetryConfig { max_attempts: 1, ..RetryConfig::default() }).unwrap())
            .service(ReqwestService::new(client))
            .oneshot(request),
    )
    .await;
    let error = answer.unwrap_err();
    assert!(own(&error).is_timeout(), "the redirect was followed to a silent host: {error:?}");
    assert_eq!(report.unwrap().verdicts, [Verdict::TimedOut]);
}

/// The client's timeout also bounds the body. That means a slow dependency, not a connection that died.
#[tokio::test]
async fn body_cut_by_the_client_timeout_has_timed_out() {
    let address = serve(|_| async {
        Response::new(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>()))
    })
    .await;
    let timeout = Duration::from_secs(30);
    let client = reqwest::Client::builder().no_proxy().read_timeout(timeout).build().unwrap();
    let (slow_after, max_hold) = (Some(2 * timeout), 3 * timeout);
    let config = CircuitBreakerConfig { slow_after, max_hold, ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::http(config).unwrap();
    let client = layer.layer(ReqwestService::new(client));
    let answer = client.oneshot(request(Method::GET, address, Empty::<Bytes>::new())).await.unwrap();
    // The head came in real time. Nothing more comes, and from here on the time is virtual.
    tokio::time::pause();
    assert!(own(&answer.into_body().collect().await.unwrap_err()).is_timeout());
    let seen = layer.handle().snapshot();
    assert_eq!(
        (seen.calls, seen.failures, seen.slow),
        (1, 1, 0),
        "it is a failure, and slow only above the slow threshold"
    );
}

#[tokio::test]
async fn endless_redirects_are_not_retried_and_open_nothing() {
    let address = serve(|_| async {
        let moved = Response::builder().status(StatusCode::FOUND).header(LOCATION, "/again");
        moved.body(Empty::<Bytes>::new()).unwrap()
    })
    .await;
    let (answer, report) =
        report(retry().layer(client()).oneshot(request(Method::GET, address, Empty::<Bytes>::new()))).await;
    assert!(own(&answer.unwrap_err()).is_redirect());
    assert_eq!(report.unwrap().verdicts, [Verdict::CallerFault]);
}

#[tokio::test]
async fn earlier_deadline_ends_the_call() {
    let address = serve(|_| std::future::pending::<Response<Empty<Bytes>>>()).await;
    let deadline = seawall::deadline::DeadlineLayer::http(Duration::from_millis(50)).unwrap();
    let request = request(Method::GET, address, Empty::<Bytes>::new());
    let error = deadline.layer(client()).oneshot(request).await.unwrap_err();
    assert_eq!(rejection(&error).unwrap().reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn request_that_reqwest_cannot_send_is_a_caller_fault() {
    let request = Request::post("/no/host").body(Full::<Bytes>::from("pay")).unwrap();
    let (answer, report) = report(retry().layer(client()).oneshot(request)).await;
    assert!(own(&answer.unwrap_err()).is_builder());
    assert_eq!(report.unwrap().verdicts, [Verdict::Ignored]);
}

async fn serve<F, R, B>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
