//! The states of endpoints that have left the set. A discovery that flaps removes an endpoint and adds it again under its key: its calls in
//! flight still run there, and it is as good or bad as before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint_state::EndpointState;
use crate::algorithm::balance::EjectionRecord;
use crate::ground::time::Instant;

/// How long a state without calls in flight is kept. A flap is shorter. An instance that was replaced takes longer, and is another one.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Departed(HashMap<Arc<str>, DepartedEndpoint>);

#[derive(Debug)]
struct DepartedEndpoint {
    state: Arc<EndpointState>,
    record: EjectionRecord,
    left_at: Instant,
}

impl Departed {
    /// Returns a former endpoint of the same key, which the caller drops without a lock.
    pub(super) fn add(
        &mut self,
        state: Arc<EndpointState>,
        record: EjectionRecord,
        left_at: Instant,
    ) -> Option<Arc<EndpointState>> {
        let former = self.0.insert(Arc::clone(&state.key), DepartedEndpoint { state, record, left_at });
        former.map(|endpoint| endpoint.state)
    }

    /// The state of the endpoint with this key, if it left not long ago.
    pub(super) fn take(&mut self, key: &str, now: Instant) -> Option<(Arc<EndpointState>, EjectionRecord)> {
        if !self.0.get(key)?.is_kept(now) {
            return None;
        }
        self.0.remove(key).map(|endpoint| (endpoint.state, endpoint.record))
    }

    /// Forgets those that left long ago, and the oldest of more than `limit`. The states are dropped by the caller, without a lock.
    pub(super) fn forget(&mut self, limit: usize, now: Instant) -> Vec<Arc<EndpointState>> {
        let mut over: Vec<_> = self.0.values().map(|endpoint| (endpoint.is_kept(now), endpoint.left_at)).collect();
        over.sort_unstable();
        let kept_from = over.len().checked_sub(limit).and_then(|excess| over.get(excess).copied());
        let is_over = |endpoint: &DepartedEndpoint| {
            let is_kept = endpoint.is_kept(now);
            !is_kept || limit == 0 || kept_from.is_some_and(|from| (is_kept, endpoint.left_at) < from)
        };
        let keys: Vec<_> =
            self.0.iter().filter(|(_, endpoint)| is_over(endpoint)).map(|(key, _)| Arc::clone(key)).collect();
        keys.iter().filter_map(|key| self.0.remove(key)).map(|endpoint| endpoint.state).collect()
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<EndpointState>> {
        self.0.get(key).map(|endpoint| Arc::clone(&endpoint.state))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl DepartedEndpoint {
    fn is_kept(&self, now: Instant) -> bool {
        now.since(self.left_at) <= KEPT_FOR || self.state.load.in_flight() > 0
    }
}
