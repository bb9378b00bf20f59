use std::sync::Arc;

use tower::Layer;

use super::budget::Budget;
use super::config::RetryConfig;
use super::policy::Policy;
use super::replay::CloneRequest;
use super::service::Retry;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;

/// Makes a further attempt when one fails, within a budget. See the [module](super).
#[derive(Clone, Debug)]
pub struct RetryLayer<C = AtResponse, P = CloneRequest> {
    policy: Arc<Policy>,
    classifier: C,
    replay: P,
}

impl RetryLayer {
    /// Retries for any service whose requests can be cloned: every error is a failure that may pass.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let budget = Budget::valid(&config.budget);
        Ok(Self { policy: Arc::new(Policy { config, budget }), classifier: AtResponse, replay: CloneRequest::new() })
    }
}

impl<C, P> RetryLayer<C, P> {
    /// Pays from `budget`, which may be shared with other layers.
    pub fn with_budget(self, budget: Budget) -> Self {
        let config = self.policy.config.clone();
        Self { policy: Arc::new(Policy { config, budget }), ..self }
    }

    /// Lets `classifier` say what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> RetryLayer<D, P> {
        RetryLayer { policy: self.policy, classifier, replay: self.replay }
    }

    /// Lets `replay` make each attempt's request.
    pub fn with_replay<Q>(self, replay: Q) -> RetryLayer<C, Q> {
        RetryLayer { policy: self.policy, classifier: self.classifier, replay }
    }

    /// The budget that retries are paid from.
    pub fn budget(&self) -> &Budget {
        &self.policy.budget
    }
}

impl<S, C: Clone, P: Clone> Layer<S> for RetryLayer<C, P> {
    type Service = Retry<S, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(&self.policy), self.classifier.clone(), self.replay.clone())
    }
}
