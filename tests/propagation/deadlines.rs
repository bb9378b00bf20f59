//! How much of the first caller's deadline each tier sees.

use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use seawall::context;

use seawall::deadline::DeadlineConfig;

use super::*;

/// The time left that each handler sees, in call order.
type Seen = Arc<Mutex<Vec<Option<Duration>>>>;

fn see(seen: &Seen) {
    seen.lock().unwrap().push(context::time_left());
}

async fn last(seen: &Seen) -> SocketAddr {
    let seen = Arc::clone(seen);
    tier(move || async move { see(&seen) }).await
}

async fn middle(seen: &Seen, below: SocketAddr) -> SocketAddr {
    let (seen, client) = (Arc::clone(seen), injecting());
    tier(move || async move {
        see(&seen);
        get(&client, below).await.unwrap().status
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn each_tier_sees_less_time_than_the_one_above() {
    let seen = Seen::default();
    let third = last(&seen).await;
    let second = middle(&seen, third).await;
    let first = middle(&seen, second).await;
    let stack = ServiceBuilder::new().layer(DeadlineLayer::http(Duration::from_secs(3)).unwrap()).layer(inject());
    let client = whole(stack.service(HyperClient::builder(TokioExecutor::new()).build(Connector)));

    assert_eq!(get(&client, first).await.unwrap().status, 200);
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|left| left.expect("the handler has a deadline")).collect();
    assert_eq!(seen.len(), 3);
    assert!(seen[0] <= Duration::from_millis(2995), "the allowance is subtracted: {seen:?}");
    assert!(seen[1] + Duration::from_millis(5) <= seen[0] && seen[2] + Duration::from_millis(5) <= seen[1], "{seen:?}");
    assert!(seen[2] > Duration::from_secs(1), "only little time is lost: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn expired_request_is_refused_before_the_handler_runs() {
    let begun = Count::default();
    let count = begun.clone();
    let address = tier(move || async move { count.add().to_string() }).await;
    let answer = send(&bare(), address, &[("x-request-timeout-ms", "0")]).await.unwrap();
    assert_eq!(answer.status, 504);
    assert_eq!(answer.body, "deadline_expired");
    assert_eq!(begun.get(), 0);
    assert_eq!(send(&bare(), address, &[("x-request-timeout-ms", "5000")]).await.unwrap().status, 200);
    assert_eq!(begun.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn handler_is_cut_at_the_deadline_of_its_request() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (began, drops) = (begun.clone(), dropped.clone());
    let address = tier(move || hang(&began, &drops)).await;
    let answer = send(&bare(), address, &[("x-envoy-expected-rq-timeout-ms", "40")]).await.unwrap();
    assert_eq!((answer.status.as_u16(), begun.get(), dropped.get()), (504, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn generated_body_sees_the_deadline() {
    let address = tier(|| async {
        let left = async { Ok::<_, BoxError>(format!("{:?}", context::time_left().map(|left| left < LONG / 2))) };
        axum::body::Body::from_stream(futures::stream::once(left))
    })
    .await;
    let answer = send(&bare(), address, &[("x-request-timeout-ms", "5000")]).await.unwrap();
    assert_eq!(answer.body, "Some(true)");
}

/// The headers that the dependency gets from a client with a deadline of three seconds.
async fn headers_sent(
    client: impl FnOnce(ServiceBuilder<tower::layer::util::Identity>) -> Client,
    own: &[(&str, &str)],
) -> HeaderMap {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let sees = Arc::clone(&seen);
    let address = tier(move |headers: HeaderMap| async move { *sees.lock().unwrap() = headers }).await;
    send(&client(ServiceBuilder::new()), address, own).await.unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

fn with_deadline(builder: ServiceBuilder<tower::layer::util::Identity>) -> Client {
    let stack = builder.layer(DeadlineLayer::http(Duration::from_secs(3)).unwrap()).layer(inject());
    whole(stack.service(HyperClient::builder(TokioExecutor::new()).build(Connector)))
}

#[tokio::test(start_paused = true)]
async fn shorter_timeout_header_stays_and_longer_is_replaced() {
    let less = headers_sent(with_deadline, &[("x-request-timeout-ms", "70")]).await;
    assert_eq!(less["x-request-timeout-ms"], "70");
    for more in [&[("x-request-timeout-ms", "60000")][..], &[("x-request-timeout-ms", "soon")], &[]] {
        let headers = headers_sent(with_deadline, more).await;
        let values: Vec<_> = headers.get_all("x-request-timeout-ms").iter().collect();
        let [value] = values[..] else { panic!("{values:?}") };
        let left: u64 = value.to_str().unwrap().parse().unwrap();
        assert!((1000..=2995).contains(&left), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_a_deadline_gets_no_header() {
    let headers = headers_sent(|_| injecting(), &[]).await;
    assert!(!headers.keys().any(|name| name.as_str().starts_with("x-")), "{headers:?}");
    let own = headers_sent(|_| injecting(), &[("x-request-timeout-ms", "soon")]).await;
    assert_eq!(own["x-request-timeout-ms"], "soon");
}

#[tokio::test(start_paused = true)]
async fn allowance_takes_only_a_share_of_a_short_deadline() {
    let tight = |builder: ServiceBuilder<_>| {
        let config = PropagationConfig { allowance: LONG, ..PropagationConfig::default() };
        let stack = builder.layer(DeadlineLayer::http(Duration::from_secs(3)).unwrap());
        let stack = stack.layer(InjectLayer::http(config).unwrap());
        whole(stack.service(HyperClient::builder(TokioExecutor::new()).build(Connector)))
    };
    let left: u64 = headers_sent(tight, &[]).await["x-request-timeout-ms"].to_str().unwrap().parse().unwrap();
    assert!((1000..=2700).contains(&left), "{left}");
}

#[test]
fn header_name_used_twice_is_a_fault() {
    let name = http::HeaderName::from_static("x-envoy-attempt-count");
    let headers = seawall::http::propagation::HeaderNames { timeout: name, ..Default::default() };
    let config = PropagationConfig { headers, max_timeout: Duration::ZERO, ..Default::default() };
    let faults = ExtractLayer::http(config).unwrap_err();
    let paths: Vec<_> = faults.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, ["headers.attempt", "max_timeout"]);
}

/// The header holds the time of this attempt, although the body may last longer.
#[tokio::test(start_paused = true)]
async fn timeout_header_holds_the_time_of_the_attempt() {
    let service = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let told = request.headers()["x-request-timeout-ms"].to_str().unwrap().to_owned();
        Ok::<_, BoxError>(Response::new(told))
    });
    let deadline = DeadlineConfig { head_timeout: Some(LONG / 2), timeout: LONG, ..DeadlineConfig::default() };
    let config = RetryConfig { attempt_timeout: Some(Duration::from_millis(700)), ..retries() };
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::http(deadline).unwrap())
        .layer(RetryLayer::http(config).unwrap())
        .layer(inject())
        .map_request(|request: Request<_>| request.map(|_| Empty::new()))
        .service(service);
    let answer = stack.oneshot(Request::new(Empty::<Bytes>::new())).await.unwrap();
    let told = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(told.parse::<u64>().unwrap() <= 700, "{told}");
}
