//! A service under five times its capacity keeps answering what it can, and slow readers hold no permit.
//!
//! ```text
//! cargo run --release --example server
//! ```
//! An axum service with seawall's layers in front, and callers of its own: for a second they send more work than the
//! four workers can do, while eight readers hold a large response each and do not read on. It exits with 1 if a check
//! fails.

#![allow(clippy::disallowed_methods, reason = "callers live in real time")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header::RETRY_AFTER};
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer, PermitsHandle};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tower::ServiceBuilder;

type Error = Box<dyn std::error::Error + Send + Sync>;

const WORKERS: u32 = 4;
const WORK: Duration = Duration::from_millis(20);
/// How long an answer is useful.
const DEADLINE: Duration = Duration::from_millis(500);
/// How long a reader may take for the body of the response.
const READ_WITHIN: Duration = Duration::from_millis(1400);

/// A second of load, at five times the 200 requests a second that the workers can do.
const OFFERED: u32 = 1000;
const SLOW_READERS: usize = 8;

/// The service, and a handle that shows how busy it is.
fn service() -> Result<(Router, PermitsHandle), Error> {
    // How many requests it can serve at once. The rest are defaults.
    let shed = LoadShedLayer::http(LoadShedConfig { max_in_flight: WORKERS, ..Default::default() })?;
    let handle = shed.handle();
    let layers = ServiceBuilder::new()
        // Outermost: refusals and cuts become 503 and 504 with Retry-After, so axum needs no error handler.
        .layer(RespondLayer::new())
        // The deadline bounds the work. Readers have a bound of their own, since their network may be slow.
        .layer(DeadlineLayer::http(DeadlineConfig {
            timeout: DEADLINE,
            body_timeout: Some(READ_WITHIN),
            ..Default::default()
        })?)
        // Inside the deadline: a request that cannot be served in the time left is refused at once.
        .layer(shed);
    let workers = Arc::new(Semaphore::new(WORKERS as usize));
    let app = Router::new().route("/work", get(work)).route("/report", get(report)).layer(layers).with_state(workers);
    Ok((app, handle))
}

async fn work(State(workers): State<Arc<Semaphore>>) -> &'static str {
    let _worker = workers.acquire().await;
    sleep(WORK).await;
    "done"
}

/// More than the buffers of a connection hold.
async fn report() -> Body {
    let page = Bytes::from(vec![b'.'; 64 * 1024]);
    Body::from_stream(futures::stream::iter((0..1024).map(move |_| Ok::<_, std::io::Error>(page.clone()))))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let (app, handle) = service()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());

    let callers = Callers { client: Client::builder(TokioExecutor::new()).build_http(), address };
    let mut readers = Vec::new();
    let heads = Instant::now();
    for _ in 0..SLOW_READERS {
        readers.push(callers.ask("/report").await?);
    }
    println!("{SLOW_READERS} slow readers have their heads: {} of {WORKERS} permits are in use", handle.in_flight());
    let none_taken = handle.in_flight() == 0;

    let Seen { good, shed, late, p99 } = callers.overload().await?;
    println!(
        "{OFFERED} requests in a second: {good} served in time, {shed} shed with a 503 and Retry-After, {late} otherwise"
    );
    println!("P99 of the served: {} ms; the deadline is {DEADLINE:?}", p99.as_millis());

    sleep_until(heads + READ_WITHIN + Duration::from_millis(100)).await;
    let mut cut = 0;
    for reader in readers {
        // What was buffered is still delivered; the rest is not.
        cut += usize::from(reader.into_body().collect().await.is_err());
    }
    println!("{cut} slow readers were cut after {READ_WITHIN:?}");

    // The workers can do 200 in that second.
    let held = none_taken && good >= 150 && shed > 0 && p99 <= DEADLINE && cut == SLOW_READERS;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the callers received.
#[derive(Default)]
struct Seen {
    good: usize,
    shed: usize,
    late: usize,
    p99: Duration,
}

#[derive(Clone)]
struct Callers {
    client: Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
}

impl Callers {
    async fn ask(&self, path: &str) -> Result<Response<Incoming>, Error> {
        let request = Request::get(format!("http://{}{path}", self.address)).body(Empty::new())?;
        Ok(self.client.request(request).await?)
    }

    /// Sends requests at a steady rate, whether earlier requests have ended or not.
    async fn overload(&self) -> Result<Seen, Error> {
        let mut calls = JoinSet::new();
        let mut ticks = interval(Duration::from_secs(1) / OFFERED);
        for _ in 0..OFFERED {
            ticks.tick().await;
            let callers = self.clone();
            calls.spawn(async move {
                let start = Instant::now();
                let response = callers.ask("/work").await?;
                let told_when = response.headers().contains_key(RETRY_AFTER);
                let status = response.status();
                response.into_body().collect().await?;
                Ok::<_, Error>((status, told_when, start.elapsed()))
            });
        }
        let mut seen = Seen::default();
        let mut waits = Vec::new();
        while let Some(call) = calls.join_next().await {
            match call?? {
                (StatusCode::OK, _, took) => waits.push(took),
                (StatusCode::SERVICE_UNAVAILABLE, true, _) => seen.shed += 1,
                _ => seen.late += 1,
            }
        }
        waits.sort_unstable();
        seen.good = waits.partition_point(|took| *took <= DEADLINE);
        seen.late += waits.len() - seen.good;
        seen.p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
        Ok(seen)
    }
}
