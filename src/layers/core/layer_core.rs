//! The core of a layer value: its shared state, and how it is named, configured and reloaded.

use std::sync::Arc;

use super::clone_fields;
use super::observed;
use super::readiness_limit::ReadinessLimit;
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::layer_id::LayerKind;
use crate::ground::settings::Settings;
use crate::ground::validation::Validate;
use crate::telemetry::Instruments;

/// What the core of a layer value shares with its state.
pub(crate) struct LayerParts<Config> {
    pub(crate) settings: Arc<Settings<Config>>,
    pub(crate) readiness_limit: ReadinessLimit,
    pub(crate) instruments: Instruments,
}

/// The state that all clones and services of a layer value share. The registry shows it for as long as one of them exists.
pub(crate) trait LayerState<Config>: Observed + 'static {
    /// Applies a reload to the states of all keys, under the lock of the reload. Work that runs foreign code or wakes tasks is
    /// returned. By default there is nothing to do, because calls read the settings.
    fn apply_reload(&self, config: &Config, before: &Config) -> AfterReload<'_> {
        let _ = (config, before);
        Box::new(|| ())
    }
}

/// The end of a reload. Call it without holding a lock: it may run foreign code and wake tasks.
pub(crate) type AfterReload<'a> = Box<dyn FnOnce() + 'a>;

/// What every layer value has. Clones share it.
pub(crate) struct LayerCore<S, Config> {
    parts: LayerParts<Config>,
    state: Arc<S>,
}

clone_fields!([Config] LayerParts<Config> { settings, readiness_limit, instruments });
clone_fields!([S, Config] LayerCore<S, Config> { parts, state });

impl<S: LayerState<Config>, Config: Validate + Clone> LayerCore<S, Config> {
    /// Makes the state, if the config is valid.
    pub(crate) fn new(
        kind: LayerKind,
        config: Config,
        state: impl FnOnce(LayerParts<Config>) -> S,
    ) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let (settings, readiness_limit) = (Arc::new(Settings::new(config)), ReadinessLimit::default());
        let parts = LayerParts { settings, readiness_limit, instruments: Instruments::new(kind) };
        Ok(Self { state: Arc::new(state(parts.clone())), parts })
    }

    /// Makes the state anew, from the present one. Its settings have the same values, its limit on waiting calls is the same
    /// now and later, and the name moves to it.
    pub(crate) fn map<T: LayerState<Config>>(
        self,
        state: impl FnOnce(&S, LayerParts<Config>) -> T,
    ) -> LayerCore<T, Config> {
        let (settings, readiness_limit) =
            (Arc::new(Settings::new(self.config())), self.parts.readiness_limit.sibling());
        let parts = LayerParts { settings, readiness_limit, instruments: self.parts.instruments };
        let state = Arc::new(state(&self.state, parts.clone()));
        registry::replace(Arc::clone(&state) as _);
        LayerCore { parts, state }
    }

    pub(crate) fn state(&self) -> &Arc<S> {
        &self.state
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.state) as _
    }

    pub(crate) fn register(&self, registry: &Registry, name: &str) -> Result<(), InvalidConfig> {
        registry.register(name, &[self.observed()])
    }

    pub(crate) fn config(&self) -> Config {
        self.parts.settings.get()
    }

    /// Applies `config` if it is valid. The reload is counted and logged, valid or not.
    pub(crate) fn reload(&self, config: &Config) -> Result<(), InvalidConfig> {
        observed::reload([&self.parts.instruments], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config.
    pub(crate) fn apply(&self, config: &Config) -> AfterReload<'_> {
        self.parts.settings.replace(config.clone(), |before| self.state.apply_reload(config, before))
    }

    pub(crate) fn set_max_unready(&self, max: u32) {
        self.parts.readiness_limit.set_max(max);
    }
}
