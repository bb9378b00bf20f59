//! How do I change settings of a service at work, without a restart and without a failed call?
//!
//! ```text
//! cargo run --release --all-features --example reload [-- --in-flight 10000 --reloads 100]
//! cargo run --release --all-features --example reload -- --watch settings.toml
//! ```
//! A client whose settings are in a file, which is watched: whoever edits it, in place or by the rename that editors and
//! deployments do, changes the settings of calls from then on. By itself the example keeps ten thousand calls in flight, on real
//! sockets, while the file is replaced a hundred times, and once by one that is wrong. It exits with 1 if a call failed.

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
use notify::{RecursiveMode, Watcher};
use seawall::config;
use seawall::error::InvalidConfig;
use seawall::http::ReplayBody;
use seawall::stack::{self, ClientConfig, ClientLayer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
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
    /// Watch this file instead, and tell what becomes of each edit, until interrupted.
    #[arg(long)]
    watch: Option<PathBuf>,
}

/// Reads the settings of the client from a file. All that is wrong with it is in the error.
fn load(file: &Path) -> Result<ClientConfig, Error> {
    let text = fs::read_to_string(file)?;
    Ok(config::load(toml::Deserializer::parse(&text).map_err(InvalidConfig::unreadable)?)?)
}

/// Tells of each change of a file, however it is made: the folder is watched, since a rename puts another file in its place.
struct Watch {
    changes: mpsc::UnboundedReceiver<()>,
    _watcher: notify::RecommendedWatcher,
}

impl Watch {
    fn new(file: &Path) -> Result<Self, Error> {
        let file = file.canonicalize()?;
        let folder = file.parent().ok_or("a file has a folder")?.to_owned();
        let (tell, changes) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_change = |event: notify::Event| !event.kind.is_access() && event.paths.contains(&file);
            // What could not be seen may have been a change.
            if event.map_or(true, is_change) {
                let _ = tell.send(());
            }
        })?;
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(Self { changes, _watcher: watcher })
    }

    async fn changed(&mut self) {
        let _ = self.changes.recv().await;
        // One edit is several events; who reads in the midst of it is told again.
        while self.changes.try_recv().is_ok() {}
    }
}

/// Gives the client the settings of the file each time that it changes.
async fn follow(file: &Path, mut watch: Watch, layers: ClientLayer, seen: mpsc::UnboundedSender<Result<(), Error>>) {
    loop {
        watch.changed().await;
        let outcome = load(file).and_then(|config| Ok(layers.reload(&config)?));
        if seen.send(outcome).is_err() {
            return;
        }
    }
}

fn main() -> Result<ExitCode, Error> {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match &options.watch {
        Some(file) => runtime.block_on(watch(file)),
        None => runtime.block_on(hold(&options)),
    }
}

/// For whoever wants to try it with an editor.
async fn watch(file: &Path) -> Result<ExitCode, Error> {
    if !file.exists() {
        fs::write(file, settings(64, Duration::from_secs(2)))?;
    }
    let layers = stack::client(&load(file)?)?;
    println!("edit {}; each change is tried at once", file.display());
    let (tell, mut seen) = mpsc::unbounded_channel();
    let following = follow(file, Watch::new(file)?, layers.clone(), tell);
    let telling = async {
        while let Some(outcome) = seen.recv().await {
            match outcome {
                Ok(()) => println!("applied: {} permits", layers.bulkhead().limit()),
                Err(error) => println!("not applied, all stays as it is: {error:#}"),
            }
        }
    };
    tokio::join!(following, telling);
    Ok(ExitCode::SUCCESS)
}

fn settings(permits: u32, deadline: Duration) -> String {
    format!(
        "[deadline]\ntimeout = \"{}s\"\n\n[bulkhead]\nmax_concurrent = {permits}\nmax_waiting = 100000\nmax_wait = \"1m\"\n",
        deadline.as_secs()
    )
}

/// Replaces the file as editors and deployments do: by another one that takes its name. Now and then it is written in place.
fn replace(file: &Path, text: &str, in_place: bool) -> Result<(), Error> {
    if in_place {
        return Ok(fs::write(file, text)?);
    }
    let draft = file.with_extension("toml.new");
    fs::write(&draft, text)?;
    Ok(fs::rename(draft, file)?)
}

/// How long the dependency takes for an answer at the least, and at the most: calls end and begin all the time.
const WORK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// From one reload to the next.
const PACE: Duration = Duration::from_millis(40);

/// An HTTP/2 service on loopback that takes its time.
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

/// Calls one after another, until it is over.
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
    let layers = stack::client(&load(&file)?)?;
    let address = dependency(2 * options.in_flight).await?;
    let client = layers.service(Client::builder(TokioExecutor::new()).http2_only(true).build_http());

    let tally = Arc::new(Tally::default());
    let callers: Vec<_> =
        (0..options.in_flight).map(|_| tokio::spawn(caller(client.clone(), address, Arc::clone(&tally)))).collect();
    until(|| tally.in_flight.load(Ordering::Relaxed) == u64::from(options.in_flight), "all calls are in flight")
        .await?;

    let (tell, mut seen) = mpsc::unbounded_channel();
    let following = tokio::spawn({
        let (file, watch, layers) = (file.clone(), Watch::new(&file)?, layers.clone());
        async move { follow(&file, watch, layers, tell).await }
    });
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} reloads, {elapsed}")?;
    let bar = ProgressBar::new(options.reloads.into()).with_style(style);
    for reload in 0..options.reloads {
        // From far more permits than there are calls down to half of what is in flight, and back.
        let permits = if reload % 2 == 0 { options.in_flight / 2 } else { 2 * options.in_flight };
        let deadline = Duration::from_secs(if reload % 3 == 0 { 30 } else { 60 });
        replace(&file, &settings(permits.max(1), deadline), reload % 10 == 9)?;
        until(
            || {
                while seen.try_recv().is_ok() {}
                let limit = layers.bulkhead().limit();
                limit == permits.max(1)
            },
            "the new settings hold",
        )
        .await?;
        sleep(PACE).await;
        bar.inc(1);
    }
    bar.finish_and_clear();

    let before = layers.bulkhead().limit();
    while seen.try_recv().is_ok() {}
    replace(&file, "[bulkhead]\nmax_concurrent = 0\nmax_wait = \"soon\"\n[deadlin]\n", false)?;
    let refused = timeout(Duration::from_secs(10), seen.recv()).await?.ok_or("nobody follows")?;
    let told = format!("{:#}", refused.expect_err("three faults"));
    let is_kept = layers.bulkhead().limit() == before;
    println!("of the one that is wrong: {told}\n");

    tally.is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }
    following.abort();

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
            return Err(format!("after a minute it is still not so that {what}").into());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
