//! The endpoints that a `Discover` has inserted and not removed.

use super::follower;
use crate::balance::endpoint::Endpoint;
use crate::telemetry;

/// See the module. In the order in which they were inserted.
#[derive(Debug)]
pub(super) struct KnownEndpoints<K> {
    endpoints: Vec<(K, Endpoint)>,
    /// Whether it is logged that they are too many for a set.
    is_reported: bool,
}

impl<K: Eq> KnownEndpoints<K> {
    pub(super) fn new() -> Self {
        Self { endpoints: Vec::new(), is_reported: false }
    }

    /// Adds or replaces an endpoint. A set has up to `max_endpoints`. As many more are kept for the time when others leave: a `Discover`
    /// does not insert them twice. Further ones are refused, which bounds the memory.
    pub(super) fn insert(&mut self, key: K, endpoint: Endpoint, max_endpoints: usize) {
        let has_room = self.endpoints.len() < max_endpoints.saturating_mul(2);
        match self.endpoints.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = endpoint,
            None if has_room => self.endpoints.push((key, endpoint)),
            None => {}
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.endpoints.retain(|(known, _)| known != key);
    }

    /// Those that were inserted first. If there are others, that is logged once.
    pub(super) fn set(&mut self, max_endpoints: usize) -> Vec<Endpoint> {
        let is_excess = self.endpoints.len() > max_endpoints;
        if is_excess && !self.is_reported {
            telemetry::endpoints_exceeded(&follower::instruments(), max_endpoints);
        }
        self.is_reported = is_excess;
        self.endpoints.iter().take(max_endpoints).map(|(_, endpoint)| endpoint.clone()).collect()
    }
}
