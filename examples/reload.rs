//! How do I change the settings of a running service, without a restart and without a failed call?
//!
//! ```text
//! cargo run --release --all-features --example reload [-- --in-flight 10000 --reloads 100]
//! cargo run --release --all-features --example reload -- --watch settings.toml
//! ```
//! A client whose settings are in a file. An edit of the file, in place or by rename as editors and deployments do,
//! applies to later calls. Without arguments the example keeps ten thousand calls in flight on real sockets while the
//! file is replaced a hundred times, and once by an invalid one. It exits with 1 if a call failed.

#![allow(clippy::disallowed_methods, reason = "files are edited in real time")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use indicatif::{ProgressBar, ProgressStyle};
use seawall::config::{self, Config};
use seawall::error::InvalidConfig;
use seawall::http::ReplayBody;
use seawall::registry::{Condition, Registry};
use seawall::stack::{self, SettingsFile, Stacks};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    /// How many calls are in flight at any time.
    #[arg(long, default_value_t = 10_000)]
    in_flight: u32,
    /// How often the settings are replaced.
    #[arg(long, default_value_t = 100)]
    reloads: u32,
    /// Watch this file instead, and print the outcome of each edit, until interrupted.
    #[arg(long)]
    watch: Option<PathBuf>,
}

/// Parses the settings. The error lists all faults.
fn read(text: &str) -> Result<Config, InvalidConfig> {
    config::load(toml::Deserializer::parse(text).map_err(InvalidConfig::unreadable)?)
}

/// The faults of the settings that were read last, if they were not applied.
fn faults() -> Vec<String> {
    let condition = Registry::global().snapshot().components.into_iter().map(|component| component.condition);
    condition
        .filter_map(|is| if let Condition::Settings(settings) = is { Some(settings.faults) } else { None })
        .flatten()
        .collect()
}

fn main() -> Result<ExitCode, Error> {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match &options.watch {
        Some(file) => runtime.block_on(watch(file)),
        None => runtime.block_on(hold(&options)),
    }
}

/// For edits by hand.
async fn watch(file: &Path) -> Result<ExitCode, Error> {
    if !file.exists() {
        fs::write(file, settings(64, Duration::from_secs(2)))?;
    }
    let followed = SettingsFile::new(file, read);
    let stacks = Stacks::new("settings", followed.load()?)?;
    let payments = stacks.client("payments")?;
    stacks.check_names()?;
    let _following = stacks.follow(followed);
    println!("edit {}; each change is read within two seconds", file.display());
    let (mut limit, mut told) = (payments.bulkhead().limit(), Vec::new());
    loop {
        sleep(Duration::from_millis(200)).await;
        let (now, faults) = (payments.bulkhead().limit(), faults());
        if faults != told && !faults.is_empty() {
            println!("not applied, nothing has changed:\n  {}", faults.join("\n  "));
        }
        if now != limit {
            println!("applied: {now} permits");
        }
        (limit, told) = (now, faults);
    }
}

fn settings(permits: u32, deadline: Duration) -> String {
    format!(
        "[client.payments.deadline]\ntimeout = \"{}s\"\n\n[client.payments.bulkhead]\nmax_concurrent = {permits}\nmax_waiting = 100000\nmax_wait = \"1m\"\n",
        deadline.as_secs()
    )
}

/// Replaces the file by rename, as editors and deployments do. Now and then it writes in place.
fn replace(file: &Path, text: &str, in_place: bool) -> Result<(), Error> {
    if in_place {
        return Ok(fs::write(file, text)?);
    }
    let draft = file.with_extension("toml.new");
    fs::write(&draft, text)?;
    Ok(fs::rename(draft, file)?)
}

/// The shortest and the longest time of an answer of the dependency: calls end and begin all the time.
const WORK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The pause between two reloads.
const PACE: Duration = Duration::from_millis(40);

/// A slow HTTP/2 service on loopback.
async fn dependency(streams: u32) -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answered = Arc::new(AtomicU32::new(0));
    let app = Router::new().route(
        "/",
        get(move || async move {
            let share = answered.fetch_add(1, Ordering::Relaxed) % 100;
            sleep(WORK[0] + (WORK[1] - WORK[0]) * share / 100).await;
            "done"
        }),
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().max_concurrent_streams(streams).max_pending_accept_reset_streams(None);
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

#[derive(Default)]
struct Tally {
    in_flight: AtomicU64,
    most: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    is_over: AtomicBool,
}

type Payments = stack::Client<Client<HttpConnector, ReplayBody<Empty<Bytes>>>>;

/// Makes one call after another until the run ends.
async fn caller(client: Payments, address: SocketAddr, tally: Arc<Tally>) {
    while !tally.is_over.load(Ordering::Relaxed) {
        let now = tally.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        tally.most.fetch_max(now, Ordering::Relaxed);
        if let Err(error) = call(client.clone(), address).await {
            if tally.failed.fetch_add(1, Ordering::Relaxed) < 3 {
                eprintln!("a call failed: {error}");
            }
        }
        tally.in_flight.fetch_sub(1, Ordering::Relaxed);
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn call(client: Payments, address: SocketAddr) -> Result<(), Error> {
    let response = client.oneshot(Request::get(format!("http://{address}/")).body(Empty::new())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() && body == "done" { Ok(()) } else { Err(format!("answered {status}").into()) }
}

async fn hold(options: &Options) -> Result<ExitCode, Error> {
    let folder = std::env::temp_dir().join(format!("seawall-reload-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = hold_in(&folder, options).await;
    let _ = fs::remove_dir_all(&folder);
    result
}

async fn hold_in(folder: &Path, options: &Options) -> Result<ExitCode, Error> {
    let file = folder.join("payments.toml");
    fs::write(&file, settings(2 * options.in_flight, Duration::from_secs(60)))?;
    let followed = SettingsFile::new(&file, read);
    let stacks = Stacks::new("settings", followed.load()?)?;
    let payments = stacks.client("payments")?;
    stacks.check_names()?;
    let address = dependency(2 * options.in_flight).await?;
    let client = payments.service(Client::builder(TokioExecutor::new()).http2_only(true).build_http());

    let tally = Arc::new(Tally::default());
    let callers: Vec<_> =
        (0..options.in_flight).map(|_| tokio::spawn(caller(client.clone(), address, Arc::clone(&tally)))).collect();
    until(|| tally.in_flight.load(Ordering::Relaxed) == u64::from(options.in_flight), "all calls are in flight")
        .await?;

    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} reloads, {elapsed}")?;
    let bar = ProgressBar::new(options.reloads.into()).with_style(style);
    for reload in 0..options.reloads {
        // From far more permits than there are calls down to half of the calls in flight, and back.
        let permits = if reload % 2 == 0 { options.in_flight / 2 } else { 2 * options.in_flight };
        let deadline = Duration::from_secs(if reload % 3 == 0 { 30 } else { 60 });
        replace(&file, &settings(permits.max(1), deadline), reload % 10 == 9)?;
        stacks.reload(followed.load())?;
        sleep(PACE).await;
        bar.inc(1);
    }
    bar.finish_and_clear();

    let before = payments.bulkhead().limit();
    let following = stacks.follow(followed);
    let wrong = "[client.payments.bulkhead]\nmax_concurrent = 0\nmax_wait = \"soon\"\n[client.payments.deadlin]\n";
    replace(&file, wrong, false)?;
    until(|| !faults().is_empty(), "the invalid file is detected").await?;
    let told = faults().join("\n  ");
    let is_kept = payments.bulkhead().limit() == before;
    drop(following);
    println!("faults of the invalid file:\n  {told}\n");

    tally.is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }

    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (done, failed, most) = (count(&tally.done), count(&tally.failed), count(&tally.most));
    println!("{done} calls, {most} of them in flight at once, and {} reloads", options.reloads);
    println!("figure reload.in_flight {most}");
    println!("figure reload.reloads {}", options.reloads);
    println!("figure reload.calls {done}");
    println!("figure reload.failed {failed}");
    let holds =
        failed == 0 && is_kept && ["max_concurrent", "max_wait", "deadlin"].iter().all(|fault| told.contains(fault));
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn until(holds: impl FnMut() -> bool, what: &str) -> Result<(), Error> {
    let mut holds = holds;
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("after a minute this is still not true: {what}").into());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
