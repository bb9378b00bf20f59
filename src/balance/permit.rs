//! A permit of an endpoint.

use std::sync::{Arc, Weak};

use super::endpoint_state::EndpointState;
use crate::ground::sync::atomic::Ordering;
use crate::ground::time::Instant;

/// The right to run one call at an endpoint, and the count of that call in flight. Released on drop.
#[derive(Debug)]
pub(super) struct Permit {
    endpoint: Arc<EndpointState>,
    /// How many calls were in flight with this one when it got the permit.
    level: u32,
}

impl Permit {
    /// A permit, if fewer than `limit` calls are in flight, and no more than the endpoint has refused before.
    #[inline]
    pub(super) fn try_acquire(endpoint: &Arc<EndpointState>, limit: u32, now: Instant) -> Option<Self> {
        let level = endpoint.load.begin(now, endpoint.limit(limit))?;
        Some(Self { endpoint: Arc::clone(endpoint), level })
    }

    /// For a call that is counted already: the queue has done that.
    pub(super) fn counted(endpoint: Arc<EndpointState>, level: u32) -> Self {
        Self { endpoint, level }
    }

    #[inline]
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    #[inline]
    pub(super) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.endpoint.load.end();
        let common = &self.endpoint.common;
        if common.waiting.load(Ordering::SeqCst) > 0 {
            if let Some(waiting) = common.waiting_calls.get().and_then(Weak::upgrade) {
                waiting.serve(&self.endpoint);
            }
        }
    }
}
