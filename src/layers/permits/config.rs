//! How the config of a layer that grants permits becomes that of its gates.

use crate::admission::keyed::Keying;
use crate::ground::validation::Validate;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::layers::permits::gates::{Gates, GatesConfig};

/// The config of a layer that grants permits.
pub(crate) trait PermitsConfig: Validate + Clone {
    fn gates(&self) -> GatesConfig;
}

impl<K: Keying> Gates<K> {
    pub(crate) fn of<F: PermitsConfig>(parts: LayerParts<F>, keying: K) -> Self {
        Self::new(parts.settings.read(F::gates), keying, parts.readiness_limit, parts.instruments)
    }

    /// Gates with another keying.
    pub(crate) fn with_keying<F: PermitsConfig, L: Keying>(&self, parts: LayerParts<F>, keying: L) -> Gates<L> {
        Gates::of(parts, keying)
    }
}

impl<F: PermitsConfig, K: Keying> LayerState<F> for Gates<K> {
    /// A limit that was set by hand stays in force until the configured one changes.
    fn apply_reload(&self, config: &F, before: &F) -> AfterReload<'_> {
        let config = config.gates();
        self.replace(config, config.limit != before.gates().limit)
    }
}
