use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::budget::Budget;
use super::config::RetryConfig;
use super::policy::Policy;
use super::replay::CloneRequest;
use super::service::Retry;
use super::state::State;
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;
use crate::ground::verdict::AtResponse;
use crate::layers::call::readiness_limit::{ReadinessLimit, max_unready};
use crate::layers::core::observed;
use crate::telemetry::Instruments;

/// Retries calls that fail, within a budget. See the [module](super).
#[derive(Debug)]
pub struct RetryLayer<C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    state: Arc<State<K>>,
    classifier: C,
    replay: P,
}

impl RetryLayer {
    /// Retries for any service whose requests can be cloned. Every error counts as transient.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let common = Policy::new(Budget::valid(&config.budget), ReadinessLimit::default(), Instruments::new(KIND));
        Ok(Self {
            state: Arc::new(State::new(config, OneKey, common)),
            classifier: AtResponse,
            replay: CloneRequest::new(),
        })
    }
}

impl<C, P> RetryLayer<C, P> {
    /// Pays retries from `budget`, which other layers may share. The budget keeps its own settings: a [`reload`](Self::reload) of
    /// the layer does not change them, [`Budget::reload`] does.
    pub fn with_budget(self, budget: Budget) -> Self {
        let Policy { readiness_limit, instruments, .. } = self.state.common();
        let common = Policy::with_given_budget(budget, readiness_limit.sibling(), instruments.clone());
        let state = Arc::new(State::new(self.config(), OneKey, common));
        registry::replace(Arc::clone(&state) as _);
        Self { state, ..self }
    }

    /// Keeps a budget for each value of `key`, so that one failing endpoint does not exhaust the budget of all.
    ///
    /// ```
    /// use seawall::retry::{RetryConfig, RetryLayer};
    ///
    /// struct Query {
    ///     shard: u32,
    /// }
    ///
    /// let layer = RetryLayer::new(RetryConfig::default())?.keyed_by(|query: &Query| query.shard);
    /// # let _ = layer;
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    pub fn keyed_by<Req, F, Key>(self, key: F) -> RetryLayer<C, P, ByKey<F, Key>>
    where
        F: Fn(&Req) -> Key,
        ByKey<F, Key>: Keying,
    {
        self.with_keying(ByKey::new(key))
    }

    /// Keeps a budget for each key. Requests without a key share the layer's [`budget`](Self::budget).
    pub fn with_keying<K: Keying>(self, keying: K) -> RetryLayer<C, P, K> {
        let state = Arc::new(State::new(self.config(), keying, self.state.common().renewed()));
        registry::replace(Arc::clone(&state) as _);
        RetryLayer { state, classifier: self.classifier, replay: self.replay }
    }
}

impl<C, P, K: Keying> RetryLayer<C, P, K> {
    /// Sets the classifier, which decides what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> RetryLayer<D, P, K> {
        RetryLayer { state: self.state, classifier, replay: self.replay }
    }

    /// Sets the replay, which makes the request of each attempt.
    pub fn with_replay<Q>(self, replay: Q) -> RetryLayer<C, Q, K> {
        RetryLayer { state: self.state, classifier: self.classifier, replay }
    }

    /// The budget that pays for retries. With keys: the budget of requests without a key.
    pub fn budget(&self) -> &Budget {
        self.state.budget()
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

    /// Applies `config` to all clones of this value, all services made by them and all keys.
    ///
    /// - **For new calls:** `enabled`, `max_attempts`, `backoff`, `attempt_timeout`, `max_retry_after` and `max_hold`. A call in
    ///   flight keeps the settings that it started with, for all its attempts.
    /// - **At once:** `budget`, in place: deposits are kept, and the reserve is not refilled (see [`Budget::reload`]). And `max_keys`:
    ///   a lower value forgets keys whose state is as good as new, and other keys once theirs is.
    /// - **Never:** a budget that was set with [`with_budget`](RetryLayer::with_budget). Other layers may pay from it; it has its own
    ///   [`reload`](Budget::reload).
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// ```
    /// use seawall::retry::{RetryConfig, RetryLayer};
    ///
    /// let layer = RetryLayer::new(RetryConfig::default())?;
    /// layer.reload(&RetryConfig { max_attempts: 2, ..layer.config() })?;
    /// assert_eq!(layer.config().max_attempts, 2);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](RetryLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &RetryConfig) -> Result<(), InvalidConfig> {
        observed::reload([Observed::instruments(&*self.state)], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config. Call what is returned without holding a lock: it may run user code.
    pub(crate) fn apply(&self, config: &RetryConfig) -> impl FnOnce() + use<'_, C, P, K> {
        self.state.apply(config)
    }

    /// The config in force. A budget that was given with [`with_budget`](Self::with_budget) may have other settings.
    pub fn config(&self) -> RetryConfig {
        self.state.settings.get()
    }
}

/// Written by hand so that the keying need not be `Clone`: clones share it.
impl<C: Clone, P: Clone, K: Keying> Clone for RetryLayer<C, P, K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), classifier: self.classifier.clone(), replay: self.replay.clone() }
    }
}

max_unready!([C, P, K: Keying] RetryLayer<C, P, K>, |layer| layer.state.common().readiness_limit);

impl<S, C: Clone, P: Clone, K: Keying> Layer<S> for RetryLayer<C, P, K> {
    type Service = Retry<S, C, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(&self.state), self.classifier.clone(), self.replay.clone())
    }
}
