//! How does a client follow a file that lists its endpoints, and what happens to calls while the list changes?
//!
//! ```text
//! cargo run --release --all-features --example endpoints
//! ```
//! Three servers, and a file with the addresses of two of them, one on each line. Callers never pause. The file is edited while they
//! call: an endpoint is added, another one removed, and then the file is emptied by mistake. It exits with 1 if a call failed.

#![allow(clippy::disallowed_methods, reason = "a file is watched in real time")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures::{Stream, stream};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::balance::{AtEndpoint, Endpoint};
use seawall::stack::{self, BalancedClientConfig};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::ServiceExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How often the file is read.
const INTERVAL: Duration = Duration::from_millis(100);

/// The sets that a file lists, one after the other. A file that cannot be read is read again; what it lists is checked by the balancer,
/// which keeps the last good set.
fn listed_in(file: PathBuf) -> impl Stream<Item = Vec<Endpoint>> {
    stream::unfold(None::<String>, move |last| {
        let file = file.clone();
        async move {
            loop {
                match std::fs::read_to_string(&file) {
                    Ok(text) if last.as_ref() != Some(&text) => {
                        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                        let endpoints = lines.map(|line| Endpoint::new(line.to_owned())).collect();
                        return Some((endpoints, Some(text)));
                    }
                    Ok(_) => {}
                    Err(error) => eprintln!("{}: {error}", file.display()),
                }
                sleep(INTERVAL).await;
            }
        }
    })
}

/// A server, and how many calls it has answered.
struct Server {
    address: SocketAddr,
    calls: Arc<AtomicU32>,
}

async fn serve() -> Result<Server, Error> {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let answer = get(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
        "an answer"
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, Router::new().route("/", answer)).into_future());
    Ok(Server { address, calls })
}

/// What each server has answered in the next half second.
async fn watch(servers: &[Server], title: &str) -> Vec<u32> {
    sleep(3 * INTERVAL).await;
    servers.iter().for_each(|server| server.calls.store(0, Ordering::Relaxed));
    sleep(5 * INTERVAL).await;
    let calls: Vec<_> = servers.iter().map(|server| server.calls.load(Ordering::Relaxed)).collect();
    println!("{title:<36} {calls:?} calls");
    calls
}

/// Replaces the file whole, by rename: a reader never sees half of it.
fn write(file: &std::path::Path, servers: &[&Server]) -> Result<(), Error> {
    let draft = file.with_extension("new");
    let lines: String = servers.iter().map(|server| format!("{}\n", server.address)).collect();
    std::fs::write(&draft, lines)?;
    Ok(std::fs::rename(draft, file)?)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let servers = [serve().await?, serve().await?, serve().await?];
    let [a, b, c] = &servers;
    let file = std::env::temp_dir().join(format!("endpoints-{}.txt", std::process::id()));
    write(&file, &[a, b])?;

    let layers = stack::balanced_client(&BalancedClientConfig::default())?.named("answers")?;
    layers.balance().follow(listed_in(file.clone()));
    let http = Client::builder(TokioExecutor::new()).build_http();
    let client = layers.service(move |endpoint| AtEndpoint::new(endpoint, http.clone()));

    let (is_over, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, is_over, failed) = (client.clone(), Arc::clone(&is_over), Arc::clone(&failed));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let request = Request::get("http://answers/").body(Empty::<Bytes>::new()).expect("a valid request");
                    let answer = async { client.clone().oneshot(request).await?.into_body().collect().await };
                    if let Err(error) = answer.await {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("a call failed: {error}");
                    }
                }
            })
        })
        .collect();

    println!("calls at the servers [a, b, c] in half a second\n");
    let two = watch(&servers, "the file lists a and b").await;
    write(&file, &[a, b, c])?;
    let three = watch(&servers, "c is added, and starts slowly").await;
    write(&file, &[b, c])?;
    let rest = watch(&servers, "a is removed").await;
    write(&file, &[])?;
    let kept = watch(&servers, "the file is empty: the set stays").await;

    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }
    std::fs::remove_file(&file)?;
    let failed = failed.load(Ordering::Relaxed);
    println!("\n{failed} calls failed");
    let is_as_listed =
        two[2] == 0 && three.iter().all(|calls| *calls > 0) && rest[0] == 0 && kept[0] == 0 && kept[1] > 0;
    if !is_as_listed {
        eprintln!("the calls did not follow the file");
    }
    Ok(if failed == 0 && is_as_listed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
