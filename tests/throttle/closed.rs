//! A server that pays for its refusals, with and without a throttle at its client.
//!
//! The server has 10 slots, each call takes 100 ms of one, and it refuses calls by a load shedder. Each refusal costs 1 % of a call: the
//! next call that starts takes so much longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::{Instant, interval};
use tower::ServiceBuilder;
use tower::util::BoxCloneService;

use super::*;

type Client = BoxCloneService<Request<Full<Bytes>>, u16, BoxError>;

const CAPACITY: f64 = 100.0;

/// A client of a server of its own; the response of a call is its status.
fn client(throttle: ThrottleConfig) -> Client {
    let debt = Arc::new(AtomicU64::new(0));
    let charged = Arc::clone(&debt);
    let handler = service_fn(move |_: Request<Full<Bytes>>| {
        let debt = Arc::clone(&debt);
        async move {
            sleep(100 * MS + Duration::from_millis(debt.swap(0, Ordering::Relaxed))).await;
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }
    });
    let shed = LoadShedConfig { max_in_flight: 10, queue_ratio: 1.0, ..LoadShedConfig::default() };
    let server = ServiceBuilder::new()
        .map_response(move |response: Response<_>| {
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                charged.fetch_add(1, Ordering::Relaxed);
            }
            response
        })
        .layer(RespondLayer::new())
        .layer(LoadShedLayer::http(shed).unwrap())
        .service(handler);
    let throttled = ThrottleLayer::http(throttle).unwrap().layer(server);
    let status = ServiceExt::<Request<Full<Bytes>>>::map_response(throttled, |response| response.status().as_u16());
    BoxCloneService::new(status)
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    offered: u32,
    good: u32,
    refused_here: u32,
}

impl Outcome {
    fn goodput(self, time: Duration) -> f64 {
        f64::from(self.good) / (CAPACITY * time.as_secs_f64())
    }
}

/// Calls at this multiple of the server's capacity for a time.
async fn open_loop(client: &Client, priority: Priority, load: f64, time: Duration) -> Outcome {
    let (end, mut outcome) = (Instant::now() + time, Outcome::default());
    let mut ticks = interval(Duration::from_secs_f64(1.0 / (CAPACITY * load)));
    let mut calls = tokio::task::JoinSet::new();
    while Instant::now() < end {
        ticks.tick().await;
        outcome.offered += 1;
        let call = client.clone().oneshot(Request::new(Full::default()));
        calls.spawn(context::with_priority(priority, call));
    }
    for answer in calls.join_all().await {
        match answer {
            Ok(200) => outcome.good += 1,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(rejection(&error).expect("a refusal").reason(), Reason::Throttled);
                outcome.refused_here += 1;
            }
        }
    }
    outcome
}

fn off() -> ThrottleConfig {
    ThrottleConfig { enabled: false, ..ThrottleConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn throttle_saves_the_capacity_that_refusals_cost() {
    for (load, least, most_without) in [(1.5, 0.97, 1.02), (3.0, 0.97, 1.02), (10.0, 0.97, 0.93)] {
        let time = 12 * SECOND;
        let mut goodput = [0.0; 2];
        for (config, goodput) in [ThrottleConfig::default(), off()].into_iter().zip(&mut goodput) {
            let client = client(config);
            open_loop(&client, Priority::Normal, load, 3 * SECOND).await;
            *goodput = open_loop(&client, Priority::Normal, load, time).await.goodput(time);
        }
        let [with, without] = goodput;
        assert!(with >= least && without <= most_without, "{load}x: {with} with, {without} without");
        assert!(with >= without - 0.005, "{load}x: {with} with, {without} without");
    }
}

/// In balance the client sends twice as many calls as are accepted.
#[tokio::test(start_paused = true)]
async fn twice_as_many_calls_as_are_accepted_are_sent() {
    let client = client(ThrottleConfig::default());
    open_loop(&client, Priority::Normal, 10.0, 10 * SECOND).await;
    let outcome = open_loop(&client, Priority::Normal, 10.0, 10 * SECOND).await;
    let sent = f64::from(outcome.offered - outcome.refused_here);
    assert!((sent / f64::from(outcome.good) - 2.0).abs() < 0.1, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_once_the_overload_is_over() {
    let client = client(ThrottleConfig::default());
    let overload = open_loop(&client, Priority::Normal, 10.0, 10 * SECOND).await;
    assert!(overload.refused_here > 5_000, "{overload:?}");
    open_loop(&client, Priority::Normal, 0.8, 7 * SECOND).await;
    let after = open_loop(&client, Priority::Normal, 0.8, 20 * SECOND).await;
    assert_eq!((after.refused_here, after.good), (0, after.offered), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn important_calls_are_served_during_an_overload() {
    let client = client(ThrottleConfig::default());
    let time = 20 * SECOND;
    let (low, high) =
        tokio::join!(open_loop(&client, Priority::Low, 4.0, time), open_loop(&client, Priority::High, 0.5, time),);
    assert!(f64::from(high.good) >= 0.99 * f64::from(high.offered), "{high:?}");
    assert!(high.refused_here == 0 && low.refused_here > low.offered / 3, "{high:?} {low:?}");
}
