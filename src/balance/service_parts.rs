//! What the clones of a service share, and what is known of a call that starts there.

use std::fmt;
use std::sync::Arc;

use super::balancer::Balancer;
use super::connections::Connections;
use super::endpoint_set::EndpointSet;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::scope;
use crate::ground::time::Instant;

/// See the module.
pub(super) struct ServiceParts<S> {
    pub(super) balancer: Arc<Balancer>,
    pub(super) connections: Connections<S>,
}

/// A call that is to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallStart {
    pub(super) now: Instant,
    pub(super) context: scope::Context,
    /// The bound of a call that has been at another endpoint, where nothing was sent.
    pub(super) kept: Option<CallDeadline>,
    /// Whether it would rather wait than go back to an endpoint that has failed it.
    pub(super) avoids: bool,
}

impl CallStart {
    /// The bound of the call if it starts now at an endpoint.
    #[inline]
    pub(super) fn bound(&self, set: &EndpointSet, now: Instant) -> CallDeadline {
        match self.kept {
            None => CallDeadline::within(now, &self.context, set.limits.max_hold),
            Some(kept) => kept.restarted(now),
        }
    }
}

impl<S> fmt::Debug for ServiceParts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { balancer, connections } = self;
        f.debug_struct("ServiceParts").field("balancer", balancer).field("connections", connections).finish()
    }
}
