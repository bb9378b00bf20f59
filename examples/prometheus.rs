//! What Prometheus sees of a dependency that fails for a while.
//!
//! ```console
//! cargo run --release --example prometheus
//! ```
//! A service with `/metrics`, and a client of a ledger that fails for a second and a half. The service scrapes itself
//! during the outage and after it, prints the series that show it, and exits with 1 if they do not. `docs/grafana` has
//! a dashboard and alerts for these metrics.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use seawall::registry::Registry;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::interval;
use tower::ServiceExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The buckets are close to each other around the deadlines.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A hundred calls a second.
const PACE: Duration = Duration::from_millis(10);
const HEALTHY: usize = 100;
const BROKEN: usize = 150;
const REPAIRED: usize = 300;

/// The recorder that Prometheus scrapes. Install it early; events from before its installation are published later.
fn recorder() -> Result<PrometheusHandle, Error> {
    // Without buckets the exporter makes summaries, and quantiles over several instances cannot be computed.
    let buckets = Matcher::Suffix("_seconds".to_owned());
    let handle = PrometheusBuilder::new().set_buckets_for_metric(buckets, &BUCKETS)?.install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        // Merges samples while no scrape does.
        let mut ticks = interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// The service: each request calls the ledger.
fn service(ledger: String, recorder: PrometheusHandle) -> Result<Router, Error> {
    // All metrics of these layers carry this name. Name the dependency, not its hosts.
    let client = stack::client(&ClientConfig::default())?
        .named("ledger")?
        .service(Client::builder(TokioExecutor::new()).build_http());
    let pay = move || {
        let client = client.clone();
        let request = Request::get(&ledger).body(Empty::<Bytes>::new());
        async move {
            let request = request.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            let answer = client.oneshot(request).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            match answer.status() {
                StatusCode::OK => answer.into_body().collect().await.map_err(|_| StatusCode::BAD_GATEWAY),
                _ => Err(StatusCode::BAD_GATEWAY),
            }
            .map(|body| body.to_bytes())
        }
    };
    let metrics = move || async move {
        // Includes what happened in the last second.
        Registry::global().publish();
        recorder.render()
    };
    let app = Router::new().route("/pay", get(pay)).layer(stack::server(&ServerConfig::default())?.named("front")?);
    // Outside of the layers: metrics are needed most while the layers refuse.
    Ok(app.route("/metrics", get(metrics)))
}

/// The dependency. It fails while it is told to.
fn ledger(broken: Arc<AtomicBool>) -> Router {
    Router::new().fallback(async move || match broken.load(Ordering::SeqCst) {
        true => (StatusCode::INTERNAL_SERVER_ERROR, "no"),
        false => (StatusCode::OK, "booked"),
    })
}

async fn serve(app: Router) -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(format!("http://{address}"))
}

async fn ask(url: String) -> Result<(StatusCode, String), Error> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::get(url).body(Empty::<Bytes>::new())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Calls at a steady pace, whether earlier calls have ended or not. Returns how many calls succeeded.
async fn calls(url: &str, number: usize) -> Result<usize, Error> {
    let mut calls = JoinSet::new();
    let mut ticks = interval(PACE);
    for _ in 0..number {
        ticks.tick().await;
        calls.spawn(ask(format!("{url}/pay")));
    }
    let mut well = 0;
    while let Some(call) = calls.join_next().await {
        well += usize::from(call??.0 == StatusCode::OK);
    }
    Ok(well)
}

/// The sum over all series of a metric that have these labels.
fn sum(scrape: &str, metric: &str, labels: &[&str]) -> f64 {
    let series = scrape.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} "));
    let chosen = series.filter(|(of, _)| labels.iter().all(|label| of.contains(label)));
    chosen.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

fn print(scrape: &str, metrics: &[&str]) {
    for line in scrape.lines().filter(|line| line.contains("name=\"ledger\"")) {
        if metrics.iter().any(|metric| line.starts_with(metric)) {
            println!("    {line}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let recorder = recorder()?;
    let broken = Arc::new(AtomicBool::new(false));
    let ledger = serve(ledger(Arc::clone(&broken))).await?;
    let front = serve(service(ledger, recorder)?).await?;
    let scrape = || ask(format!("{front}/metrics"));

    let well = calls(&front, HEALTHY).await?;
    println!("{well} of {HEALTHY} calls are answered while the ledger works.");

    broken.store(true, Ordering::SeqCst);
    let answered = calls(&front, BROKEN).await?;
    let (_, during) = scrape().await?;
    println!("{answered} of {BROKEN} while it is broken; Prometheus sees:");
    let state = "seawall_circuit_breaker_state";
    print(&during, &[state, "seawall_circuit_breaker_transitions_total", "seawall_rejected_total", "seawall_retries"]);

    broken.store(false, Ordering::SeqCst);
    let again = calls(&front, REPAIRED).await?;
    let (_, after) = scrape().await?;
    println!("{again} of {REPAIRED} after it was repaired; Prometheus sees:");
    print(&after, &[state, "seawall_call_duration_seconds_count", "seawall_retry_budget_left", "seawall_limit"]);

    let refused = sum(&during, "seawall_rejected_total", &["name=\"ledger\"", "reason=\"circuit_open\""]);
    let opened = sum(&during, "seawall_circuit_breaker_transitions_total", &["from=\"closed\"", "to=\"open\""]);
    let closed = sum(&after, "seawall_circuit_breaker_transitions_total", &["to=\"closed\""]);
    let retries = sum(&after, "seawall_retries_total", &["name=\"ledger\""]);
    let counted = sum(&after, "seawall_call_duration_seconds_count", &["name=\"ledger\"", "layer=\"retry\""]);
    let in_buckets =
        sum(&after, "seawall_call_duration_seconds_bucket", &["name=\"ledger\"", "layer=\"retry\"", "le=\"+Inf\""]);
    let made = (HEALTHY + BROKEN + REPAIRED) as f64;
    let checks = [
        ("while the ledger works, all calls are answered", well == HEALTHY),
        (
            "while it fails, the breaker opens, and a metric shows it",
            opened >= 1.0 && sum(&during, state, &["name=\"ledger\""]) >= 1.0,
        ),
        ("the calls are refused at once, and counted", refused > 0.0),
        // A tenth of the calls, and the reserve: ten, and one in ten seconds.
        ("retries stay within their budget", retries > 0.0 && retries <= 0.1 * made + 20.0),
        (
            "after the repair, the breaker closes by itself",
            closed >= 1.0 && sum(&after, state, &["name=\"ledger\""]) == 0.0,
        ),
        ("most calls succeed again", again > REPAIRED / 2),
        ("each call is counted once, and in a bucket", counted == made && in_buckets == made),
    ];
    for (what, holds) in checks {
        println!("{} {what}", if holds { "  holds:" } else { "  FAILS:" });
    }
    Ok(if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
