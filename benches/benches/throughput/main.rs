//! How many HTTP/1.1 calls a second pass over real sockets, with the assembled stacks and without.
//!
//! ```text
//! cargo bench -p seawall-benches --bench throughput [-- --quick]
//! ```
//!
//! Clients and servers of hyper share one multi-thread runtime with a thread for each core. 32 callers send requests
//! with bodies of 200 bytes, one after the other, over connections that are kept, and read answers of the same size.
//!
//! Three contenders are measured in turn, round after round, so that other load on the machine affects them alike:
//! plain hyper, the client stack around its client, and the server stack in front of its service. A ratio is the
//! number of calls with a stack by that without, in the same round. Medians are reported. All processor time of this
//! machine goes into the calls, so a ratio shows the share of the stack in the work of both sides: a real service,
//! which also does something, loses less.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads the real clock")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seawall_benches::layers;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::{BoxError, Service, ServiceExt, service_fn};

const CALLERS: usize = 32;
const BODY: &[u8] = &[b'x'; 200];

fn main() -> Result<(), BoxError> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, slice) = if is_quick { (9, Duration::from_millis(300)) } else { (41, Duration::from_millis(500)) };
    let runtime = Runtime::new()?;

    let (plain, stacked) = runtime.block_on(async { (serve(false).await, serve(true).await) });
    let (plain, stacked) = (plain?, stacked?);
    let builder = Client::builder(TokioExecutor::new());
    let bare = Contender::new("bare", builder.build_http(), plain);
    let with_client = Contender::new("client", layers::http_client().service(builder.build_http()), plain);
    let with_server = Contender::new("server", builder.build_http(), stacked);

    let mut measured = Vec::new();
    for round in 0..=rounds {
        let calls = [bare.run(&runtime, slice), with_client.run(&runtime, slice), with_server.run(&runtime, slice)];
        // The first round opens the connections.
        if round > 0 {
            measured.push(calls.map(|calls| calls as f64 / slice.as_secs_f64()));
        }
    }
    for (nth, name) in ["bare", "client", "server"].into_iter().enumerate() {
        let mut rates: Vec<_> = measured.iter().map(|round| round[nth]).collect();
        let mut ratios: Vec<_> = measured.iter().map(|round| round[nth] / round[0]).collect();
        let (rate, ratio) = (Spread::of(&mut rates), Spread::of(&mut ratios));
        println!(
            "{name:6} {:8.0} calls/s ({:.0}..{:.0}), {:.3} of bare ({:.3}..{:.3})",
            rate.median, rate.p10, rate.p90, ratio.median, ratio.p10, ratio.p90
        );
        println!("figure throughput.{name}.calls_per_s {:.0}", rate.median);
        if nth > 0 {
            println!("figure throughput.{name}.ratio {:.3}", ratio.median);
        }
    }
    Ok(())
}

struct Spread {
    p10: f64,
    median: f64,
    p90: f64,
}

impl Spread {
    fn of(values: &mut [f64]) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Self { p10: at(0.1), median: at(0.5), p90: at(0.9) }
    }
}

/// A server that answers each request with a body of the same size, with the server stack or without.
async fn serve(with_stack: bool) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    let echo = service_fn(|request: Request<hyper::body::Incoming>| async {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response::new(Full::new(body)))
    });
    let stacked = layers::http_server().service(echo);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (io, server) = (TokioIo::new(stream), auto::Builder::new(TokioExecutor::new()));
            let stacked = stacked.clone();
            tokio::spawn(async move {
                if with_stack {
                    let _ = server.serve_connection(io, TowerToHyperService::new(stacked)).await;
                } else {
                    let _ = server.serve_connection(io, TowerToHyperService::new(echo)).await;
                }
            });
        }
    });
    Ok(addr)
}

/// Makes calls for a while, and returns how many were answered.
type Run = Box<dyn Fn(&Runtime, Duration) -> u64>;

struct Contender(Run);

impl Contender {
    fn new<S, B>(name: &'static str, client: S, server: SocketAddr) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let uri: Arc<str> = format!("http://{server}/").into();
        Self(Box::new(move |runtime, slice| {
            let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            runtime.block_on(async {
                let callers = (0..CALLERS).map(|_| {
                    let (mut client, uri) = (client.clone(), Arc::clone(&uri));
                    let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                    tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            let request = Request::post(&*uri).body(Full::from(BODY)).expect("a valid request");
                            let answer = client.ready().await.map_err(Into::into)?.call(request).await;
                            let body = answer.map_err(Into::into)?.into_body().collect().await.map_err(Into::into)?;
                            assert_eq!(body.to_bytes().len(), BODY.len(), "the server echoes the body");
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, BoxError>(())
                    })
                });
                let callers: Vec<_> = callers.collect();
                let start = Instant::now();
                tokio::time::sleep(slice).await;
                let counted =
                    answered.load(Ordering::Relaxed) as f64 * slice.as_secs_f64() / start.elapsed().as_secs_f64();
                stop.store(true, Ordering::Relaxed);
                for caller in callers {
                    caller.await.expect("no panic").unwrap_or_else(|error| panic!("{name}: a call failed: {error}"));
                }
                counted as u64
            })
        }))
    }

    fn run(&self, runtime: &Runtime, slice: Duration) -> u64 {
        (self.0)(runtime, slice)
    }
}
