use std::sync::Arc;
use std::time::Duration;

use super::config::DeadlineConfig;
use crate::admission::registry::{Condition, DeadlineCondition, Observed};
use crate::ground::settings::Settings;
use crate::ground::time::Instant;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{LayerParts, LayerState};
use crate::telemetry::Instruments;

/// The state that the services of one layer value share: the settings, and the limit on calls that wait for the inner service.
#[derive(Debug)]
pub(crate) struct DeadlineState {
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    pub(super) settings: Arc<Settings<DeadlineConfig>>,
}

impl DeadlineState {
    pub(super) fn new(parts: LayerParts<DeadlineConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        Self { readiness_limit, instruments, settings }
    }
}

impl LayerState<DeadlineConfig> for DeadlineState {}

impl Observed for DeadlineState {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        let DeadlineTimeouts { timeout, head_timeout, idle_timeout, body_timeout } =
            self.settings.read(DeadlineTimeouts::of);
        Condition::Deadline(DeadlineCondition { timeout, head_timeout, idle_timeout, body_timeout })
    }
}

/// The timeouts that calls use; see [`DeadlineConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineTimeouts {
    pub(super) timeout: Duration,
    pub(super) head_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
}

impl DeadlineTimeouts {
    pub(super) fn of(config: &DeadlineConfig) -> Self {
        let DeadlineConfig { timeout, head_timeout, idle_timeout, body_timeout } = *config;
        Self { timeout, head_timeout, idle_timeout, body_timeout }
    }
}
