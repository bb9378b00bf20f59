//! Situations in which load balancers, hedges, quorums, fallbacks and fault injection of other libraries went wrong, tried here.

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
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use seawall::balance::{BalanceHandle, CheckConfig, EndpointMode, SlowStartConfig};
use seawall::deadline::DeadlineLayer;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::registry::{BalanceCondition, Condition, Registry};
use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer};
use tokio::task::JoinHandle;
use tower::{Layer, service_fn};

use super::*;

type Pending = JoinHandle<Result<usize, BoxError>>;

impl Servers {
    fn most_running(&self) -> Vec<usize> {
        self.0.iter().map(|server| server.most_running.load(Ordering::SeqCst)).collect()
    }

    fn endpoint(server: usize) -> Endpoint {
        Endpoint::new(server.to_string())
    }

    fn named(&self, config: BalanceConfig) -> (Registry, BalanceLayer) {
        let registry = Registry::new();
        let layer = self.layer(config).named_in(&registry, "orders").unwrap();
        (registry, layer)
    }

    /// The calls that each server gets while `calls` are made.
    async fn during(&self, calls: impl Future) -> Vec<usize> {
        let before = self.calls();
        calls.await;
        self.calls().iter().zip(before).map(|(after, before)| after - before).collect()
    }
}

async fn start(service: &Balance<Client>, number: usize) -> Vec<Pending> {
    let calls = (0..number).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    calls
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
