use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::agreement::Equal;
use super::config::QuorumConfig;
use super::service::{Quorum, VotingEndpoints};
use super::state::QuorumState;
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validation;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, layer_methods};

/// Sends a call to several endpoints, and answers when enough agree. See the [module](super).
pub struct QuorumLayer<C = AtResponse, A = Equal> {
    pub(crate) core: LayerCore<QuorumState, QuorumConfig>,
    classifier: C,
    agreement: A,
}

impl QuorumLayer {
    /// Answers agree if they are equal, and every `Ok` is a good answer.
    ///
    /// # Errors
    /// If a setting is out of its range, or more endpoints have to agree than there are; all faults are listed.
    pub fn new(config: QuorumConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, QuorumState::new)?;
        Ok(Self { core, classifier: AtResponse, agreement: Equal })
    }
}

impl<C, A> QuorumLayer<C, A> {
    /// Sets the classifier, which decides which answers are good: those with the verdict `success` or `caller_fault`.
    pub fn with_classifier<D>(self, classifier: D) -> QuorumLayer<D, A> {
        QuorumLayer { core: self.core, classifier, agreement: self.agreement }
    }

    /// Sets what decides whether two good answers agree.
    pub fn with_agreement<B>(self, agreement: B) -> QuorumLayer<C, B> {
        QuorumLayer { core: self.core, classifier: self.classifier, agreement }
    }
}

impl<C: Clone, A: Clone> QuorumLayer<C, A> {
    /// A quorum over these services, one for each endpoint. (The layer itself sends to clones of one service, such as a load
    /// balancer.)
    ///
    /// # Errors
    /// If their number is not that of the config: `endpoints`.
    pub fn over<S>(&self, services: impl IntoIterator<Item = S>) -> Result<Quorum<S, C, A>, InvalidConfig> {
        let services: Vec<_> = services.into_iter().collect();
        let (given, endpoints) = (services.len(), self.config().endpoints);
        Validation::of(|validation| {
            let fits = u32::try_from(given).is_ok_and(|given| given == endpoints);
            validation.check(
                fits,
                "endpoints",
                format_args!("invalid value: {endpoints}, must be the number of services, {given}"),
            );
        })?;
        Ok(self.around(VotingEndpoints::Each(services)))
    }

    fn around<S>(&self, endpoints: VotingEndpoints<S>) -> Quorum<S, C, A> {
        Quorum::new(endpoints, Arc::clone(self.core.state()), self.classifier.clone(), self.agreement.clone())
    }
}

layer_methods!(QuorumLayer<C, A>, QuorumConfig);
clone_fields!([C: Clone, A: Clone] QuorumLayer<C, A> { core, classifier, agreement });

impl<S, C: Clone, A: Clone> Layer<S> for QuorumLayer<C, A> {
    type Service = Quorum<S, C, A>;

    fn layer(&self, inner: S) -> Self::Service {
        self.around(VotingEndpoints::ClonesOf(inner))
    }
}

impl fmt::Debug for QuorumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumState").finish_non_exhaustive()
    }
}
