use std::sync::Arc as Shared;

use super::config::QuorumConfig;
use crate::admission::registry::{Condition, Observed, QuorumCondition};
use crate::ground::settings::Settings;
use crate::ground::time::Instant;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{LayerParts, LayerState};
use crate::telemetry::Instruments;

/// The state that the services of one layer value share.
pub(crate) struct QuorumState {
    pub(super) settings: Shared<Settings<QuorumConfig>>,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
}

impl QuorumState {
    pub(super) fn new(parts: LayerParts<QuorumConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        Self { settings, readiness_limit, instruments }
    }
}

impl LayerState<QuorumConfig> for QuorumState {}

impl Observed for QuorumState {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        let QuorumConfig { endpoints, agree, .. } = self.settings.get();
        Condition::Quorum(QuorumCondition { endpoints, agree })
    }
}
