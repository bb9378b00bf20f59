//! Answers whose heads are good and quick, and whose bodies are not.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tower::service_fn;

use super::*;

/// What the body of the bad endpoint does after its head, which is a quick 200.
#[derive(Clone, Copy, Debug)]
enum BadBody {
    Breaks,
    #[cfg(feature = "grpc")]
    Unavailable,
}

type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

async fn answer(bad: Option<BadBody>) -> Result<Response<AnyBody>, BoxError> {
    let status = |code: &'static str| {
        Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]))
    };
    sleep(if bad.is_some() { MS / 2 } else { 10 * MS }).await;
    let frames: Vec<Result<Frame<Bytes>, BoxError>> = match bad {
        None => vec![Ok(Frame::data(Bytes::from("hello"))), Ok(status("0"))],
        Some(BadBody::Breaks) => vec![Ok(Frame::data(Bytes::from("hel"))), Err("reset".into())],
        #[cfg(feature = "grpc")]
        Some(BadBody::Unavailable) => vec![Ok(status("14"))],
    };
    Ok(Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync()))
}

/// The share of good answers at 1000 calls a second, of which one in five would be bad if they were spread evenly.
async fn share_of_good<S, B>(service: S) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..3000 {
        let call = service.clone().oneshot(Request::new(Empty::new()));
        calls.spawn(async move {
            let good = match call.await.unwrap().into_body().collect().await {
                Ok(body) => body.trailers().is_some_and(|trailers| trailers["grpc-status"] == "0"),
                Err(_) => false,
            };
            (n, good)
        });
        sleep(MS).await;
    }
    let after: Vec<_> = calls.join_all().await.into_iter().filter(|(n, _)| *n >= 1000).collect();
    after.iter().filter(|(_, good)| *good).count() as f64 / after.len() as f64
}

fn connect(
    bad: BadBody,
) -> impl Fn(&Endpoint) -> tower::util::BoxCloneSyncService<Request<Empty<Bytes>>, Response<AnyBody>, BoxError> + Send + Sync
{
    move |endpoint| {
        let bad = (endpoint.key() == "0").then_some(bad);
        tower::util::BoxCloneSyncService::new(service_fn(move |_| answer(bad)))
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_with_quick_heads_and_broken_bodies_attracts_no_traffic() {
    seawall::seed(1);
    for breaker in [true, false] {
        let mut config = BalanceConfig::default();
        config.circuit_breaker.enabled = breaker;
        let layer = BalanceLayer::http(config).unwrap();
        let layer = layer.with_endpoints((0..5).map(|n| Endpoint::new(n.to_string()))).unwrap();
        let share = share_of_good(layer.service(connect(BadBody::Breaks))).await;
        assert!(share >= 0.98, "{share}, breaker: {breaker}");
    }
}

/// The status is in the trailers.
#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn grpc_endpoint_with_quick_heads_and_failed_trailers_attracts_no_traffic() {
    seawall::seed(1);
    for breaker in [true, false] {
        let mut config = BalanceConfig::default();
        config.circuit_breaker.enabled = breaker;
        let layer = BalanceLayer::grpc(config).unwrap();
        let layer = layer.with_endpoints((0..5).map(|n| Endpoint::new(n.to_string()))).unwrap();
        let share = share_of_good(layer.service(connect(BadBody::Unavailable))).await;
        assert!(share >= 0.98, "{share}, breaker: {breaker}");
    }
}
