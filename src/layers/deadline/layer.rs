use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::config::DeadlineConfig;
use super::service::Deadline;
use super::state::State;
use super::timing::{ByConfig, LastingBy};
use crate::admission::registry::{Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;
use crate::ground::verdict::AtResponse;
use crate::layers::call::readiness_limit::max_unready;
use crate::layers::core::observed;

/// Gives every call a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct DeadlineLayer<C = AtResponse, L = ByConfig> {
    state: Arc<State>,
    classifier: C,
    timing: L,
    served: bool,
}

impl DeadlineLayer {
    /// A deadline for any service, `timeout` after the start of the call. The call is over when its response is ready.
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn new(config: impl Into<DeadlineConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        config.validate()?;
        Ok(Self { state: Arc::new(State::new(config)), classifier: AtResponse, timing: ByConfig, served: false })
    }
}

impl<C, L> DeadlineLayer<C, L> {
    /// Sets the classifier, which decides when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D, L> {
        DeadlineLayer { state: self.state, classifier, timing: self.timing, served: self.served }
    }

    /// Sets a longer timeout for long-lived calls. A call for which `lasts` returns a duration has that timeout instead of
    /// `timeout`. Its head may take as long, unless `head_timeout` is set; `idle_timeout` and `body_timeout` do not apply. An
    /// inherited deadline still applies.
    pub fn lasting_by<Request, F>(self, lasts: F) -> DeadlineLayer<C, LastingBy<F>>
    where
        F: Fn(&Request) -> Option<Duration>,
    {
        self.with_timing(LastingBy(lasts))
    }

    /// As [`lasting_by`](Self::lasting_by), for a type that implements [`Timing`](super::Timing).
    pub fn with_timing<M>(self, timing: M) -> DeadlineLayer<C, M> {
        DeadlineLayer { state: self.state, classifier: self.classifier, timing, served: self.served }
    }

    /// Marks the layer as server side: its responses go to clients over a server's connections, whatever the settings are.
    pub(crate) fn served(self) -> Self {
        Self { served: true, ..self }
    }

    /// Names the layer. The name appears in refusals, logs and metrics, and in the [`registry`](crate::registry) of the process.
    ///
    /// # Errors
    /// If the name is empty, longer than 128 bytes, or taken by another layer of this kind; or if the layer already has a name.
    pub fn named(self, name: &str) -> Result<Self, InvalidConfig> {
        self.named_in(Registry::global(), name)
    }

    /// As [`named`](Self::named), in another registry.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn named_in(self, registry: &Registry, name: &str) -> Result<Self, InvalidConfig> {
        registry.register(name, &[self.observed()])?;
        Ok(self)
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.state) as _
    }

    /// Applies the timeouts of `config` to calls that start from now on, for all clones of this value and all services made by them.
    /// A call in flight keeps its deadline, and so does its body.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new timeouts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::deadline::{DeadlineConfig, DeadlineLayer};
    ///
    /// let layer = DeadlineLayer::new(Duration::from_secs(2))?;
    /// layer.reload(&DeadlineConfig { head_timeout: Some(Duration::from_secs(1)), ..layer.config() })?;
    /// assert_eq!(layer.config().head_timeout, Some(Duration::from_secs(1)));
    ///
    /// assert!(layer.reload(&Duration::ZERO.into()).is_err());
    /// assert_eq!(layer.config().timeout, Duration::from_secs(2));
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](DeadlineLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &DeadlineConfig) -> Result<(), InvalidConfig> {
        observed::reload([&self.state.instruments], config.validate())?;
        self.apply(config);
        Ok(())
    }

    /// Applies a validated config.
    pub(crate) fn apply(&self, config: &DeadlineConfig) {
        self.state.settings.store(config.clone());
    }

    /// The config in force.
    pub fn config(&self) -> DeadlineConfig {
        self.state.settings.get()
    }
}

max_unready!([C, L] DeadlineLayer<C, L>, |layer| layer.state.readiness_limit);

impl<S, C: Clone, L: Clone> Layer<S> for DeadlineLayer<C, L> {
    type Service = Deadline<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, Arc::clone(&self.state), self.classifier.clone(), self.timing.clone(), self.served)
    }
}
