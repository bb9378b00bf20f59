use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::QuarantineConfig;
use super::handle::QuarantineHandle;
use super::service::Quarantine;
use super::state::QuarantineState;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, layer_methods};

/// Refuses requests that were lost on several endpoints. See the [module](super).
#[derive(Clone)]
pub struct QuarantineLayer<F, C = AtResponse> {
    core: LayerCore<QuarantineState, QuarantineConfig>,
    fingerprint: F,
    classifier: C,
}

impl<F> QuarantineLayer<F> {
    /// A quarantine for any service. An error is no loss, unless it is an [injected](crate::error::Injected) one: say by the
    /// [classifier](Self::with_classifier) which errors are.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed.
    pub fn new<Request, Key>(config: QuarantineConfig, fingerprint: F) -> Result<Self, InvalidConfig>
    where
        F: Fn(&Request) -> Key,
        Key: Hash + fmt::Debug + Send + 'static,
    {
        Self::with_fingerprint(config, fingerprint)
    }

    /// As [`new`](Self::new), with a type that implements [`Fingerprint`](super::Fingerprint).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_fingerprint(config: QuarantineConfig, fingerprint: F) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, QuarantineState::new)?;
        Ok(Self { core, fingerprint, classifier: AtResponse })
    }
}

impl<F, C> QuarantineLayer<F, C> {
    /// A handle to read how many fingerprints the layer suspects, and to forget them by hand.
    pub fn handle(&self) -> QuarantineHandle {
        QuarantineHandle::new(Arc::clone(self.core.state()))
    }

    /// Sets the classifier, which decides which calls are lost, and when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> QuarantineLayer<F, D> {
        QuarantineLayer { core: self.core, fingerprint: self.fingerprint, classifier }
    }
}

layer_methods!(QuarantineLayer<F, C>, QuarantineConfig);

impl<S, F: Clone, C: Clone> Layer<S> for QuarantineLayer<F, C> {
    type Service = Quarantine<S, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Quarantine::new(inner, Arc::clone(self.core.state()), self.fingerprint.clone(), self.classifier.clone())
    }
}
