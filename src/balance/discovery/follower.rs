//! The balancer that follows the stream which is polled, for the streams of this module: it has the name for their events and the bound
//! on their endpoints.

use std::sync::Arc;

use crate::balance::KIND;
use crate::balance::balancer::Balancer;
use crate::balance::config::BalanceConfig;
use crate::ground::scope::attachment::{self, Attached, AttachmentSlot};
use crate::telemetry::Instruments;

/// A stream is polled for this balancer until the guard is dropped.
pub(super) fn enter(balancer: &Arc<Balancer>) -> Attached {
    attachment::attach(AttachmentSlot::Follower, Some(balancer))
}

fn current() -> Option<Arc<Balancer>> {
    attachment::attached(AttachmentSlot::Follower)
}

/// The instruments of the balancer, or nameless ones if the stream is polled by other code.
pub(super) fn instruments() -> Instruments {
    current().map_or_else(|| Instruments::nameless(KIND), |balancer| balancer.instruments().clone())
}

/// How many endpoints its set may have, or the default.
pub(super) fn max_endpoints() -> usize {
    let own = current().map(|balancer| balancer.settings.read(|config| config.max_endpoints));
    own.unwrap_or_else(|| BalanceConfig::default().max_endpoints)
}
