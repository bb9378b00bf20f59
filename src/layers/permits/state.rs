//! The state of a layer value that grants permits: its config, and the gates that follow it.

use std::sync::Arc;

use crate::admission::keyed::{Keying, OneKey};
use crate::admission::registry::Observed;
use crate::ground::layer_id::LayerKind;
use crate::ground::settings::Settings;
use crate::ground::validation::Validate;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerState};
use crate::layers::permits::gates::{Gates, GatesConfig};
use crate::telemetry::Instruments;

/// The config of a layer that grants permits.
pub(crate) trait PermitsConfig: Validate + Clone + Send + Sync + 'static {
    const KIND: LayerKind;

    fn gates(&self) -> GatesConfig;
}

/// See the module. The services hold the gates alone.
pub(crate) struct Permits<F, K: Keying> {
    config: Settings<F>,
    gates: Arc<Gates<K>>,
}

impl<F: PermitsConfig> Permits<F, OneKey> {
    pub(crate) fn new(config: F) -> Self {
        Self::with(config, OneKey, Instruments::new(F::KIND))
    }
}

impl<F: PermitsConfig, K: Keying> Permits<F, K> {
    fn with(config: F, keying: K, instruments: Instruments) -> Self {
        Self { gates: Arc::new(Gates::new(config.gates(), keying, instruments)), config: Settings::new(config) }
    }

    /// Permits with another keying, and the same config and name.
    pub(crate) fn with_keying<L: Keying>(&self, keying: L) -> Permits<F, L> {
        Permits::with(self.config.get(), keying, self.gates.instruments().clone())
    }

    pub(crate) fn gates(&self) -> Arc<Gates<K>> {
        Arc::clone(&self.gates)
    }
}

impl<F: PermitsConfig, K: Keying> LayerState for Permits<F, K> {
    type Config = F;

    fn observed(self: Arc<Self>) -> Arc<dyn Observed> {
        self.gates()
    }

    fn settings(&self) -> &Settings<F> {
        &self.config
    }

    fn readiness_limit(&self) -> &ReadinessLimit {
        self.gates.readiness_limit()
    }

    /// A limit that was set by hand stays in force until the configured one changes.
    fn carry_out(&self, config: &F, before: &F) -> AfterReload<'_> {
        let config = config.gates();
        self.gates.replace(config, config.limit != before.gates().limit)
    }
}
