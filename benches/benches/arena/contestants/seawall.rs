//! seawall's own stacks, by the settings of each of its contestants.

use std::time::Duration;

use ::seawall::balance::Endpoint;
use ::seawall::context::{self, Priority};
use ::seawall::stack::{self, BalancedClientConfig, ClientConfig};
use ::tower::util::BoxCloneService;
use ::tower::{ServiceExt, service_fn};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::settings::Settings;
use super::{Brief, Client, Contestant, Instance, ServerStack, boxed};
use crate::server::Handler;
use crate::wire::Wire;

/// seawall with the settings that a user makes of what it knows.
pub(super) struct Seawall {
    pub(super) name: &'static str,
    pub(super) settings: fn(&Brief) -> Settings,
}

impl Contestant for Seawall {
    fn name(&self) -> &'static str {
        self.name
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        let config = (self.settings)(brief).client;
        with_priorities(boxed(stack::client(&config).expect("a valid config").service(wire)))
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        let Settings { client, balance, hedge, .. } = (self.settings)(brief);
        let ClientConfig { deadline, retry, throttle, .. } = client;
        let config = BalancedClientConfig { deadline, retry, throttle, hedge, balance, ..Default::default() };
        let layers = stack::balanced_client(&config).expect("a valid config");
        let layers = layers.with_endpoints(endpoints(&instances)).expect("endpoints with different keys");
        with_priorities(boxed(layers.service(move |endpoint| wire(&instances, endpoint))))
    }

    fn server(&self, brief: &Brief, handler: Handler) -> ServerStack {
        let config = (self.settings)(brief).server;
        boxed(stack::server(&config).expect("a valid config").service(handler))
    }
}

/// What the scenario wants, in seawall's terms.
pub(super) fn wanted(brief: &Brief) -> ClientConfig {
    let mut config = ClientConfig { deadline: Duration::from_millis(brief.deadline).into(), ..Default::default() };
    if let Some(attempts) = brief.attempts {
        config.retry.max_attempts = attempts;
    }
    config.retry.attempt_timeout = brief.attempt_timeout.map(Duration::from_millis);
    config
}

/// Calls with a priority are made in a context that has it, as in a handler whose own request had it.
fn with_priorities(client: Client) -> Client {
    BoxCloneService::new(service_fn(move |request: Request<Full<Bytes>>| {
        let priority = match request.headers().get("x-priority").map(|value| value.as_bytes()) {
            Some(b"low") => Some(Priority::Low),
            Some(b"high") => Some(Priority::High),
            _ => None,
        };
        let call = client.clone().oneshot(request);
        async move {
            match priority {
                Some(priority) => context::with_priority(priority, call).await,
                None => call.await,
            }
        }
    }))
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
