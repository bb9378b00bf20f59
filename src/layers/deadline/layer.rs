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
use crate::layers::call::unready::max_unready;
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
    /// A deadline for any service, `timeout` after the call's beginning; the call is over when its response is there.
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
    /// Lets `classifier` say when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D, L> {
        DeadlineLayer { state: self.state, classifier, timing: self.timing, served: self.served }
    }

    /// Gives the calls for which `lasts` returns a duration that much time in all, instead of `timeout`. Their head may come
    /// as late as that unless `head_timeout` is set, and `idle_timeout` and `body_timeout` do not apply to them. An inherited
    /// deadline still bounds them.
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

    /// Its responses go to clients by a server's connections, whatever the settings are.
    pub(crate) fn served(self) -> Self {
        Self { served: true, ..self }
    }

    /// Gives it a name, by which it is known in refusals, logs and metrics, and in the [`registry`](crate::registry) of the
    /// process.
    ///
    /// # Errors
    /// If the name is empty or longer than 128 bytes, or taken by another layer of this kind, or the layer has one already.
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

    /// Gives calls from now on the times of `config`: those of all clones of this value, and of all services made by them.
    /// A call that has begun keeps its deadline, and so does its body.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new times.
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
    /// As [`new`](DeadlineLayer::new); all faults are listed, and nothing has changed.
    pub fn reload(&self, config: &DeadlineConfig) -> Result<(), InvalidConfig> {
        observed::reload([&self.state.instruments], config.validate())?;
        self.apply(config);
        Ok(())
    }

    /// Carries a valid configuration out.
    pub(crate) fn apply(&self, config: &DeadlineConfig) {
        self.state.settings.store(config.clone());
    }

    /// The configuration that holds now.
    pub fn config(&self) -> DeadlineConfig {
        self.state.settings.get()
    }
}

max_unready!([C, L] DeadlineLayer<C, L>, |layer| layer.state.unready);

impl<S, C: Clone, L: Clone> Layer<S> for DeadlineLayer<C, L> {
    type Service = Deadline<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, Arc::clone(&self.state), self.classifier.clone(), self.timing.clone(), self.served)
    }
}
