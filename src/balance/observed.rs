//! The balancer as its layer core and the registry see it.

use std::time::Duration;

use super::balancer::Balancer;
use super::config::BalanceConfig;
use super::endpoint_set::{EndpointSet, Member};
use crate::admission::registry::{BalanceCondition, Condition, EndpointCondition, EndpointMode, Observed};
use crate::ground::error::Numbers;
use crate::ground::time::Instant;
use crate::layers::core::{AfterReload, LayerState};
use crate::telemetry::Instruments;

/// How many endpoints a snapshot lists.
const LISTED: usize = 100;

impl LayerState<BalanceConfig> for Balancer {
    fn apply_reload(&self, _: &BalanceConfig, _: &BalanceConfig) -> AfterReload<'_> {
        Box::new(|| self.spread_settings())
    }
}

impl Observed for Balancer {
    fn instruments(&self) -> &Instruments {
        Balancer::instruments(self)
    }

    fn set_endpoint_mode(&self, key: &str, mode: EndpointMode) -> bool {
        self.set_mode(key, mode)
    }

    fn endpoint_keys(&self) -> Vec<String> {
        self.set.load().members.iter().map(|member| member.endpoint.key().to_owned()).collect()
    }

    fn condition(&self, now: Instant) -> Condition {
        let set = self.set.load();
        let count = |is: &dyn Fn(&Member) -> bool| set.members.iter().filter(|member| is(member)).count();
        let listed = |member: &Member| EndpointCondition {
            key: member.endpoint.key().to_owned(),
            address: member.endpoint.address().to_owned(),
            tier: member.endpoint.tier(),
            weight: member.endpoint.weight(),
            in_flight: u64::from(member.state.load.in_flight()),
            limit: member.state.limit(set.limits.max_concurrent),
            cost: member
                .state
                .load
                .cost(now, self.common.load.mean_cost())
                .map(|nanos| Duration::from_nanos(nanos as u64)),
            ejected: member.state.standing.now().is_ejected(),
            mode: member.state.standing.now().mode(),
            breaker: member.state.breaker.state(),
        };
        Condition::Balance(BalanceCondition {
            endpoints: set.members.len(),
            ejected: count(&|member| member.state.standing.now().is_ejected()),
            open: count(&|member| member.state.breaker.refuses_until(now).is_some()),
            by_hand: count(&|member| member.state.standing.now().mode() != EndpointMode::Serving),
            in_flight: set.members.iter().map(|member| u64::from(member.state.load.in_flight())).sum(),
            waiting: self.waiting().into(),
            limit: set.limits.max_concurrent,
            service_time: self.common.service.read(now).mean,
            listed: set.members.iter().take(LISTED).map(listed).collect(),
        })
    }
}

impl EndpointSet {
    /// The numbers of a refusal because no endpoint takes calls.
    pub(super) fn numbers(&self, now: Instant) -> Numbers {
        let until: Vec<_> = self.members.iter().filter_map(|member| member.state.breaker.refuses_until(now)).collect();
        let first = until.iter().min().filter(|until| **until < Instant::MAX).map(|until| until.since(now));
        let ejected = self.members.iter().filter(|member| member.state.standing.now().is_ejected()).count();
        let is_set = |member: &&Member| member.state.standing.now().mode() != EndpointMode::Serving;
        let by_hand = self.members.iter().filter(is_set).count();
        Numbers::of_endpoints([self.members.len(), until.len(), ejected, by_hand], first)
    }
}
