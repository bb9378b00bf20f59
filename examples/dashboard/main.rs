//! A service in trouble, and the live page that shows it.
//!
//! ```text
//! cargo run --release --all-features --example dashboard
//! ```
//! It prints the address of the page and runs until it is stopped. Every ninety seconds the dependency payments fails
//! for a while, and then search becomes slow: breakers open and probe, budgets empty, queues fill. `--controls` shows
//! buttons. `--seconds 60` ends it after that time. `--screenshot page.png` waits until both dependencies are in
//! trouble and takes a picture.

#![allow(clippy::disallowed_methods, reason = "the outage happens in real time")]

#[allow(dead_code, reason = "the tests ask more of it")]
#[path = "../../tests/dashboard/browser.rs"]
mod browser;
mod dependencies;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::dashboard::Dashboard;
use seawall::deadline::{Deadline, DeadlineLayer};
use seawall::http::{ByExtension, ByStatus, ReplayBody};
use seawall::load_shed::LoadShedConfig;
use seawall::rate_limit::{RateLimit, RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::time::{interval, sleep};
use tower::{BoxError, Layer, ServiceExt};

use browser::{Browser, program};
use dependencies::FaultyDependencies;

/// When both dependencies are in trouble.
const DURING_OUTAGE: Duration = Duration::from_secs(57);

/// A service in trouble, and the live page that shows it
#[derive(Debug, Parser)]
struct Arguments {
    /// The page is on this port of the loopback interface; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Ends after this time
    #[arg(long)]
    seconds: Option<u64>,
    /// Takes a picture of the page during the outage, and ends. Needs a Chromium
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// Every reader of the page may force breakers and set limits: here only this machine can reach it
    #[arg(long)]
    controls: bool,
}

/// The clients that a request to the service needs.
#[derive(Clone)]
struct Callees {
    payments: Callee,
    search: Callee,
    mail: Deadline<RateLimit<Client<HttpConnector, Empty<Bytes>>>, ByStatus, ByExtension>,
    at: SocketAddr,
}

type Callee = stack::Client<Client<HttpConnector, ReplayBody<Empty<Bytes>>>>;

fn callees(at: SocketAddr) -> Result<Callees, BoxError> {
    let config = ClientConfig {
        deadline: Duration::from_millis(500).into(),
        bulkhead: BulkheadConfig { max_concurrent: 12, max_wait: Duration::from_millis(100), ..Default::default() },
        // Probes often enough to be visible.
        circuit_breaker: CircuitBreakerConfig { max_break: Duration::from_secs(3), ..Default::default() },
        ..Default::default()
    };
    let client = |name| -> Result<Callee, BoxError> {
        Ok(stack::client(&config)?.named(name)?.service(Client::builder(TokioExecutor::new()).build_http()))
    };
    let twenty = RateLimitConfig { permits: 20, per: Duration::from_secs(1), ..Default::default() };
    let mail = RateLimitLayer::new(twenty)?.named("mail")?.layer(Client::builder(TokioExecutor::new()).build_http());
    let mail = DeadlineLayer::http(Duration::from_millis(500))?.named("mail")?.layer(mail);
    Ok(Callees { payments: client("payments")?, search: client("search")?, mail, at })
}

/// One request: search, pay, and a mail for one request in three.
async fn order(State(callees): State<Callees>) -> StatusCode {
    let at = |path: &str| {
        Request::get(format!("http://{}{path}", callees.at)).body(Empty::<Bytes>::new()).unwrap_or_default()
    };
    let found = read(callees.search.clone().oneshot(at("/search"))).await;
    let paid = read(callees.payments.clone().oneshot(at("/payments"))).await;
    if dependencies::one_in_three() {
        // The result of the mail does not matter here.
        let _ = read(callees.mail.clone().oneshot(at("/mail"))).await;
    }
    if found && paid { StatusCode::OK } else { StatusCode::BAD_GATEWAY }
}

async fn read<B>(call: impl Future<Output = Result<axum::http::Response<B>, BoxError>>) -> bool
where
    B: http_body::Body,
{
    match call.await {
        Ok(response) => response.status().is_success() & response.into_body().collect().await.is_ok(),
        Err(_) => false,
    }
}

async fn serve(port: u16, app: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(address)
}

/// Forty requests a second, whether earlier requests have ended or not.
async fn callers(service: SocketAddr) {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut ticks = interval(Duration::from_millis(25));
    loop {
        ticks.tick().await;
        let client = client.clone();
        tokio::spawn(async move {
            let Ok(request) = Request::get(format!("http://{service}/order")).body(Empty::new()) else { return };
            if let Ok(response) = client.request(request).await {
                let _ = response.into_body().collect().await;
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments = Arguments::parse();
    let faulty = FaultyDependencies::default();
    let dependencies = serve(0, faulty.router()).await?;

    let config = ServerConfig {
        deadline: Duration::from_secs(1).into(),
        load_shed: LoadShedConfig { max_in_flight: 32, ..Default::default() },
        ..Default::default()
    };
    let inbound = stack::server(&config)?.named("inbound")?;
    let service = Router::new().route("/order", get(order)).with_state(callees(dependencies)?).layer(inbound);
    let service = serve(0, service).await?;

    // On a port of its own, which is not public.
    let mut dashboard = Dashboard::new(Registry::global().clone());
    if arguments.controls {
        dashboard = dashboard.with_controls(|_| true);
    }
    let page = serve(arguments.port, Router::new().nest_service("/seawall", dashboard)).await?;
    println!("http://{page}/seawall");

    tokio::spawn(callers(service));
    tokio::spawn(async move { faulty.change().await });
    match (arguments.screenshot, arguments.seconds) {
        (Some(file), _) => {
            let program = program::find().ok_or("a picture needs a Chromium: install one, or set SEAWALL_BROWSER")?;
            sleep(DURING_OUTAGE).await;
            let url = format!("http://{page}/seawall");
            let picture = tokio::task::spawn_blocking(move || picture(&program, &url)).await?;
            std::fs::write(&file, STANDARD.decode(picture)?)?;
            println!("{}", file.display());
        }
        (None, Some(seconds)) => sleep(Duration::from_secs(seconds)).await,
        (None, None) => std::future::pending().await,
    }
    Ok(())
}

fn picture(program: &Path, url: &str) -> String {
    let mut browser = Browser::start(program);
    browser.viewport(1200, 1180, false);
    browser.color_scheme("light");
    browser.open(url);
    browser.wait_for("the rows", "document.querySelectorAll('.row').length > 0");
    browser.screenshot()
}
