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
use crate::layers::call::readiness_limit::max_unready;
use crate::layers::core::observed;
use crate::telemetry::Instruments;

/// Stops calling a dependency that fails. See the [module](super).
///
/// All services made by one layer value and its clones share one state, or one for each key.
#[derive(Debug)]
pub struct CircuitBreakerLayer<C = AtResponse, K: Keying = OneKey> {
    breakers: Arc<Breakers<K>>,
    classifier: C,
}

impl CircuitBreakerLayer {
    /// A breaker for any service. An `Err` is a failure, and the call is over when its response is ready.
    ///
    /// # Errors
    /// If a rate, count or duration is out of its range, or two settings contradict each other; all faults are listed.
    pub fn new(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        Ok(Self { breakers: Arc::new(Breakers::new(config, OneKey, Instruments::new(KIND))), classifier: AtResponse })
    }
}

impl<C, K: Keying> CircuitBreakerLayer<C, K> {
    /// Sets the classifier, which decides what a result means and when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D, K> {
        CircuitBreakerLayer { breakers: self.breakers, classifier }
    }

    /// Keeps a breaker for each value of `key`: one dead endpoint must not open the breaker of all. The state starts anew.
    ///
    /// At most [`max_keys`](CircuitBreakerConfig::max_keys) keys have their own breaker; see [`keyed`](crate::keyed).
    pub fn keyed_by<Req, Key, F>(self, key: F) -> CircuitBreakerLayer<C, ByKey<F, Key>>
    where
        F: Fn(&Req) -> Key + Send + Sync + 'static,
        Key: Hash + Eq + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> CircuitBreakerLayer<C, L> {
        let instruments = self.breakers.instruments().clone();
        let breakers = Arc::new(Breakers::new(self.config(), keying, instruments));
        breakers.readiness_limit().inherit(self.breakers.readiness_limit());
        registry::replace(Arc::clone(&breakers) as _);
        CircuitBreakerLayer { breakers, classifier: self.classifier }
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

    /// The breakers, for a queue of an outer layer: a call that the breaker would refuse need not wait for a permit.
    pub(crate) fn ahead(&self) -> Arc<dyn BreakersAhead<K::Key>> {
        Arc::clone(&self.breakers) as _
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.breakers) as _
    }

    /// Applies `config` to all clones of this value, all services made by them and all keys.
    ///
    /// - **At once:** all settings of the breaker, also for calls in flight: a call is judged by the settings in force when it ends. A
    ///   break in progress keeps its end. `observe_only` changes the mode only if its value changes, and not while the breaker was
    ///   [forced open](CircuitBreakerHandle::force_open) or [disabled](CircuitBreakerHandle::disable) by hand. A lower `max_keys`
    ///   forgets keys whose state is as good as new, and other keys once theirs is.
    /// - **For new calls:** `max_hold`.
    /// - **What survives:** the state, the counts of the window, and the known latency of the dependency. Another `window` restarts
    ///   the counts, and results of calls in flight are then not counted; an open breaker stays open all the same.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings. A window
    /// of calls keeps the memory of its largest size, two bytes a call.
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
    /// As [`new`](CircuitBreakerLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &CircuitBreakerConfig) -> Result<(), InvalidConfig> {
        observed::reload([self.breakers.instruments()], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config. Call what is returned without holding a lock: it may run user code.
    pub(crate) fn apply(&self, config: &CircuitBreakerConfig) -> impl FnOnce() + use<'_, C, K> {
        self.breakers.apply(config)
    }

    /// The config in force. A mode that was set by hand is not part of it.
    pub fn config(&self) -> CircuitBreakerConfig {
        self.breakers.config()
    }

    /// A handle to read the breaker's state and to change it by hand.
    pub fn handle(&self) -> CircuitBreakerHandle<K> {
        CircuitBreakerHandle::new(Arc::clone(&self.breakers))
    }
}

impl<C: Clone, K: Keying> Clone for CircuitBreakerLayer<C, K> {
    fn clone(&self) -> Self {
        Self { breakers: Arc::clone(&self.breakers), classifier: self.classifier.clone() }
    }
}

max_unready!([C, K: Keying] CircuitBreakerLayer<C, K>, |layer| layer.breakers.readiness_limit());

impl<S, C: Clone, K: Keying> Layer<S> for CircuitBreakerLayer<C, K> {
    type Service = CircuitBreaker<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, Arc::clone(&self.breakers), self.classifier.clone())
    }
}
