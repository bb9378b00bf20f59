use std::time::Duration;

use tower::Layer;

use super::config::DeadlineConfig;
use super::lasting::{Alike, LastingBy};
use super::service::Deadline;
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::middleware::inner::Unready;

/// Gives every call a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct DeadlineLayer<C = AtResponse, L = Alike> {
    unready: Unready,
    config: DeadlineConfig,
    classifier: C,
    lasting: L,
}

impl DeadlineLayer {
    /// A deadline for any service, `timeout` after the call's beginning; the call is over when its response is there.
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn new(config: impl Into<DeadlineConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        Validation::of(|validation| config.validate(validation))?;
        Ok(Self { unready: Unready::default(), config, classifier: AtResponse, lasting: Alike })
    }
}

impl<C, L> DeadlineLayer<C, L> {
    /// Lets `classifier` say when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D, L> {
        DeadlineLayer { unready: self.unready, config: self.config, classifier, lasting: self.lasting }
    }

    /// Gives the calls for which `lasts` returns a duration so much time in all, instead of `timeout`, which then bounds the
    /// head of the response. A deadline that was inherited holds all the same.
    pub fn lasting_by<Request, F>(self, lasts: F) -> DeadlineLayer<C, LastingBy<F>>
    where
        F: Fn(&Request) -> Option<Duration>,
    {
        self.with_lasting(LastingBy(lasts))
    }

    /// As [`lasting_by`](Self::lasting_by), for a type that implements [`Lasting`](super::Lasting).
    pub fn with_lasting<M>(self, lasting: M) -> DeadlineLayer<C, M> {
        DeadlineLayer { unready: self.unready, config: self.config, classifier: self.classifier, lasting }
    }
}

impl<S, C: Clone, L: Clone> Layer<S> for DeadlineLayer<C, L> {
    type Service = Deadline<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, self.unready.clone(), self.config.clone(), self.classifier.clone(), self.lasting.clone())
    }
}
