//! The settings of one call, fixed from its start to its end, whatever a reload does meanwhile.

use std::time::Duration;

use super::config::{HedgeConfig, HedgeDelay, LearnedDelay};
use crate::algorithm::hedge::QuantileRules;

/// The settings that a call copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct HedgeCallSettings {
    pub(super) enabled: bool,
    pub(super) max_attempts: u32,
    pub(super) delay: HedgeDelay,
    pub(super) time_ratio: f64,
    pub(super) max_retry_after: Duration,
    pub(super) max_hold: Duration,
}

impl HedgeCallSettings {
    /// If hedges are disabled, a call has one attempt.
    pub(super) fn of(config: &HedgeConfig) -> Self {
        Self {
            enabled: config.enabled,
            max_attempts: if config.enabled { config.max_attempts } else { 1 },
            delay: config.delay,
            time_ratio: config.time_ratio,
            max_retry_after: config.max_retry_after,
            max_hold: config.max_hold,
        }
    }

    /// Whether slow attempts are hedged.
    pub(super) fn hedges_slow(&self) -> bool {
        self.max_attempts > 1 && self.delay != HedgeDelay::OnFailure
    }

    /// The learned delay, if there may be hedges.
    pub(super) fn learned(&self) -> Option<&LearnedDelay> {
        match &self.delay {
            HedgeDelay::Learned(learned) if self.max_attempts > 1 => Some(learned),
            _ => None,
        }
    }
}

impl LearnedDelay {
    pub(super) fn rules(&self) -> QuantileRules {
        QuantileRules { quantile: self.quantile, min_samples: self.min_samples, half_life: self.half_life }
    }
}
