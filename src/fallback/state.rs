use std::sync::Arc;
use std::time::Duration;

use super::config::FallbackConfig;
use crate::admission::registry::{Condition, FallbackCondition, Observed};
use crate::ground::settings::Settings;
use crate::ground::time::Instant;
use crate::ground::verdict::Cause;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{LayerParts, LayerState};
use crate::telemetry::{Instruments, NoFallback, Tally};

/// The state that the services of one layer value share: the settings, and the limit on calls that wait for the inner service.
#[derive(Debug)]
pub(crate) struct FallbackState {
    pub(super) settings: Arc<Settings<FallbackConfig>>,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
}

impl FallbackState {
    pub(super) fn new(parts: LayerParts<FallbackConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        Self { settings, readiness_limit, instruments }
    }
}

/// The settings that calls use; see [`FallbackConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct FallbackSettings {
    pub(super) enabled: bool,
    pub(super) max_hold: Duration,
}

impl FallbackSettings {
    pub(super) fn of(config: &FallbackConfig) -> Self {
        let FallbackConfig { enabled, max_hold } = *config;
        Self { enabled, max_hold }
    }
}

impl LayerState<FallbackConfig> for FallbackState {}

impl Observed for FallbackState {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        let tally = self.instruments.tally();
        Condition::Fallback(FallbackCondition {
            enabled: self.settings.read(|config| config.enabled),
            answered: Tally::occurred(&tally.fallbacks, Cause::names()).collect(),
            not_answered: Tally::occurred(&tally.no_fallback, NoFallback::NAMES).collect(),
        })
    }
}
