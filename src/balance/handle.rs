use std::sync::Arc;

use super::balancer::Balancer;
use super::endpoint::Endpoint;
use crate::ground::error::InvalidConfig;

/// Changes the endpoints of a layer value at run time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BalanceHandle {
    balancer: Arc<Balancer>,
}

impl BalanceHandle {
    pub(super) fn new(balancer: Arc<Balancer>) -> Self {
        Self { balancer }
    }

    pub(super) fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// Replaces the set of endpoints. An endpoint that stays, by its key, keeps its calls, its circuit breaker and what is known of its
    /// latency. Calls in flight at an endpoint that has left go on, and their answers are delivered. A new endpoint starts slowly.
    ///
    /// # Errors
    /// As [`with_endpoints`](super::BalanceLayer::with_endpoints); then the former set stays.
    pub fn set_endpoints(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<(), InvalidConfig> {
        self.balancer.set_endpoints(endpoints.into_iter().collect())
    }

    /// The endpoints at this moment.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.balancer.set.load().members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// How many calls are in flight, over all endpoints of the set.
    pub fn in_flight(&self) -> usize {
        self.balancer.set.load().members.iter().map(|member| member.state.load.in_flight() as usize).sum()
    }

    /// How many calls wait for a permit, over all endpoints of the set.
    pub fn waiting(&self) -> usize {
        self.balancer.set.load().members.iter().map(|member| member.state.bulkhead.handle().waiting()).sum()
    }
}
