//! What the endpoints of a balancer have in common. It outlives changes of the set.

use std::fmt;
use std::sync::{OnceLock, Weak};

use super::balancer::Balancer;
use crate::algorithm::balance::SetLoad;
use crate::algorithm::estimate::Estimate;
use crate::ground::sync::atomic::AtomicU32;
use crate::telemetry::Instruments;

/// See the module.
pub(super) struct SetState {
    pub(super) load: SetLoad,
    /// How long calls hold their permits, which is what waiting calls wait for.
    pub(super) service: Estimate,
    /// How many calls wait for a permit.
    pub(super) waiting: AtomicU32,
    pub(super) instruments: Instruments,
    /// For the end of a call while others wait. A call does not keep the balancer alive.
    pub(super) balancer: OnceLock<Weak<Balancer>>,
}

impl SetState {
    pub(super) fn new(instruments: Instruments) -> Self {
        Self {
            load: SetLoad::new(),
            service: Estimate::new(),
            waiting: AtomicU32::new(0),
            instruments,
            balancer: OnceLock::new(),
        }
    }
}

impl fmt::Debug for SetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetState").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
