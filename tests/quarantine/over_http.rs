//! Over HTTP: a response that is lost in its body counts, and the answer to a refusal.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, StreamBody};
use seawall::http::respond::RespondLayer;
use tower::service_fn;

use super::*;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The head arrives at once. The body breaks after a while if the path says so, and otherwise ends.
async fn answer(request: Request<Empty<Bytes>>) -> Result<Response<Body>, BoxError> {
    let frames = futures::stream::once(async move {
        sleep(10 * MS).await;
        match request.uri().path() {
            "/poison" => Err(BoxError::from("connection reset")),
            _ => Ok(http_body::Frame::data(Bytes::from_static(b"whole"))),
        }
    });
    Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://reports.test{path}?page=1")).body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn loss_in_the_body_counts_and_refusal_is_503() {
    let endpoints = (0..4).map(|server| Endpoint::new(server.to_string()));
    let balance = BalanceLayer::http(BalanceConfig::default()).unwrap().with_endpoints(endpoints).unwrap();
    let registry = Registry::new();
    let layer = QuarantineLayer::http(QuarantineConfig::default()).unwrap().named_in(&registry, "reports").unwrap();
    let service = layer.layer(balance.service(|_| service_fn(answer)));
    let mut lost = 0;
    while condition(&registry).quarantined == 0 {
        let response = service.clone().oneshot(request("/poison")).await.unwrap();
        assert_eq!(condition(&registry).quarantined, 0);
        assert!(response.into_body().collect().await.is_err());
        lost += 1;
        assert!(lost < 20);
    }
    assert!(lost >= 2);
    let answers = RespondLayer::new().layer(service);
    let refused = answers.clone().oneshot(request("/poison")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "8");
    let other = answers.oneshot(request("/other")).await.unwrap();
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes(), "whole");
}

/// A response that is read slowly delays no other call.
#[tokio::test(start_paused = true)]
async fn head_releases_the_turn_and_clears_the_suspicion() {
    let registry = Registry::new();
    let layer = QuarantineLayer::http(QuarantineConfig::default()).unwrap().named_in(&registry, "reports").unwrap();
    let failing = layer.layer(service_fn(|_| async { answer(request("/poison")).await }));
    let lost = failing.oneshot(request("/a")).await.unwrap();
    assert!(lost.into_body().collect().await.is_err());
    assert_eq!(condition(&registry).suspects, 1);
    let service = layer.layer(service_fn(answer));
    let slow = service_fn(|request| async {
        sleep(10 * MS).await;
        answer(request).await
    });
    let mut turn = spawn(layer.layer(slow).oneshot(request("/a")));
    let mut waiting = spawn(service.oneshot(request("/a")));
    assert!(turn.poll().is_pending() && waiting.poll().is_pending());
    let unread = turn.await.unwrap();
    assert!(waiting.is_woken());
    assert_eq!(condition(&registry).suspects, 0);
    assert!(waiting.await.is_ok());
    drop(unread);
}
