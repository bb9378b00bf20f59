use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::budget::Budget;
use super::config::RetryConfig;
use super::replay::CloneRequest;
use super::service::Retry;
use super::state::RetryState;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};

/// Retries calls that fail, within a budget. See the [module](super).
pub struct RetryLayer<C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    pub(crate) core: LayerCore<RetryState<K>, RetryConfig>,
    classifier: C,
    replay: P,
}

impl RetryLayer {
    /// Retries for any service whose requests can be cloned. Every error counts as transient.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, RetryState::new)?;
        Ok(Self { core, classifier: AtResponse, replay: CloneRequest::new() })
    }
}

impl<C, P> RetryLayer<C, P> {
    /// Pays retries from `budget`, which other layers may share. The budget keeps its own settings: a [`reload`](Self::reload) of
    /// the layer does not change them, [`Budget::reload`] does.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { core: self.core.map(|_, parts| RetryState::with_budget(parts, budget)), ..self }
    }
}

impl<C, P, K: Keying> RetryLayer<C, P, K> {
    /// Sets the classifier, which decides what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> RetryLayer<D, P, K> {
        RetryLayer { core: self.core, classifier, replay: self.replay }
    }

    /// Sets the replay, which makes the request of each attempt.
    pub fn with_replay<Q>(self, replay: Q) -> RetryLayer<C, Q, K> {
        RetryLayer { core: self.core, classifier: self.classifier, replay }
    }

    /// The budget that pays for retries. With keys: the budget of requests without a key.
    pub fn budget(&self) -> &Budget {
        self.core.state().budget()
    }
}

keyed_methods! {
    /// Keeps a budget for each value of `key`, so that one failing endpoint does not exhaust the budget of all. Requests without a
    /// key share the layer's [`budget`](Self::budget).
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
    RetryLayer<[C, P] K []> { classifier, replay }
}

layer_methods!(RetryLayer<C, P, K: Keying>, RetryConfig);
clone_fields!([C: Clone, P: Clone, K: Keying] RetryLayer<C, P, K> { core, classifier, replay });

impl<S, C: Clone, P: Clone, K: Keying> Layer<S> for RetryLayer<C, P, K> {
    type Service = Retry<S, C, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(self.core.state()), self.classifier.clone(), self.replay.clone())
    }
}
