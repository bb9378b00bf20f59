//! The settings of a breaker as its calls read them.

use std::time::Duration;

use super::config::CircuitBreakerConfig;
use crate::algorithm::breaker::BreakerPolicy;

/// The policy of a breaker, and how long a call may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct BreakerSettings {
    pub(super) policy: BreakerPolicy,
    pub(super) max_hold: Duration,
}

impl BreakerSettings {
    pub(super) fn of(config: &CircuitBreakerConfig) -> Self {
        Self { policy: config.policy(), max_hold: config.max_hold }
    }
}
