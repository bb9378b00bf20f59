//! seawall's own stacks: with the defaults, and tuned by one formula from what a user knows.

use std::time::Duration;

use super::{Brief, Client, Contestant, Instance, ServerStack, boxed};
use crate::server::Handler;
use crate::wire::Wire;
use ::seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use ::seawall::deadline::DeadlineLayer;
use ::seawall::hedge::{HedgeConfig, HedgeLayer};
use ::seawall::http::propagation::InjectLayer;
use ::seawall::load_shed::Limit;
use ::seawall::retry::RetryLayer;
use ::seawall::stack::{self, BalancedClientConfig, ClientConfig, ServerConfig};
use ::tower::{Layer, ServiceBuilder};

/// One line for each side. The client states the deadline and the attempts that the scenario wants, and nothing else.
pub(super) struct Defaults;

impl Contestant for Defaults {
    fn name(&self) -> &'static str {
        "seawall_default"
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        client(&wanted(brief), wire)
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        let ClientConfig { deadline, retry, .. } = wanted(brief);
        balanced(&BalancedClientConfig { deadline, retry, ..Default::default() }, instances)
    }

    fn server(&self, _: &Brief, handler: Handler) -> ServerStack {
        server(&ServerConfig::default(), handler)
    }
}

/// One formula for all scenarios, from a server's slots and its usual time:
/// - a server serves as many calls at once as it has slots, and queues 4.5 times as many, the default;
/// - of several endpoints, each gets as many calls as it has slots, and attempts that are slower than 95 % of the others are hedged;
/// - with one endpoint, the clients together have twice as many calls in flight as a server takes, and none waits longer than a full queue takes;
/// - each host has breakers and permits of its own;
/// - retries are a tenth of the calls, without a reserve, and none waits longer than that either.
pub(super) struct Tuned;

impl Tuned {
    fn client_config(brief: &Brief) -> ClientConfig {
        let mut config = wanted(brief);
        config.retry.budget.ratio = 0.1;
        config.retry.budget.reserve_per_second = 0.0;
        config.retry.max_retry_after = Duration::from_millis(5 * brief.usual_time);
        config.bulkhead.max_concurrent = (11 * brief.slots / brief.clients).max(1);
        config.bulkhead.max_wait = Duration::from_millis(5 * brief.usual_time);
        config.circuit_breaker.slow_floor = Duration::from_millis(10 * brief.usual_time);
        config.per_authority = true;
        config
    }
}

impl Contestant for Tuned {
    fn name(&self) -> &'static str {
        "seawall_tuned"
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        client(&Self::client_config(brief), wire)
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        let config = Self::client_config(brief);
        let retry = RetryLayer::http(config.retry).expect("a valid config");
        let hedge = HedgeLayer::http(HedgeConfig::default()).expect("a valid config");
        let hedge = hedge.with_budget(retry.budget().clone());
        let inject = InjectLayer::http(config.propagation).expect("a valid config");
        let balance = BalanceConfig {
            circuit_breaker: config.circuit_breaker,
            max_concurrent: brief.slots.div_ceil(brief.clients),
            max_wait: config.bulkhead.max_wait,
            ..BalanceConfig::default()
        };
        let balance = BalanceLayer::http(balance).expect("a valid config");
        let balance = balance.with_endpoints(endpoints(&instances)).expect("endpoints with different keys");
        let balance = balance.service(move |endpoint| inject.layer(wire(&instances, endpoint)));
        let deadline = DeadlineLayer::http(config.deadline).expect("a valid config");
        boxed(ServiceBuilder::new().layer(deadline).layer(retry).layer(hedge).service(balance))
    }

    fn server(&self, brief: &Brief, handler: Handler) -> ServerStack {
        let mut config = ServerConfig::default();
        config.deadline.timeout = Duration::from_millis(brief.deadline);
        config.load_shed.limit = Limit::Fixed;
        config.load_shed.max_in_flight = brief.slots;
        server(&config, handler)
    }
}

/// What the scenario wants, in seawall's terms.
fn wanted(brief: &Brief) -> ClientConfig {
    let mut config = ClientConfig { deadline: Duration::from_millis(brief.deadline).into(), ..Default::default() };
    if let Some(attempts) = brief.attempts {
        config.retry.max_attempts = attempts;
    }
    config.retry.attempt_timeout = brief.attempt_timeout.map(Duration::from_millis);
    config
}

fn client(config: &ClientConfig, wire: Wire) -> Client {
    boxed(stack::client(config).expect("a valid config").service(wire))
}

fn balanced(config: &BalancedClientConfig, instances: Vec<Instance>) -> Client {
    let layers = stack::balanced_client(config).expect("a valid config");
    let layers = layers.with_endpoints(endpoints(&instances)).expect("endpoints with different keys");
    boxed(layers.service(move |endpoint| wire(&instances, endpoint)))
}

fn endpoints(instances: &[Instance]) -> Vec<Endpoint> {
    let endpoint =
        |(at, instance): (usize, &Instance)| Endpoint::new(at.to_string()).with_tier(instance.is_standby.into());
    instances.iter().enumerate().map(endpoint).collect()
}

fn wire(instances: &[Instance], endpoint: &Endpoint) -> Wire {
    let at: usize = endpoint.address().parse().expect("the index of an instance");
    instances[at].wire.clone()
}

fn server(config: &ServerConfig, handler: Handler) -> ServerStack {
    boxed(stack::server(config).expect("a valid config").service(handler))
}
