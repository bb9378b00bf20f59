//! What do callers get while replicas disagree, or fail? What most of them say, and otherwise a copy that may be old.
//!
//! ```text
//! cargo run --release --all-features --example replicas
//! ```
//! Three servers tell a price. A read asks all three, and takes what two of them say (a quorum), through one balanced client. Without a
//! quorum, the last price that was read answers, and says that it may be old (a fallback). One server then tells an old price, and later
//! two are down. It exits with 1 if a caller got a wrong price, or none.

#![allow(clippy::disallowed_methods, reason = "servers on real sockets, in real time")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::balance::{AtEndpoint, Endpoint};
use seawall::fallback::{self, Failure, FallbackConfig, FallbackLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::stack::{self, BalancedClientConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A price as callers see it.
#[derive(Debug)]
struct Price {
    cents: u32,
    /// Why it may be old.
    instead_of: Option<Box<Failure<Price>>>,
}

/// A server that tells a price.
struct Replica {
    address: String,
    cents: Arc<AtomicU32>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Replica {
    async fn start(cents: u32) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let cents = Arc::new(AtomicU32::new(cents));
        let told = Arc::clone(&cents);
        let answer = get(async move || told.load(Ordering::Relaxed).to_string());
        let task = tokio::spawn(axum::serve(listener, Router::new().route("/price", answer)).into_future());
        Ok(Self { address, cents, task })
    }
}

/// Reads the price twenty times. Returns how many of the answers were good.
async fn read<S>(prices: &S, title: &str, expected: u32) -> usize
where
    S: Service<(), Response = Price, Error = Error> + Clone,
{
    let (mut good, mut last) = (0, String::new());
    for _ in 0..20 {
        last = match prices.clone().oneshot(()).await {
            Ok(price) => {
                good += usize::from(price.cents == expected);
                let why = price.instead_of.map(|failure| format!(", may be old: {}", failure.cause()));
                format!("{} cents{}", price.cents, why.unwrap_or_default())
            }
            Err(error) => error.to_string(),
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{title:<32} {good:>2} of 20 as expected; the last one: {last}");
    good
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let replicas = [Replica::start(100).await?, Replica::start(100).await?, Replica::start(100).await?];
    let endpoints = replicas.iter().map(|replica| Endpoint::new(replica.address.clone()));
    let layers =
        stack::balanced_client(&BalancedClientConfig::default())?.with_endpoints(endpoints)?.named("prices")?;
    let http = Client::builder(TokioExecutor::new()).build_http();
    let client = layers.service(move |endpoint| AtEndpoint::new(endpoint, http.clone()));

    // The quorum is around the whole client, so that each of its calls is retried by itself.
    let config = QuorumConfig { endpoints: 3, agree: 2, ..QuorumConfig::default() };
    let agreed = QuorumLayer::http(config)?.layer(client);
    let newest = Arc::new(AtomicU32::new(0));
    let kept = Arc::clone(&newest);
    let asked = service_fn(move |()| {
        let (agreed, kept) = (agreed.clone(), Arc::clone(&kept));
        async move {
            let request = Request::get("http://prices/price").body(Empty::<Bytes>::new())?;
            let body = agreed.oneshot(request).await?.into_body().collect().await?.to_bytes();
            let cents = std::str::from_utf8(&body)?.parse()?;
            kept.store(cents, Ordering::Relaxed);
            Ok::<_, Error>(Price { cents, instead_of: None })
        }
    });
    let copy = fallback::from_fn(move |_: &Failure<Price>| match newest.load(Ordering::Relaxed) {
        0 => None,
        cents => Some(cents),
    });
    let prices = FallbackLayer::new(FallbackConfig::default(), copy)?
        .marked_by(|cents, failure| Price { cents, instead_of: Some(Box::new(failure)) })
        .layer(asked);

    let mut good = read(&prices, "three replicas say 100", 100).await;
    replicas.iter().skip(1).for_each(|replica| replica.cents.store(120, Ordering::Relaxed));
    good += read(&prices, "two say 120, and one still 100", 120).await;
    replicas[1].task.abort();
    replicas[2].task.abort();
    good += read(&prices, "the two are down", 120).await;
    Ok(if good == 60 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
