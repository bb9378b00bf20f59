use tower::Layer;

use super::budget::Budget;
use super::config::RetryConfig;
use super::policy::Policy;
use super::replay::CloneRequest;
use super::service::Retry;
use crate::admission::keyed::{ByKey, Keyed, Keying, OneKey};
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::Arc;
use crate::ground::verdict::AtResponse;

/// Makes a further attempt when one fails, within a budget. See the [module](super).
#[derive(Debug)]
pub struct RetryLayer<C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    policies: Arc<Keyed<K, Policy>>,
    classifier: C,
    replay: P,
}

impl RetryLayer {
    /// Retries for any service whose requests can be cloned: every error is a failure that may pass.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| config.validate(validation))?;
        let policies = Keyed::new(OneKey, config.max_keys, Policy::new(config));
        Ok(Self { policies: Arc::new(policies), classifier: AtResponse, replay: CloneRequest::new() })
    }
}

impl<C, P> RetryLayer<C, P> {
    /// Pays from `budget`, which may be shared with other layers.
    pub fn with_budget(self, budget: Budget) -> Self {
        let config = self.policies.common().config.clone();
        let policies = Keyed::new(OneKey, config.max_keys, Policy::paid_from(budget, config));
        Self { policies: Arc::new(policies), ..self }
    }

    /// Keeps a budget for each value of `key`, so that one host in trouble does not use up what all may spend.
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

    /// Keeps a budget for each key. Requests without one share the layer's [`budget`](Self::budget).
    pub fn with_keying<K: Keying>(self, keying: K) -> RetryLayer<C, P, K> {
        let Policy { config, budget, .. } = &**self.policies.common();
        let common = Policy::paid_from(budget.clone(), config.clone());
        let policies = Arc::new(Keyed::new(keying, config.max_keys, common));
        RetryLayer { policies, classifier: self.classifier, replay: self.replay }
    }
}

impl<C, P, K: Keying> RetryLayer<C, P, K> {
    /// Lets `classifier` say what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> RetryLayer<D, P, K> {
        RetryLayer { policies: self.policies, classifier, replay: self.replay }
    }

    /// Lets `replay` make each attempt's request.
    pub fn with_replay<Q>(self, replay: Q) -> RetryLayer<C, Q, K> {
        RetryLayer { policies: self.policies, classifier: self.classifier, replay }
    }

    /// The budget that retries are paid from; where there is one for each key, that of the requests without a key.
    pub fn budget(&self) -> &Budget {
        &self.policies.common().budget
    }
}

/// By hand, so that a keying needs not be `Clone`: clones share it.
impl<C: Clone, P: Clone, K: Keying> Clone for RetryLayer<C, P, K> {
    fn clone(&self) -> Self {
        Self { policies: Arc::clone(&self.policies), classifier: self.classifier.clone(), replay: self.replay.clone() }
    }
}

impl<S, C: Clone, P: Clone, K: Keying> Layer<S> for RetryLayer<C, P, K> {
    type Service = Retry<S, C, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(&self.policies), self.classifier.clone(), self.replay.clone())
    }
}
