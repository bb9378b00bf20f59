use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::ThrottleConfig;
use super::handle::ThrottleHandle;
use super::service::Throttle;
use super::state::ThrottleState;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};

/// Refuses a share of the calls while the dependency refuses most of them. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the counts.
pub struct ThrottleLayer<C = AtResponse, K: Keying = OneKey> {
    pub(crate) core: LayerCore<ThrottleState<K>, ThrottleConfig>,
    classifier: C,
}

impl ThrottleLayer {
    /// A throttle for any service. By itself it never refuses a call: an error does not say that the service is overloaded. Set a
    /// [classifier](Self::with_classifier) that returns [`Verdict::Overloaded`](crate::verdict::Verdict::Overloaded).
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, |parts| ThrottleState::new(parts, OneKey))?;
        Ok(Self { core, classifier: AtResponse })
    }
}

impl<C, K: Keying> ThrottleLayer<C, K> {
    /// Sets the classifier, which decides what is a refusal for overload.
    pub fn with_classifier<D>(self, classifier: D) -> ThrottleLayer<D, K> {
        ThrottleLayer { core: self.core, classifier }
    }

    /// Shows how many calls are accepted, and how many are refused locally.
    pub fn handle(&self) -> ThrottleHandle<K> {
        ThrottleHandle::new(Arc::clone(self.core.state()))
    }
}

keyed_methods! {
    /// Keeps counts for each value of `key`: an endpoint, a tenant, a method. Call this before the layer is used.
    ///
    /// ```
    /// use seawall::throttle::{ThrottleConfig, ThrottleLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// // the dependency has a quota for each tenant
    /// let layer = ThrottleLayer::new(ThrottleConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ThrottleLayer<[C] K []> { classifier }
}

layer_methods!(ThrottleLayer<C, K: Keying>, ThrottleConfig);
clone_fields!([C: Clone, K: Keying] ThrottleLayer<C, K> { core, classifier });

impl<S, C: Clone, K: Keying> Layer<S> for ThrottleLayer<C, K> {
    type Service = Throttle<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Throttle::new(inner, Arc::clone(self.core.state()), self.classifier.clone())
    }
}
