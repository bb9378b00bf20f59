//! The balancer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

#[cfg(feature = "http")]
mod bad_bodies;
mod breakers;
mod by_hand;
mod changes;
mod checks;
#[cfg(feature = "http")]
mod checks_over_http;
mod choice;
mod churn;
mod clients;
mod construction;
mod discovery;
mod ejections;
mod failing_at_once;
#[cfg(feature = "http")]
mod full_endpoints;
#[cfg(feature = "http")]
mod hedged_over_http;
#[cfg(feature = "http")]
mod hedged_stack;
mod hedges;
#[cfg(feature = "http")]
mod in_stacks;
mod known_faults;
mod outages;
#[cfg(feature = "http")]
mod over_http;
mod panic_mode;
mod refusals;
mod retries;
mod slow_start;
mod unreachable;
mod unready;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use seawall::balance::{Balance, BalanceConfig, BalanceLayer, Endpoint};
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower::{BoxError, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How an endpoint answers. It can be changed while calls are made.
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
    behaviour: std::sync::Mutex<Behaviour>,
    calls: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

/// A call that runs at a server.
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
            behaviour: std::sync::Mutex::new(behaviour),
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

    /// An endpoint for each of them.
    fn endpoints(&self) -> Vec<Endpoint> {
        (0..self.0.len()).map(|server| Endpoint::new(server.to_string())).collect()
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
        match behaviour {
            Behaviour::Answers(after) => {
                sleep(after).await;
                Ok(number)
            }
            Behaviour::Fails(after) => {
                sleep(after).await;
                Err("out of order".into())
            }
            Behaviour::FailsAtTimes(after, share) => {
                sleep(after).await;
                if fastrand::f64() < share { Err("out of order".into()) } else { Ok(number) }
            }
            Behaviour::FailsAtOnce(after, share) => {
                if fastrand::f64() < share {
                    return Err("out of order".into());
                }
                sleep(after).await;
                Ok(number)
            }
            Behaviour::Hangs => std::future::pending().await,
        }
    }

    fn layer(&self, config: BalanceConfig) -> BalanceLayer {
        BalanceLayer::new(config).unwrap().with_endpoints(self.endpoints()).unwrap()
    }

    fn service(&self, layer: &BalanceLayer) -> Balance<Client> {
        let servers = self.clone();
        layer.service(move |endpoint| servers.client(endpoint))
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

/// One call, which is polled until it is over.
async fn call(service: &Balance<Client>) -> Result<usize, BoxError> {
    service.clone().oneshot(0).await
}

/// Lets spawned tasks run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    advance(Duration::ZERO).await;
}
