use std::future::ready;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, Request, Response};
use seawall::context;
use seawall::http::MapRequestBodyLayer;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::*;

type Body = http_body_util::Full<bytes::Bytes>;

fn paths<T: std::fmt::Debug>(result: Result<T, seawall::error::InvalidConfig>) -> Vec<String> {
    result.unwrap_err().faults().iter().map(|fault| fault.path().to_owned()).collect()
}

#[test]
fn fixed_and_invalid_settings_are_faults_and_change_nothing() {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let mut config = layers.config();
    config.deadline.timeout = SECOND;
    config.retry.budget.ratio = 2.0;
    config.bulkhead.max_concurrent = 0;
    config.propagation.headers.timeout = HeaderName::from_static("x-patience");
    config.propagation.headers.also_understood.clear();
    config.propagation.headers.attempt = HeaderName::from_static("x-attempt");
    config.per_authority = true;
    let expected = [
        "retry.budget.ratio",
        "bulkhead.max_concurrent",
        "propagation.headers.timeout",
        "propagation.headers.also_understood",
        "propagation.headers.attempt",
        "per_authority",
    ];
    assert_eq!(paths(layers.reload(&config)), expected);
    assert_eq!(layers.config(), ClientConfig::default());
    assert_eq!(layers.bulkhead().limit(), 64);

    let layers = stack::server(&ServerConfig::default()).unwrap();
    let mut config = layers.config();
    config.load_shed.max_in_flight = 0;
    config.propagation.headers.attempt = HeaderName::from_static("x-attempt");
    assert_eq!(paths(layers.reload(&config)), ["load_shed.max_in_flight", "propagation.headers.attempt"]);
    assert_eq!((layers.config(), layers.load_shed().limit()), (ServerConfig::default(), 256));
}

#[tokio::test(start_paused = true)]
async fn client_reload_applies_to_all_its_layers() {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let sees = seen.clone();
    let callee = service_fn(move |request: Request<Body>| {
        *sees.lock().unwrap() = request.headers().clone();
        ready(Ok::<_, BoxError>(Response::new(Body::default())))
    });
    let callee = MapRequestBodyLayer::new(|_| Body::default()).layer(callee);
    let mut client = layers.clone().service(callee);
    let mut left = async || {
        let request = Request::get("http://callee.test/").body(Body::default()).unwrap();
        client.ready().await.unwrap().call(request).await.unwrap();
        let seen = seen.lock().unwrap();
        seen.get("x-request-timeout-ms").unwrap().to_str().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(left().await, 9995);
    let mut config = layers.config();
    config.deadline.timeout = 2 * SECOND;
    config.propagation.allowance = 100 * MS;
    config.bulkhead.max_concurrent = 7;
    config.circuit_breaker.minimum_calls = 33;
    config.retry.budget.reserve_burst = 3;
    layers.reload(&config).unwrap();
    assert_eq!(layers.config(), config);
    assert_eq!(left().await, 1900);
    assert_eq!((layers.bulkhead().limit(), layers.budget().balance()), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn server_reload_applies_to_all_its_layers() {
    let layers = stack::server(&ServerConfig::default()).unwrap();
    let handler = service_fn(|_: Request<Body>| {
        let left = context::time_left().unwrap_or_default().as_millis().to_string();
        ready(Ok::<_, BoxError>(Response::builder().header("left", left).body(Body::default()).unwrap()))
    });
    let mut service = layers.service(handler);
    let mut left = async |asked: &str| {
        let request = Request::get("/").header("x-request-timeout-ms", asked).body(Body::default()).unwrap();
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        answer.headers()["left"].to_str().unwrap().to_owned()
    };
    assert_eq!([left("5000").await, left("20000").await], ["5000", "10000"]);
    let mut config = layers.config();
    config.propagation.max_timeout = 4 * SECOND;
    config.propagation.max_priority = context::Priority::Low;
    config.deadline.timeout = 6 * SECOND;
    config.load_shed.max_in_flight = 9;
    layers.reload(&config).unwrap();
    assert_eq!([left("3000").await, left("5000").await], ["3000", "6000"], "the second value exceeds the maximum");
    assert_eq!(layers.load_shed().limit(), 9);
}
