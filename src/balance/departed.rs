//! The states of endpoints that have left the set. A discovery that flaps removes an endpoint and adds it again under its key: its calls in
//! flight still run there, and it is as good or bad as before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint_state::EndpointState;
use crate::algorithm::balance::EjectionRecord;
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

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
        let age = |(key, endpoint): (&Arc<str>, &DepartedEndpoint)| {
            (endpoint.is_kept(now), endpoint.left_at, Arc::clone(key))
        };
        let mut oldest_first: Vec<_> = self.0.iter().map(age).collect();
        // By key where they left at one moment, so that the bound is exact.
        oldest_first.sort_unstable();
        let excess = oldest_first.len().saturating_sub(limit);
        let over = oldest_first.into_iter().enumerate().filter(|(i, (is_kept, ..))| *i < excess || !is_kept);
        over.filter_map(|(_, (_, _, key))| self.0.remove(&key)).map(|endpoint| endpoint.state).collect()
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<EndpointState>> {
        self.0.get(key).map(|endpoint| Arc::clone(&endpoint.state))
    }

    /// Whether an endpoint on this list has left, and is still known.
    pub(super) fn has_any_of(&self, attempted: &AttemptedEndpoints) -> bool {
        self.0.values().any(|endpoint| attempted.contains(endpoint.state.id))
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
