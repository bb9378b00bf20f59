//! Long-lived calls through the whole stacks, in virtual time: long polls, long uploads, quiet streams.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use seawall::error::{Reason, rejection};
use seawall::http::LongLived;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Answers after a while, then sends a frame at a fixed interval.
fn answering<B: Send + 'static>(
    head: Duration,
    pieces: u32,
    every: Duration,
) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    service_fn(move |_: Request<B>| async move {
        sleep(head).await;
        let frames = futures::stream::unfold(0, move |n| async move {
            if n == pieces {
                return None;
            }
            sleep(every).await;
            Some((Ok(Frame::data(Bytes::from_static(b"."))), n + 1))
        });
        let response = Response::builder().header("content-type", "application/grpc");
        Ok(response.body(StreamBody::new(frames).boxed_unsync()).unwrap())
    })
}

fn request(long: Option<LongLived>) -> Request<Full<Bytes>> {
    let mut request = Request::post("http://news.test/poll").body(Full::from("?")).unwrap();
    if let Some(long) = long {
        request.extensions_mut().insert(long);
    }
    request
}

/// Bounds everything that a client can bound, for usual calls.
fn config() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.deadline.idle_timeout = Some(SECOND);
    config.deadline.body_timeout = Some(4 * SECOND);
    config.retry.attempt_timeout = Some(5 * SECOND);
    config.retry.max_hold = 6 * SECOND;
    config.bulkhead.max_hold = 6 * SECOND;
    config
}

/// How long a call took, and its outcome.
async fn outcome<S, B>(service: S, long: Option<LongLived>) -> (Duration, Result<usize, Option<Reason>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let start = Instant::now();
    let reason = |error: BoxError| rejection(&error).map(|rejected| rejected.reason());
    let outcome = match service.oneshot(request(long)).await {
        Ok(response) if response.status() == 504 => Err(Some(Reason::DeadlineExceeded)),
        Ok(response) => {
            response.into_body().collect().await.map(|body| body.to_bytes().len()).map_err(Into::into).map_err(reason)
        }
        Err(error) => Err(reason(error.into())),
    };
    (start.elapsed(), outcome)
}

#[tokio::test(start_paused = true)]
async fn long_poll_passes_the_client_stack() {
    let client = || stack::client(&config()).unwrap().layer(answering(50 * SECOND, 1, Duration::ZERO));
    assert_eq!(outcome(client(), Some(LongLived::new(60 * SECOND))).await.1, Ok(1));
    let (took, cut) = outcome(client(), Some(LongLived::new(40 * SECOND))).await;
    assert_eq!((took.as_secs(), cut), (40, Err(Some(Reason::DeadlineExceeded))), "the long poll has a bound");
    let (took, cut) = outcome(client(), None).await;
    assert!(took <= 10 * SECOND && cut.is_err(), "usual calls keep their timeout: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn quiet_stream_passes_the_client_stack() {
    let client = stack::client(&config()).unwrap().layer(answering(SECOND, 10, 15 * SECOND));
    let events = LongLived::new(3600 * SECOND).with_head(4 * SECOND);
    assert_eq!(outcome(client.clone(), Some(events)).await.1, Ok(10));
    assert_eq!(outcome(client, None).await.1, Err(Some(Reason::IdleTimeout)));
}

#[tokio::test(start_paused = true)]
async fn missing_head_is_cut_at_the_head_time_of_the_request() {
    let client = stack::client(&config()).unwrap().layer(answering(50 * SECOND, 1, Duration::ZERO));
    let (took, cut) = outcome(client, Some(LongLived::new(3600 * SECOND).with_head(4 * SECOND))).await;
    assert!(took <= 4 * SECOND && cut.is_err(), "{took:?} {cut:?}");
}

#[tokio::test(start_paused = true)]
async fn head_time_of_the_request_may_exceed_head_timeout() {
    let mut config = ClientConfig::default();
    config.deadline.head_timeout = Some(SECOND);
    let client = stack::client(&config).unwrap().layer(answering(50 * SECOND, 1, Duration::ZERO));
    let poll = LongLived::new(60 * SECOND);
    assert_eq!(outcome(client.clone(), Some(poll.with_head(55 * SECOND))).await.1, Ok(1));
    assert_eq!(outcome(client, Some(poll)).await, (SECOND, Err(Some(Reason::HeadTimeout))));
}

/// On a server, a layer outside of the stack that knows the route marks the request.
#[tokio::test(start_paused = true)]
async fn long_poll_passes_the_server_stack() {
    let mut config = ServerConfig::default();
    config.deadline.idle_timeout = Some(SECOND);
    let server = || stack::server(&config).unwrap().layer(answering(50 * SECOND, 5, 15 * SECOND));
    let (took, answer) = outcome(server(), Some(LongLived::new(200 * SECOND))).await;
    assert_eq!((took.as_secs(), answer), (125, Ok(5)));
    let (took, cut) = outcome(server(), None).await;
    assert_eq!((took.as_secs(), cut), (10, Err(Some(Reason::DeadlineExceeded))));
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn late_head_and_quiet_stream_pass_the_grpc_stacks() {
    let client = stack::grpc::client(&config()).unwrap().layer(answering(50 * SECOND, 3, 15 * SECOND));
    assert_eq!(outcome(client.clone(), Some(LongLived::new(200 * SECOND))).await.1, Ok(3));
    assert!(outcome(client, None).await.0 <= 10 * SECOND);
    let mut server_config = ServerConfig::default();
    server_config.deadline.idle_timeout = Some(SECOND);
    let server = stack::grpc::server(&server_config).unwrap().layer(answering(50 * SECOND, 3, 15 * SECOND));
    let (took, answer) = outcome(server, Some(LongLived::new(200 * SECOND))).await;
    assert_eq!((took.as_secs(), answer), (95, Ok(3)));
}

/// `grpc-timeout` is the caller's own bound of the whole call, and it holds.
#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn grpc_timeout_bounds_a_long_lived_call() {
    let client = stack::grpc::client(&config()).unwrap().layer(answering(50 * SECOND, 1, Duration::ZERO));
    let mut request = request(Some(LongLived::new(200 * SECOND)));
    request.headers_mut().insert("grpc-timeout", "20S".parse().unwrap());
    let start = Instant::now();
    assert!(client.oneshot(request).await.is_err());
    assert_eq!(start.elapsed(), 20 * SECOND);
}
