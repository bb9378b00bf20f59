//! Fallbacks for HTTP responses.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::fallback::{self, AnsweredByFallback, FallbackConfig, FallbackError, FallbackLayer};
use seawall::http::Idempotent;
use seawall::retry::{Kept, Replay};
use seawall::verdict::Verdict;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Answer = Response<Full<Bytes>>;

/// A service that answers with this status and text.
fn answering<B: Send + 'static>(
    status: u16,
    text: &'static str,
) -> impl Service<Request<B>, Response = Answer, Error = BoxError, Future: Send> + Clone {
    service_fn(
        move |_: Request<B>| async move { Ok(Response::builder().status(status).body(Full::from(text)).unwrap()) },
    )
}

fn get() -> Request<Empty<Bytes>> {
    Request::new(Empty::new())
}

#[tokio::test(start_paused = true)]
async fn bad_status_is_answered_and_kept_in_the_extension() {
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(answering(200, "old"))).unwrap();
    for status in [500, 502, 503, 504, 429] {
        let response = layer.layer(answering(status, "no luck")).oneshot(get()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mark = response.extensions().get::<AnsweredByFallback>().unwrap().clone();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "old");
        let instead_of = mark.response().unwrap();
        assert_eq!((instead_of.status().as_u16(), &instead_of.body()[..]), (status, &b"no luck"[..]));
        assert_ne!(mark.verdict(), Verdict::Success);
        assert_eq!(mark.cause(), mark.verdict().as_str());
    }
    for status in [200, 301, 400, 404, 408, 501] {
        let response = layer.layer(answering(status, "this")).oneshot(get()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "the caller's own");
        assert!(response.extensions().get::<AnsweredByFallback>().is_none());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "this");
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_is_answered_and_kept_in_the_extension() {
    let value = Response::new(Full::<Bytes>::from("empty"));
    let bulkhead = BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..BulkheadConfig::default() };
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::http(FallbackConfig::default(), fallback::value(value)).unwrap())
        .layer(BulkheadLayer::http(bulkhead).unwrap())
        .service(service_fn(|_: Request<Empty<Bytes>>| pending::<Result<Answer, BoxError>>()));
    let mut first = tokio_test::task::spawn(service.clone().oneshot(get()));
    assert!(first.poll().is_pending());
    let response = service.oneshot(get()).await.unwrap();
    let mark = response.extensions().get::<AnsweredByFallback>().unwrap();
    assert_eq!((mark.cause(), mark.verdict()), ("queue_full", Verdict::Ignored));
    assert_eq!(mark.rejected().map(|rejected| rejected.reason()), Some(Reason::QueueFull));
    assert!(mark.error().is_some() && mark.response().is_none());
}

#[tokio::test(start_paused = true)]
async fn failed_response_is_returned_if_the_fallback_fails_too() {
    let broken = service_fn(|_: Request<_>| async { Err::<Answer, BoxError>("the standby is down".into()) });
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(broken)).unwrap();
    let response = layer.layer(answering(503, "no luck")).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = response.extensions().get::<FallbackError>().unwrap();
    assert_eq!(error.error().to_string(), "the standby is down");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "no luck");
}

/// A write goes to a second service only if the first one did not get it.
#[tokio::test(start_paused = true)]
async fn post_is_sent_to_a_second_service_only_after_a_refusal() {
    let post = |extension: Option<Idempotent>| {
        let mut request = get();
        *request.method_mut() = Method::POST;
        request.extensions_mut().extend(
            extension
                .map(|extension| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(extension);
                    extensions
                })
                .unwrap_or_default(),
        );
        request
    };
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(answering(200, "done"))).unwrap();
    let failing = layer.layer(answering(503, "no luck"));
    assert_eq!(failing.clone().oneshot(post(None)).await.unwrap().status(), 503);
    assert_eq!(failing.oneshot(post(Some(Idempotent(true)))).await.unwrap().status(), 200);
    // With no time for it, the inner layer refuses the call.
    let refusing = ServiceBuilder::new()
        .layer(layer)
        .layer(DeadlineLayer::http(Duration::from_secs(1)).unwrap().lasting_by(|_: &Request<_>| None))
        .layer(BulkheadLayer::http(BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..Default::default() }).unwrap())
        .service(service_fn(|_: Request<_>| pending::<Result<Answer, BoxError>>()));
    let mut first = tokio_test::task::spawn(refusing.clone().oneshot(post(None)));
    assert!(first.poll().is_pending());
    assert_eq!(refusing.oneshot(post(None)).await.unwrap().status(), 200);
}

/// The body need not be `Clone`, and the second service gets it from its beginning.
#[tokio::test(start_paused = true)]
async fn streamed_request_body_is_sent_again_whole() {
    let echo = service_fn(|request: Request<seawall::http::ReplayBody<_>>| async move {
        let body: http_body_util::Collected<Bytes> = request.into_body().collect().await?;
        Ok::<_, BoxError>(Response::new(Full::from(body.to_bytes())))
    });
    let reads_and_fails = service_fn(|request: Request<seawall::http::ReplayBody<_>>| async move {
        let body: http_body_util::Collected<Bytes> = request.into_body().collect().await?;
        Ok::<_, BoxError>(Response::builder().status(503).body(Full::from(body.to_bytes())).unwrap())
    });
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(echo)).unwrap();
    let frames = ["one", "two"].map(|data| Ok::<_, BoxError>(Frame::data(Bytes::from(data))));
    let request = Request::put("/").body(StreamBody::new(stream::iter(frames))).unwrap();
    let response = layer.layer(reads_and_fails).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "onetwo");
}

/// Keeps the request, and finds that it cannot be sent again only when it is asked for it.
#[derive(Clone)]
struct KeptInVain;

impl Replay<Request<Empty<Bytes>>> for KeptInVain {
    type Attempt = Request<Empty<Bytes>>;
    type Kept = Self;

    fn first(&self, request: Request<Empty<Bytes>>) -> (Self::Attempt, Self) {
        (request, Self)
    }
}

impl Kept for KeptInVain {
    type Attempt = Request<Empty<Bytes>>;

    fn repeatable(&self, _: Verdict) -> bool {
        true
    }

    fn give_up(&mut self) {
        panic!("no other attempt follows");
    }

    fn next(&mut self) -> Option<Self::Attempt> {
        None
    }
}

/// A failed response that is larger than what a detached response keeps, and slower than a response is detached.
fn large_and_slow() -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<impl Body<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = BoxError,
    Future: Send,
> + Clone {
    service_fn(|_| async {
        let pieces = stream::unfold(0_u8, |piece| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (piece < 20).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from(vec![piece; 10 * 1024]))), piece + 1))
        });
        Ok(Response::builder().status(503).body(StreamBody::new(Box::pin(pieces)))?)
    })
}

async fn assert_whole<B: Body<Data = Bytes, Error = BoxError>>(response: Response<B>) {
    assert_eq!(response.status(), 503);
    assert!(response.extensions().get::<AnsweredByFallback>().is_none());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let whole: Vec<u8> = (0..20).flat_map(|piece| vec![piece; 10 * 1024]).collect();
    assert!(body == whole, "{} bytes", body.len());
}

#[tokio::test(start_paused = true)]
async fn closure_that_declines_leaves_the_response_whole() {
    let declines = fallback::from_fn(|failure: &fallback::Failure<Response<_>>| {
        failure.rejected().map(|_| Response::new(Empty::<Bytes>::new()))
    });
    let layer = FallbackLayer::http(FallbackConfig::default(), declines).unwrap();
    let start = Instant::now();
    let response = layer.layer(large_and_slow()).oneshot(get()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "the response waits for nothing");
    assert_whole(response).await;
}

#[tokio::test(start_paused = true)]
async fn request_that_cannot_be_sent_again_leaves_the_response_whole() {
    let standby = fallback::service(answering(200, "old")).with_replay(KeptInVain);
    let layer = FallbackLayer::http(FallbackConfig::default(), standby).unwrap();
    let response = layer.layer(large_and_slow()).oneshot(get()).await.unwrap();
    assert_whole(response).await;
}

/// A failed response whose body never ends is released, and delays the fallback by little.
#[tokio::test(start_paused = true)]
async fn stalled_failed_response_is_released_before_the_fallback_answers() {
    let alive = Arc::new(());
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let (kept, seen_by) = (Arc::clone(&alive), Arc::clone(&seen));
    let stalls = service_fn(move |_: Request<_>| {
        let kept = Arc::clone(&kept);
        let frames = stream::unfold(kept, |kept| async move {
            pending::<()>().await;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::new())), kept))
        });
        async { Ok::<_, BoxError>(Response::builder().status(503).body(StreamBody::new(Box::pin(frames))).unwrap()) }
    });
    let watched = Arc::downgrade(&alive);
    drop(alive);
    let standby = service_fn(move |_: Request<_>| {
        seen_by.store(watched.strong_count(), Ordering::SeqCst);
        async { Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new())) }
    });
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(standby)).unwrap();
    let start = Instant::now();
    let service = layer.layer(stalls);
    let response = service.clone().oneshot(get()).await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(60), "{:?}", start.elapsed());
    assert_eq!(seen.load(Ordering::SeqCst), 1, "only the service itself still holds it");
    assert!(response.extensions().get::<AnsweredByFallback>().is_some());
}

#[tokio::test(start_paused = true)]
async fn transport_error_names_both_if_the_fallback_fails_too() {
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let gone = service_fn(move |_: Request<_>| async move { Err::<Answer, BoxError>(refused().into()) });
    let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(gone)).unwrap();
    let error = layer.layer(gone).oneshot(get()).await.unwrap_err();
    assert!(error.to_string().contains("the fallback failed, too"), "{error}");
    assert!(rejection(&error).is_none() && error.source().unwrap().is::<std::io::Error>());
}
