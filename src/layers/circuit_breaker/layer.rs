use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::breakers::Breakers;
use super::config::CircuitBreakerConfig;
use super::handle::CircuitBreakerHandle;
use super::service::CircuitBreaker;
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;
use crate::ground::verdict::AtResponse;
use crate::layers::call::breaker_ahead::BreakersAhead;
use crate::layers::call::unready::max_unready;
use crate::layers::core::observed;
use crate::telemetry::Instruments;

/// Stops asking a callee that fails. See the [module](super).
///
/// All services made by one layer value and its clones share one state, or one for each key.
#[derive(Debug)]
pub struct CircuitBreakerLayer<C = AtResponse, K: Keying = OneKey> {
    breakers: Arc<Breakers<K>>,
    classifier: C,
}

impl CircuitBreakerLayer {
    /// A breaker for any service: an `Err` is a failure, and the call is over when its response is there.
    ///
    /// # Errors
    /// If a rate, count or duration is out of its range, or two settings contradict each other; all faults are listed.
    pub fn new(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        Ok(Self { breakers: Arc::new(Breakers::new(config, OneKey, Instruments::new(KIND))), classifier: AtResponse })
    }
}

impl<C, K: Keying> CircuitBreakerLayer<C, K> {
    /// Lets `classifier` say what a result means and when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D, K> {
        CircuitBreakerLayer { breakers: self.breakers, classifier }
    }

    /// Keeps a breaker for each value of `key`: one dead host must not open the breaker of all. The state begins anew.
    ///
    /// At most [`max_keys`](CircuitBreakerConfig::max_keys) keys have one of their own, see [`keyed`](crate::keyed).
    pub fn keyed_by<Req, Key, F>(self, key: F) -> CircuitBreakerLayer<C, ByKey<F, Key>>
    where
        F: Fn(&Req) -> Key + Send + Sync + 'static,
        Key: Hash + Eq + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// Keeps a breaker for each key, as [`keyed_by`](Self::keyed_by) does, with a type of one's own that tells them apart.
    pub fn with_keying<L: Keying>(self, keying: L) -> CircuitBreakerLayer<C, L> {
        let instruments = self.breakers.instruments().clone();
        let breakers = Arc::new(Breakers::new(self.config(), keying, instruments));
        breakers.unready().inherit(self.breakers.unready());
        registry::replace(Arc::clone(&breakers) as _);
        CircuitBreakerLayer { breakers, classifier: self.classifier }
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

    /// What a queue further out asks, so that what would be refused does not wait there.
    pub(crate) fn ahead(&self) -> Arc<dyn BreakersAhead<K::Key>> {
        Arc::clone(&self.breakers) as _
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.breakers) as _
    }

    /// Lets `config` hold from now on, for all clones of this value, all services made by them and all keys.
    ///
    /// - **At once:** everything that a breaker goes by, for calls in flight too when they end: they are judged by what holds then.
    ///   A break that has begun keeps its end. `observe_only` changes the mode only if it is another than before, and not that of a
    ///   breaker that was [forced open](CircuitBreakerHandle::force_open) or [disabled](CircuitBreakerHandle::disable) by hand. Of
    ///   `max_keys`, fewer forget keys that are as good as new, and the others when they are.
    /// - **For calls to come:** `max_hold`.
    /// - **What survives:** the state, the counts of the window, and what is known of the callee's speed. Only with another `window`
    ///   counting begins anew, and what calls in flight will say is not counted; but an open breaker stays open all the same.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings. Windows of calls keep the
    /// memory of the largest that they were, two bytes a call.
    ///
    /// ```
    /// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
    ///
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default())?;
    /// layer.reload(&CircuitBreakerConfig { failure_rate: 0.3, ..layer.config() })?;
    /// assert_eq!(layer.config().failure_rate, 0.3);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](CircuitBreakerLayer::new); all faults are listed, and nothing has changed.
    pub fn reload(&self, config: &CircuitBreakerConfig) -> Result<(), InvalidConfig> {
        observed::reload([self.breakers.instruments()], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Carries a valid configuration out. What is returned is to be done where foreign code may run.
    pub(crate) fn apply(&self, config: &CircuitBreakerConfig) -> impl FnOnce() + use<'_, C, K> {
        self.breakers.apply(config)
    }

    /// The configuration that holds now. A mode that was set by hand is not part of it.
    pub fn config(&self) -> CircuitBreakerConfig {
        self.breakers.config()
    }

    /// To look at the breaker, and to move it by hand.
    pub fn handle(&self) -> CircuitBreakerHandle<K> {
        CircuitBreakerHandle::new(Arc::clone(&self.breakers))
    }
}

impl<C: Clone, K: Keying> Clone for CircuitBreakerLayer<C, K> {
    fn clone(&self) -> Self {
        Self { breakers: Arc::clone(&self.breakers), classifier: self.classifier.clone() }
    }
}

max_unready!([C, K: Keying] CircuitBreakerLayer<C, K>, |layer| layer.breakers.unready());

impl<S, C: Clone, K: Keying> Layer<S> for CircuitBreakerLayer<C, K> {
    type Service = CircuitBreaker<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, Arc::clone(&self.breakers), self.classifier.clone())
    }
}
