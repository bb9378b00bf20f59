use std::sync::Arc;

use super::balancer::Balancer;
use super::endpoint::Endpoint;
use crate::admission::registry::EndpointMode;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::lock;

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

    /// Replaces the set of endpoints. An endpoint that stays, by its key, keeps its calls, its circuit breaker, its mode and what is known
    /// of its latency; so does one that is back within a minute, or while calls are in flight there. Calls in flight at an endpoint that has left
    /// go on, and their answers are delivered. A new endpoint starts slowly.
    ///
    /// # Errors
    /// As [`with_endpoints`](super::BalanceLayer::with_endpoints); then the former set stays.
    pub fn set_endpoints(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<(), InvalidConfig> {
        self.balancer.set_endpoints(endpoints.into_iter().collect(), None)
    }

    /// The endpoints at this moment.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.balancer.set.load().members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// How many calls are in flight, over all endpoints of the set.
    pub fn in_flight(&self) -> usize {
        self.balancer.set.load().members.iter().map(|member| member.state.load.in_flight() as usize).sum()
    }

    /// How many calls are in flight at the endpoint with this key. It is also known while the state of an endpoint that has left is kept:
    /// for a minute, and while calls are in flight. So a drained endpoint can be stopped when there are none left. `None` if there is
    /// no such endpoint.
    pub fn in_flight_at(&self, key: &str) -> Option<usize> {
        let set = self.balancer.set.load();
        let member = set.members.iter().find(|member| member.endpoint.key() == key);
        let departed = || lock(&self.balancer.departed).get(key);
        let state = member.map(|member| Arc::clone(&member.state)).or_else(departed)?;
        Some(state.load.in_flight() as usize)
    }

    /// How many calls wait for a permit.
    pub fn waiting(&self) -> usize {
        self.balancer.waiting() as usize
    }

    /// Sets how the endpoint with this key is used: to drain it before it is stopped, to isolate it, or to keep it as a standby. The
    /// mode holds while the endpoint stays in the set, and if it is back within a minute or while calls are in flight there, as when a
    /// discovery flaps. Returns `false` if there is no endpoint with this key.
    ///
    /// ```
    /// use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint, EndpointMode};
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let endpoints = [Endpoint::new("10.0.0.1"), Endpoint::new("10.0.0.2")];
    /// let handle = BalanceLayer::new(BalanceConfig::default())?.with_endpoints(endpoints)?.handle();
    /// assert!(handle.set_mode("10.0.0.2", EndpointMode::Draining));
    /// assert_eq!(handle.mode("10.0.0.2"), Some(EndpointMode::Draining));
    /// assert!(!handle.set_mode("10.0.0.3", EndpointMode::Draining));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "there may be no endpoint with this key"]
    pub fn set_mode(&self, key: &str, mode: EndpointMode) -> bool {
        self.balancer.set_mode(key, mode)
    }

    /// How the endpoint with this key is used, as set by hand.
    pub fn mode(&self, key: &str) -> Option<EndpointMode> {
        let set = self.balancer.set.load();
        let member = set.members.iter().find(|member| member.endpoint.key() == key)?;
        Some(member.state.standing.now().mode())
    }
}
