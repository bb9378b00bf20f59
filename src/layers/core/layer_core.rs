//! The core of a layer value: its shared state, and how it is named, configured and reloaded.

use std::sync::Arc;

use super::observed;
use super::readiness_limit::ReadinessLimit;
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::Validate;

/// The state that all clones and services of a layer value share.
pub(crate) trait LayerState: Send + Sync + 'static {
    type Config: Validate + Clone;

    /// The part that the services hold too. The registry shows it for as long as one of them does.
    fn observed(self: Arc<Self>) -> Arc<dyn Observed>;

    fn settings(&self) -> &Settings<Self::Config>;

    fn readiness_limit(&self) -> &ReadinessLimit;

    /// Carries a reload to the states of all keys, under the lock of the reload: this must neither run foreign code nor wake tasks.
    /// What has to is returned. By default nothing is done, because calls read the settings.
    fn carry_out(&self, config: &Self::Config, before: &Self::Config) -> AfterReload<'_> {
        let _ = (config, before);
        Box::new(|| ())
    }

    /// Applies a validated config.
    fn apply_config(&self, config: &Self::Config) -> AfterReload<'_> {
        self.settings().replace(config.clone(), |before| self.carry_out(config, before))
    }
}

/// The end of a reload. Call it without holding a lock: it may run foreign code and wake tasks.
pub(crate) type AfterReload<'a> = Box<dyn FnOnce() + 'a>;

/// What every layer value has. Clones share the state.
pub(crate) struct LayerCore<S> {
    state: Arc<S>,
}

impl<S: LayerState> LayerCore<S> {
    /// Makes the state from `config`, if that is valid.
    pub(crate) fn new(config: S::Config, state: impl FnOnce(S::Config) -> S) -> Result<Self, InvalidConfig> {
        config.validate()?;
        Ok(Self { state: Arc::new(state(config)) })
    }

    /// Makes the state anew, from the present one. The name and the limit on waiting calls stay.
    pub(crate) fn map<T: LayerState>(&self, state: impl FnOnce(&S) -> T) -> LayerCore<T> {
        let state = Arc::new(state(&self.state));
        state.readiness_limit().inherit(self.state.readiness_limit());
        registry::replace(Arc::clone(&state).observed());
        LayerCore { state }
    }

    pub(crate) fn state(&self) -> &Arc<S> {
        &self.state
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.state).observed()
    }

    pub(crate) fn register(&self, registry: &Registry, name: &str) -> Result<(), InvalidConfig> {
        registry.register(name, &[self.observed()])
    }

    pub(crate) fn config(&self) -> S::Config {
        self.state.settings().get()
    }

    /// Applies `config` if it is valid. The reload is counted and logged, valid or not.
    pub(crate) fn reload(&self, config: &S::Config) -> Result<(), InvalidConfig> {
        observed::reload([self.observed().instruments()], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config.
    pub(crate) fn apply(&self, config: &S::Config) -> AfterReload<'_> {
        self.state.apply_config(config)
    }

    pub(crate) fn set_max_unready(&self, max: u32) {
        self.state.readiness_limit().set_max(max);
    }
}

impl<S> Clone for LayerCore<S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}
