use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::KIND;
use super::config::DeadlineConfig;
use super::service::Deadline;
use super::state::DeadlineState;
use super::timing::{ByConfig, LastingBy};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, layer_methods};

/// Gives every call a deadline. See the [module](super).
#[derive(Clone)]
pub struct DeadlineLayer<C = AtResponse, L = ByConfig> {
    pub(crate) core: LayerCore<DeadlineState, DeadlineConfig>,
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
        let core = LayerCore::new(KIND, config.into(), DeadlineState::new)?;
        Ok(Self { core, classifier: AtResponse, timing: ByConfig, served: false })
    }
}

impl<C, L> DeadlineLayer<C, L> {
    /// Sets the classifier, which decides when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D, L> {
        DeadlineLayer { core: self.core, classifier, timing: self.timing, served: self.served }
    }

    /// Sets a longer timeout for long-lived calls. A call for which `lasts` returns a duration has that timeout instead of
    /// `timeout`. Its head may take as long, unless `head_timeout` is set; `idle_timeout` and `body_timeout` do not apply. An
    /// inherited deadline still applies, and so does all else that the layer reads from requests.
    pub fn lasting_by<Request, F>(self, lasts: F) -> DeadlineLayer<C, LastingBy<F, L>>
    where
        F: Fn(&Request) -> Option<Duration>,
    {
        let Self { core, classifier, timing, served } = self;
        DeadlineLayer { core, classifier, timing: LastingBy { lasts, timing }, served }
    }

    /// As [`lasting_by`](Self::lasting_by), for a type that implements [`Timing`](super::Timing).
    pub fn with_timing<M>(self, timing: M) -> DeadlineLayer<C, M> {
        DeadlineLayer { core: self.core, classifier: self.classifier, timing, served: self.served }
    }

    /// Marks the layer as server side: its responses go to clients over a server's connections, whatever the settings are.
    pub(crate) fn served(self) -> Self {
        Self { served: true, ..self }
    }
}

layer_methods!(DeadlineLayer<C, L>, DeadlineConfig);

impl<S, C: Clone, L: Clone> Layer<S> for DeadlineLayer<C, L> {
    type Service = Deadline<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        let (state, classifier, timing) = (self.core.state(), self.classifier.clone(), self.timing.clone());
        Deadline::new(inner, Arc::clone(state), classifier, timing, self.served)
    }
}
