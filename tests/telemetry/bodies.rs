//! Events of bodies that are cut: whether the body was being read, and the hint in the log.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::http::ReplayBody;
use seawall::registry::Registry;
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::events::{Fields, logged};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A response whose head comes after `head`, with a frame every `every` from then on.
async fn response(head: Duration, every: Duration) -> Result<Response<Body>, BoxError> {
    sleep(head).await;
    let pieces = stream::repeat(()).then(move |()| async move {
        sleep(every).await;
        Ok(Frame::data(Bytes::from_static(b".")))
    });
    Ok(Response::new(StreamBody::new(pieces).boxed_unsync()))
}

/// The event of a body that is cut while `reader` holds it.
fn cut(
    config: DeadlineConfig,
    head: Duration,
    every: Duration,
    reader: impl AsyncFnOnce(&mut (dyn http_body::Body<Data = Bytes, Error = BoxError> + Unpin)),
) -> Fields {
    cut_of(Request::new(()), config, head, every, reader)
}

/// As [`cut`], of the response to this request.
fn cut_of(
    request: Request<()>,
    config: DeadlineConfig,
    head: Duration,
    every: Duration,
    reader: impl AsyncFnOnce(&mut (dyn http_body::Body<Data = Bytes, Error = BoxError> + Unpin)),
) -> Fields {
    let registry = Registry::new();
    let layer = DeadlineLayer::http(config).unwrap().named_in(&registry, "news").unwrap();
    let events = logged(async {
        let service = layer.layer(service_fn(move |_: Request<()>| response(head, every)));
        let mut body = service.oneshot(request).await.unwrap().into_body();
        reader(&mut body).await;
        drop(body);
    });
    let cut: Vec<_> = events.into_iter().filter(|event| event["message"] == "body cut").collect();
    assert_eq!(cut.len(), 1, "{cut:?}");
    cut.into_iter().next().unwrap()
}

/// Reads frames, and pauses for `busy` after each, until the body is cut.
async fn read(body: &mut (dyn http_body::Body<Data = Bytes, Error = BoxError> + Unpin), busy: Duration) {
    while let Some(Ok(_)) = body.frame().await {
        sleep(busy).await;
    }
}

#[test]
fn body_of_an_active_reader_is_not_parked() {
    let held = |timeout, head, every, busy| {
        cut(DeadlineConfig::from(timeout), head, every, async |body| read(body, busy).await)["held"].clone()
    };
    assert_eq!(held(20 * MS, 5 * MS, MS, 7 * MS), "read", "a short deadline");
    assert_eq!(held(90 * MS, 5 * MS, MS, 200 * MS), "read", "too little time to tell a busy reader from a leak");
    assert_eq!(held(10 * SECOND, SECOND, MS, 1100 * MS), "read", "a proxy with a slow client");
    assert_eq!(held(10 * SECOND, SECOND, 8900 * MS, SECOND), "read", "a frame has just come, after a long wait");
    let late = cut(DeadlineConfig::from(10 * SECOND), 10 * SECOND - 20 * MS, MS, async |body| {
        sleep(SECOND).await;
        read(body, MS).await;
    });
    assert_eq!(late["held"], "read", "too little time to begin");
}

#[test]
fn body_unread_for_half_of_its_time_is_parked() {
    let held = |after: u32| {
        let fields = cut(DeadlineConfig::from(10 * SECOND), Duration::ZERO, MS, async |body| {
            for _ in 0..after {
                body.frame().await.unwrap().unwrap();
                sleep(SECOND - MS).await;
            }
            sleep(20 * SECOND).await;
        });
        fields["held"].clone()
    };
    assert_eq!([0, 1, 5].map(held), ["parked"; 3]);
    assert_eq!(held(7), "read");
}

/// As the operations guide states.
#[test]
fn cut_of_a_read_body_hints_at_long_lived() {
    let hint = "a response that is meant to last says so: `seawall::http::LongLived` in the request of a client, in the response of a handler";
    let deadline = DeadlineConfig::from(10 * SECOND);
    let read_at_deadline = cut(deadline.clone(), SECOND, SECOND, async |body| read(body, MS).await);
    assert_eq!([&read_at_deadline["hint"], &read_at_deadline["level"]], [hint, "WARN"]);
    assert!(read_at_deadline["age"].starts_with("9.0"), "from the head on: {read_at_deadline:?}");
    let idle = DeadlineConfig { idle_timeout: Some(SECOND), ..deadline.clone() };
    let stalled = cut(idle, SECOND, 5 * SECOND, async |body| read(body, MS).await);
    assert_eq!([&stalled["reason"], &stalled["held"], &stalled["hint"]], ["idle_timeout", "read", hint]);
    let parked = cut(deadline.clone(), SECOND, SECOND, async |_| sleep(20 * SECOND).await);
    assert!(parked["held"] == "parked" && !parked.contains_key("hint"), "{parked:?}");
}

/// The query may hold secrets, and a path of any length is a client's.
#[test]
fn cut_body_names_its_request() {
    let named = |uri: &str| {
        let request = Request::post(uri).body(()).unwrap();
        let cut = cut_of(request, DeadlineConfig::from(SECOND), MS, SECOND, async |_| sleep(2 * SECOND).await);
        [cut["method"].clone(), cut["path"].clone()]
    };
    assert_eq!(named("http://shop.test/orders/17?token=secret"), ["POST", "/orders/17"]);
    assert_eq!(named("/"), ["POST", "/"]);
    let [_, long] = named(&format!("/{}", "a".repeat(5000)));
    assert!(long.starts_with("/aaa") && long.chars().count() <= 1001, "{}", long.len());
}

/// All layers of a stack hold one body, and the outermost knows the request.
#[test]
fn cut_by_an_inner_layer_names_the_request_too() {
    let events = logged(async {
        let retry = RetryConfig { attempt_timeout: Some(2 * SECOND), ..RetryConfig::default() };
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::http(60 * SECOND).unwrap())
            .layer(RetryLayer::http(retry).unwrap().named_in(&Registry::new(), "retried").unwrap())
            .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
            .service(service_fn(|_: Request<ReplayBody<String>>| response(MS, SECOND)));
        let parked = service.oneshot(Request::get("/report").body(String::new()).unwrap()).await.unwrap();
        sleep(5 * SECOND).await;
        drop(parked);
    });
    let cut: Vec<_> = events.into_iter().filter(|event| event["message"] == "body cut").collect();
    let found: Vec<_> = cut.iter().map(|event| [&event["layer"], &event["method"], &event["path"]]).collect();
    assert_eq!(found, [["retry", "GET", "/report"]]);
}

/// A closure for long-lived calls changes nothing else.
#[test]
fn timing_by_a_closure_keeps_the_name() {
    let events = logged(async {
        let layer = DeadlineLayer::http(SECOND).unwrap().named_in(&Registry::new(), "closure").unwrap();
        let layer = layer.lasting_by(|_: &Request<()>| None);
        let parked = layer.layer(service_fn(|_: Request<()>| response(MS, SECOND)));
        let parked = parked.oneshot(Request::get("/report").body(()).unwrap()).await.unwrap();
        sleep(5 * SECOND).await;
        drop(parked);
    });
    let cut = events.into_iter().find(|event| event["message"] == "body cut").unwrap();
    assert_eq!([&cut["method"], &cut["path"]], ["GET", "/report"]);
}
