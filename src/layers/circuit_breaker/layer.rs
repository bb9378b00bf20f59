use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::breakers::Breakers;
use super::config::CircuitBreakerConfig;
use super::handle::CircuitBreakerHandle;
use super::service::CircuitBreaker;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::call::breaker_ahead::BreakersAhead;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};

/// Stops calling a dependency that fails. See the [module](super).
///
/// All services made by one layer value and its clones share one state, or one for each key.
pub struct CircuitBreakerLayer<C = AtResponse, K: Keying = OneKey> {
    pub(crate) core: LayerCore<Breakers<K>, CircuitBreakerConfig>,
    classifier: C,
}

impl CircuitBreakerLayer {
    /// A breaker for any service. An `Err` is a failure, and the call is over when its response is ready.
    ///
    /// # Errors
    /// If a rate, count or duration is out of its range, or two settings contradict each other; all faults are listed.
    pub fn new(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, |parts| Breakers::new(parts, OneKey))?;
        Ok(Self { core, classifier: AtResponse })
    }
}

impl<C, K: Keying> CircuitBreakerLayer<C, K> {
    /// Sets the classifier, which decides what a result means and when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D, K> {
        CircuitBreakerLayer { core: self.core, classifier }
    }

    /// A handle to read the breaker's state and to change it by hand.
    pub fn handle(&self) -> CircuitBreakerHandle<K> {
        CircuitBreakerHandle::new(Arc::clone(self.core.state()))
    }

    /// The breakers, for a queue of an outer layer: a call that the breaker would refuse need not wait for a permit.
    pub(crate) fn ahead(&self) -> Arc<dyn BreakersAhead<K::Key>> {
        Arc::clone(self.core.state()) as _
    }
}

keyed_methods! {
    /// Keeps a breaker for each value of `key`: one dead endpoint must not open the breaker of all. The state starts anew.
    ///
    /// At most [`max_keys`](CircuitBreakerConfig::max_keys) keys have their own breaker; see [`keyed`](crate::keyed).
    CircuitBreakerLayer<[C] K []> { classifier }
}

layer_methods!(CircuitBreakerLayer<C, K: Keying>, CircuitBreakerConfig);
clone_fields!([C: Clone, K: Keying] CircuitBreakerLayer<C, K> { core, classifier });

impl<S, C: Clone, K: Keying> Layer<S> for CircuitBreakerLayer<C, K> {
    type Service = CircuitBreaker<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, Arc::clone(self.core.state()), self.classifier.clone())
    }
}
