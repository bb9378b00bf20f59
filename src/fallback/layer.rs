use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::FallbackConfig;
use super::failure::Failure;
use super::mark::{AsIs, MarkedBy};
use super::service::Fallback;
use super::state::FallbackState;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, layer_methods};

/// Answers in place of an inner service that refused or failed. See the [module](super).
#[derive(Clone)]
pub struct FallbackLayer<A, C = AtResponse, M = AsIs> {
    core: LayerCore<FallbackState, FallbackConfig>,
    answer: A,
    classifier: C,
    mark: M,
}

impl<A> FallbackLayer<A> {
    /// A fallback for any service, whose response is of the same type. Every error is a failure of the system.
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn new(config: FallbackConfig, answer: A) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, FallbackState::new)?;
        Ok(Self { core, answer, classifier: AtResponse, mark: AsIs })
    }
}

impl<A, C, M> FallbackLayer<A, C, M> {
    /// Sets the classifier, which decides what a result means.
    pub fn with_classifier<D>(self, classifier: D) -> FallbackLayer<A, D, M> {
        FallbackLayer { core: self.core, answer: self.answer, classifier, mark: self.mark }
    }

    /// Marks the fallback's responses by a closure, for responses that are not HTTP. The closure gets the response of the fallback
    /// and the [`Failure`] of the inner service.
    ///
    /// ```
    /// use seawall::fallback::{self, Failure, FallbackLayer};
    ///
    /// struct Price {
    ///     cents: u32,
    ///     instead_of: Option<Box<Failure<Price>>>,
    /// }
    ///
    /// let layer = FallbackLayer::new(Default::default(), fallback::value(42))?
    ///     .marked_by(|cents, failure| Price { cents, instead_of: Some(Box::new(failure)) });
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    pub fn marked_by<F, R, T>(self, mark: F) -> FallbackLayer<A, C, MarkedBy<F>>
    where
        F: Fn(R, Failure<T>) -> T + Clone,
    {
        self.with_mark(MarkedBy(mark))
    }

    /// As [`marked_by`](Self::marked_by), for a type that implements [`Mark`](super::Mark).
    pub fn with_mark<N>(self, mark: N) -> FallbackLayer<A, C, N> {
        FallbackLayer { core: self.core, answer: self.answer, classifier: self.classifier, mark }
    }
}

layer_methods!(FallbackLayer<A, C, M>, FallbackConfig);

impl<S, A: Clone, C: Clone, M: Clone> Layer<S> for FallbackLayer<A, C, M> {
    type Service = Fallback<S, A, C, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let (state, answer) = (Arc::clone(self.core.state()), self.answer.clone());
        Fallback::new(inner, state, answer, self.classifier.clone(), self.mark.clone())
    }
}
