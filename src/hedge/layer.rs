use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::KIND;
use super::config::HedgeConfig;
use super::service::Hedge;
use super::state::HedgeState;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::time;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};
use crate::layers::retry::{Budget, CloneRequest};

/// Starts a second attempt of a call that is slow, within a budget. See the [module](super).
pub struct HedgeLayer<C = AtResponse, P = CloneRequest, K: Keying = OneKey> {
    pub(crate) core: LayerCore<HedgeState<K>, HedgeConfig>,
    classifier: C,
    replay: P,
}

impl HedgeLayer {
    /// Hedges for any service whose requests can be cloned and executed twice. Every error counts as transient.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, HedgeState::new)?;
        Ok(Self { core, classifier: AtResponse, replay: CloneRequest::new() })
    }
}

impl<C, P> HedgeLayer<C, P> {
    /// Pays hedges from `budget`, which is usually that of the [retry layer](crate::retry::RetryLayer::budget) around this one: then
    /// retries and hedges together are bounded. A call that a retry layer further out has paid in for earns nothing more. The budget
    /// keeps its own settings: a [`reload`](Self::reload) of the layer does not change them, [`Budget::reload`] does.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { core: self.core.map(|_, parts| HedgeState::with_budget(parts, budget)), ..self }
    }
}

impl<C, P> HedgeLayer<C, P> {
    /// Puts the hedges inside the retries that pay from `budget`: hedges answer slowness, and retries answer failure. Hedges pay from the
    /// same budget, as after [`with_budget`](Self::with_budget), and leave its last token to a retry. An attempt that fails is returned
    /// to the retry, which repeats it after its backoff, unless another attempt is still in flight. Without this, the layer follows a failure at once, and a call may make
    /// [`max_attempts`](super::HedgeConfig::max_attempts) for each attempt of the retry.
    ///
    /// ```
    /// use seawall::hedge::{HedgeConfig, HedgeLayer};
    /// use seawall::retry::{RetryConfig, RetryLayer};
    ///
    /// let retry = RetryLayer::new(RetryConfig::default())?;
    /// let hedge = HedgeLayer::new(HedgeConfig::default())?.inside_retries(retry.budget().clone());
    /// # let _ = hedge;
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    pub fn inside_retries(self, budget: Budget) -> Self {
        Self { core: self.core.map(|_, parts| HedgeState::inside_retries(parts, budget)), ..self }
    }
}

impl<C, P, K: Keying> HedgeLayer<C, P, K> {
    /// Sets the classifier, which decides what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> HedgeLayer<D, P, K> {
        HedgeLayer { core: self.core, classifier, replay: self.replay }
    }

    /// Sets the replay, which makes the request of each attempt, and decides which requests may be sent twice.
    pub fn with_replay<Q>(self, replay: Q) -> HedgeLayer<C, Q, K> {
        HedgeLayer { core: self.core, classifier: self.classifier, replay }
    }

    /// The budget that pays for hedges. With keys: the budget of requests without a key.
    pub fn budget(&self) -> &Budget {
        self.core.state().budget()
    }

    /// How long an attempt may take now before it is hedged; `None` if slow attempts are not hedged now. With keys: the delay of
    /// requests without a key.
    pub fn delay(&self) -> Option<Duration> {
        self.core.state().delay(time::now())
    }
}

keyed_methods! {
    /// Keeps a budget and a learned delay for each value of `key`, because one dependency's latency says nothing about another's.
    /// Requests without a key share the layer's [`budget`](Self::budget).
    ///
    /// ```
    /// use seawall::hedge::{HedgeConfig, HedgeLayer};
    ///
    /// struct Query {
    ///     shard: u32,
    /// }
    ///
    /// let layer = HedgeLayer::new(HedgeConfig::default())?.keyed_by(|query: &Query| query.shard);
    /// # let _ = layer;
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    HedgeLayer<[C, P] K []> { classifier, replay }
}

layer_methods!(HedgeLayer<C, P, K: Keying>, HedgeConfig);
clone_fields!([C: Clone, P: Clone, K: Keying] HedgeLayer<C, P, K> { core, classifier, replay });

impl<S, C: Clone, P: Clone, K: Keying> Layer<S> for HedgeLayer<C, P, K> {
    type Service = Hedge<S, C, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge::new(inner, Arc::clone(self.core.state()), self.classifier.clone(), self.replay.clone())
    }
}
