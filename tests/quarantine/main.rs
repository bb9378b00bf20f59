//! The quarantine layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod chaos;
mod kills;
mod losses;
mod no_harm;
#[cfg(feature = "http")]
mod over_http;
#[cfg(feature = "http")]
mod streams;
mod turns;
mod waiting;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use seawall::balance::{Balance, BalanceConfig, BalanceLayer, Endpoint};
use seawall::error::{Reason, rejection};
use seawall::quarantine::{Quarantine, QuarantineConfig, QuarantineLayer};
use seawall::registry::{Condition, QuarantineCondition, Registry};
use seawall::retry::{Backoff, BudgetConfig, CloneRequest, RetryConfig, RetryLayer};
use seawall::verdict::{self, FromFn, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_test::task::spawn;
use tower::{BoxError, Layer, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How long a server is down after a crash.
const RESTART: Duration = Duration::from_secs(3);

type Path = &'static str;
type Answers = Result<&'static str, BoxError>;

/// A request that kills its server.
const POISON: Path = "poison";

/// Servers by their number, which is also the address of their endpoints.
#[derive(Clone)]
struct Servers {
    all: Arc<Vec<Server>>,
    /// How long a server takes to answer, and a poisoned request to kill it.
    latency: Duration,
}

struct Server {
    /// The number of crashes. A change ends all calls in flight.
    crashes: watch::Sender<usize>,
    up_at: Mutex<Instant>,
    /// It crashes for every request, and is up again at once.
    is_broken: Mutex<bool>,
    calls: AtomicUsize,
}

impl Server {
    fn crash(&self) {
        *self.up_at.lock().unwrap() =
            Instant::now() + if *self.is_broken.lock().unwrap() { Duration::ZERO } else { RESTART };
        self.crashes.send_modify(|crashes| *crashes += 1);
    }
}

impl Servers {
    fn new(number: usize, latency: Duration) -> Self {
        let server = |_| Server {
            crashes: watch::Sender::new(0),
            up_at: Mutex::new(Instant::now()),
            is_broken: Mutex::new(false),
            calls: AtomicUsize::new(0),
        };
        Self { all: Arc::new((0..number).map(server).collect()), latency }
    }

    /// How many servers have crashed, and how often.
    fn crashes(&self) -> (usize, usize) {
        let crashes: Vec<_> = self.all.iter().map(|server| *server.crashes.borrow()).collect();
        (crashes.iter().filter(|crashes| **crashes > 0).count(), crashes.iter().sum())
    }

    fn calls(&self) -> usize {
        self.all.iter().map(|server| server.calls.load(Ordering::SeqCst)).sum()
    }

    async fn answer(self, number: usize, path: Path) -> Answers {
        let server = &self.all[number];
        if Instant::now() < *server.up_at.lock().unwrap() {
            return Err("refused".into());
        }
        server.calls.fetch_add(1, Ordering::SeqCst);
        let mut crashes = server.crashes.subscribe();
        let answer = async {
            if !self.latency.is_zero() {
                sleep(self.latency).await;
            }
            if path.starts_with(POISON) || *server.is_broken.lock().unwrap() {
                server.crash();
                return Err("lost".into());
            }
            Ok(path)
        };
        tokio::select! {
            biased;
            answered = answer => answered,
            _ = crashes.changed() => Err("lost".into()),
        }
    }

    /// A balancer over all of them, without breakers and ejection, which would hide what the layer does.
    fn balance(&self) -> Balance<Client, Judged> {
        self.balance_with(BalanceConfig::default())
    }

    fn balance_with(&self, mut config: BalanceConfig) -> Balance<Client, Judged> {
        config.circuit_breaker.enabled = false;
        config.ejection.enabled = false;
        // A balancer avoids an endpoint that fails, unless it has a high weight.
        let weight = |server: usize| if *self.all[server].is_broken.lock().unwrap() { 20.0 } else { 1.0 };
        let endpoint = |server: usize| Endpoint::new(server.to_string()).with_weight(weight(server));
        let endpoints = (0..self.all.len()).map(endpoint);
        let layer = BalanceLayer::new(config).unwrap().with_classifier(judge()).with_endpoints(endpoints).unwrap();
        let servers = self.clone();
        layer.service(move |endpoint| Client { servers: servers.clone(), number: endpoint.address().parse().unwrap() })
    }
}

#[derive(Clone)]
struct Client {
    servers: Servers,
    number: usize,
}

impl Service<Path> for Client {
    type Response = &'static str;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answers>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, path: Path) -> Self::Future {
        self.servers.clone().answer(self.number, path).boxed()
    }
}

type Judged = FromFn<fn(Result<&&'static str, &BoxError>) -> Verdict>;

fn judge() -> Judged {
    verdict::from_fn(|result| match result {
        Ok(_) => Verdict::Success,
        Err(error) if error.to_string() == "lost" => Verdict::Lost,
        Err(error) if error.to_string() == "refused" => Verdict::Unsent,
        Err(error) => verdict::of_error(error),
    })
}

type Fingerprints = fn(&Path) -> Path;
type Balanced = Quarantine<Balance<Client, Judged>, Fingerprints, Judged>;

fn layer(config: QuarantineConfig) -> QuarantineLayer<Fingerprints, Judged> {
    QuarantineLayer::new(config, (|path| *path) as Fingerprints).unwrap().with_classifier(judge())
}

/// A retry that can afford everything.
fn retry(replay: CloneRequest) -> RetryLayer<Judged, CloneRequest> {
    let config = RetryConfig {
        max_attempts: 3,
        backoff: Backoff::constant(5 * MS),
        budget: BudgetConfig { ratio: 1.0, reserve_burst: 1000, ..BudgetConfig::default() },
        ..RetryConfig::default()
    };
    RetryLayer::new(config).unwrap().with_classifier(judge()).with_replay(replay)
}

fn reason(answer: &Answers) -> Option<Reason> {
    answer.as_ref().err().and_then(rejection).map(|rejected| rejected.reason())
}

fn is_quarantined(answer: &Answers) -> bool {
    reason(answer) == Some(Reason::Quarantined)
}

/// How often the answers of some calls were `Ok`, refused, and anything else.
fn tally(answers: impl IntoIterator<Item = Answers>) -> [usize; 3] {
    let mut tally = [0; 3];
    for answer in answers {
        tally[if answer.is_ok() {
            0
        } else if is_quarantined(&answer) {
            1
        } else {
            2
        }] += 1;
    }
    tally
}

/// Sends a request of each path again and again, `every` so often, for `time`. Returns the answers.
async fn traffic<S>(service: S, paths: &'static [Path], every: Duration, time: Duration) -> BTreeMap<Path, [usize; 3]>
where
    S: Service<Path, Response = &'static str, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let of_path = paths.iter().map(|path| {
        let service = service.clone();
        async move {
            let (start, mut calls) = (Instant::now(), Vec::new());
            while start.elapsed() < time {
                calls.push(tokio::spawn(service.clone().oneshot(path)));
                sleep(every).await;
            }
            (*path, tally(futures::future::join_all(calls).await.into_iter().map(Result::unwrap)))
        }
    });
    futures::future::join_all(of_path).await.into_iter().collect()
}

fn named(layer: QuarantineLayer<Fingerprints, Judged>, registry: &Registry) -> QuarantineLayer<Fingerprints, Judged> {
    layer.named_in(registry, "reports").unwrap()
}

fn condition(registry: &Registry) -> QuarantineCondition {
    match &registry.snapshot().components[0].condition {
        Condition::Quarantine(condition) => *condition,
        other => panic!("{other:?}"),
    }
}

/// A quarantine around six servers.
fn world(config: QuarantineConfig) -> (QuarantineLayer<Fingerprints, Judged>, Registry, Servers, Balanced) {
    let (registry, servers) = (Registry::new(), Servers::new(6, 10 * MS));
    let layer = named(layer(config), &registry);
    let service = layer.layer(servers.balance());
    (layer, registry, servers, service)
}

/// Makes a suspect that kills no server: its first call is lost with its server.
async fn suspect(servers: &Servers, service: &Balanced) {
    let mut call = spawn(service.clone().oneshot("a"));
    assert!(call.poll().is_pending());
    servers.all.iter().for_each(|server| server.crashes.send_modify(|crashes| *crashes += 1));
    assert_eq!(call.await.unwrap_err().to_string(), "lost");
}

/// Sends a request until it is quarantined: a call may go to an endpoint that is down or was lost already.
async fn quarantine(registry: &Registry, send: impl AsyncFn()) {
    for _ in 0..50 {
        send().await;
        if condition(registry).quarantined == 1 {
            return;
        }
        sleep(SECOND).await;
    }
    panic!("not quarantined: {:?}", condition(registry));
}
