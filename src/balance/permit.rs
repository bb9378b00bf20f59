//! A permit of an endpoint.

use std::sync::Arc;

use super::endpoint_state::EndpointState;
use crate::ground::time::Instant;

/// The right to run one call at an endpoint, and the count of that call in flight. Released on drop.
#[derive(Debug)]
pub(super) struct Permit {
    endpoint: Arc<EndpointState>,
    /// How many calls were in flight with this one when it got the permit.
    level: u32,
    /// The endpoint has it back for later.
    is_kept: bool,
}

impl Permit {
    /// A permit, if fewer than `limit` are in use, and no more than the endpoint has refused before.
    #[inline]
    pub(super) fn try_acquire(endpoint: &Arc<EndpointState>, limit: u32, now: Instant) -> Option<Self> {
        let level = endpoint.begin(limit, now)?;
        Some(Self::counted(Arc::clone(endpoint), level))
    }

    /// For a call that is counted already: the queue has done that.
    pub(super) fn counted(endpoint: Arc<EndpointState>, level: u32) -> Self {
        Self { endpoint, level, is_kept: false }
    }

    #[inline]
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    #[inline]
    pub(super) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }

    /// The call is over, and the permit stays in use.
    pub(super) fn keep(mut self, until: Instant) {
        self.is_kept = true;
        self.endpoint.kept_permits.keep(&self.endpoint.load, until);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if !self.is_kept {
            self.endpoint.load.end();
            self.endpoint.serve_waiting();
        }
    }
}
