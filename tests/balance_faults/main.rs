//! Situations in which load balancers, hedges, quorums, fallbacks and fault injection of other libraries went wrong, tried here.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod choice;
mod connects;
mod drills;
mod ejection;
mod fallbacks;
mod hedges;
#[cfg(feature = "http")]
mod over_http;
mod queue;
mod quorums;
mod updates;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use seawall::balance::{
    Balance, BalanceConfig, BalanceHandle, BalanceLayer, CheckConfig, Endpoint, EndpointMode, SlowStartConfig,
};
use seawall::deadline::DeadlineLayer;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::registry::{BalanceCondition, Condition, Registry};
use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Pending = JoinHandle<Result<usize, BoxError>>;

/// How a server answers. It can be changed while calls are made.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Answers(Duration),
    Fails(Duration),
    /// Fails this share of its calls, at random.
    FailsAtTimes(Duration, f64),
    /// Fails this share of its calls at once, at random, and answers the others.
    FailsAtOnce(Duration, f64),
    Hangs,
}

/// Servers by their number, which is also the key of their endpoints.
#[derive(Clone)]
struct Servers(Arc<Vec<Server>>);

struct Server {
    behaviour: Mutex<Behaviour>,
    calls: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

struct Running<'a>(&'a Server);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A client of one of the servers.
#[derive(Clone)]
struct Client {
    servers: Servers,
    number: usize,
}

impl Service<u32> for Client {
    type Response = usize;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<usize, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let Self { servers, number } = self.clone();
        Box::pin(async move { servers.answer(number).await })
    }
}

impl Servers {
    fn new(behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        let server = |behaviour| Server {
            behaviour: Mutex::new(behaviour),
            calls: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        };
        Self(Arc::new(behaviours.into_iter().map(server).collect()))
    }

    fn answering(number: usize, latency: Duration) -> Self {
        Self::new(vec![Behaviour::Answers(latency); number])
    }

    fn set(&self, server: usize, behaviour: Behaviour) {
        *self.0[server].behaviour.lock().unwrap() = behaviour;
    }

    fn calls(&self) -> Vec<usize> {
        self.0.iter().map(|server| server.calls.load(Ordering::SeqCst)).collect()
    }

    fn running(&self) -> Vec<usize> {
        self.0.iter().map(|server| server.running.load(Ordering::SeqCst)).collect()
    }

    fn most_running(&self) -> Vec<usize> {
        self.0.iter().map(|server| server.most_running.load(Ordering::SeqCst)).collect()
    }

    fn endpoint(server: usize) -> Endpoint {
        Endpoint::new(server.to_string())
    }

    /// An endpoint for each of them.
    fn endpoints(&self) -> Vec<Endpoint> {
        (0..self.0.len()).map(Self::endpoint).collect()
    }

    fn client(&self, endpoint: &Endpoint) -> Client {
        Client { servers: self.clone(), number: endpoint.address().parse().unwrap() }
    }

    /// The answer is the number of the server.
    async fn answer(&self, number: usize) -> Result<usize, BoxError> {
        let server = &self.0[number];
        server.calls.fetch_add(1, Ordering::SeqCst);
        let running = server.running.fetch_add(1, Ordering::SeqCst) + 1;
        server.most_running.fetch_max(running, Ordering::SeqCst);
        let _running = Running(server);
        let behaviour = *server.behaviour.lock().unwrap();
        let (after, fails) = match behaviour {
            Behaviour::Answers(after) => (after, 0.0),
            Behaviour::Fails(after) => (after, 1.0),
            Behaviour::FailsAtTimes(after, share) => (after, share),
            Behaviour::FailsAtOnce(_, share) if fastrand::f64() < share => return Err("out of order".into()),
            Behaviour::FailsAtOnce(after, _) => (after, 0.0),
            Behaviour::Hangs => return std::future::pending().await,
        };
        sleep(after).await;
        if fastrand::f64() < fails { Err("out of order".into()) } else { Ok(number) }
    }

    fn layer(&self, config: BalanceConfig) -> BalanceLayer {
        BalanceLayer::new(config).unwrap().with_endpoints(self.endpoints()).unwrap()
    }

    fn named(&self, config: BalanceConfig) -> (Registry, BalanceLayer) {
        let registry = Registry::new();
        let layer = self.layer(config).named_in(&registry, "orders").unwrap();
        (registry, layer)
    }

    fn service(&self, layer: &BalanceLayer) -> Balance<Client> {
        let servers = self.clone();
        layer.service(move |endpoint| servers.client(endpoint))
    }

    /// The calls that each server gets while `calls` are made.
    async fn during(&self, calls: impl Future) -> Vec<usize> {
        let before = self.calls();
        calls.await;
        self.calls().iter().zip(before).map(|(after, before)| after - before).collect()
    }
}

/// The results of calls that begin at a fixed rate, with their start and latency.
async fn load<S>(service: S, per_second: u32, time: Duration) -> Vec<(Duration, Duration, Result<usize, BoxError>)>
where
    S: Service<u32, Response = usize, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let start = Instant::now();
    let mut calls = Vec::new();
    for n in 0..(time.as_secs_f64() * f64::from(per_second)) as u32 {
        sleep_until(start + SECOND * n / per_second).await;
        let (service, begun) = (service.clone(), Instant::now());
        calls.push(tokio::spawn(async move { (begun - start, service.oneshot(n).await, begun.elapsed()) }));
    }
    let mut results = Vec::new();
    for call in calls {
        let (begun, result, took) = call.await.unwrap();
        results.push((begun, took, result));
    }
    results
}

async fn start(service: &Balance<Client>, number: usize) -> Vec<Pending> {
    let calls = (0..number).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    calls
}

/// Lets spawned tasks run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    advance(Duration::ZERO).await;
}

fn condition(registry: &Registry) -> BalanceCondition {
    match &registry.snapshot().of("orders").next().unwrap().condition {
        Condition::Balance(balance) => balance.clone(),
        other => panic!("{other:?}"),
    }
}

fn ejected(registry: &Registry) -> Vec<usize> {
    let out = condition(registry).listed.into_iter().filter(|endpoint| endpoint.ejected);
    out.map(|endpoint| endpoint.key.parse().unwrap()).collect()
}

/// Endpoints are compared once in a second, and only ejection keeps calls from a bad one.
fn only_ejection(max_concurrent: u32, base_time: Duration) -> BalanceConfig {
    let mut config = BalanceConfig { max_concurrent, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.interval = SECOND;
    (config.ejection.base_time, config.ejection.max_time) = (base_time, 1000 * SECOND);
    config
}

fn no_slow_start() -> SlowStartConfig {
    SlowStartConfig { window: Duration::ZERO, ..SlowStartConfig::default() }
}
