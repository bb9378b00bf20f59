use std::time::Duration;

use tower::Layer;

use super::config::DeadlineConfig;
use super::service::Deadline;
use super::timing::{Alike, LastingBy};
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
    timing: L,
}

impl DeadlineLayer {
    /// A deadline for any service, `timeout` after the call's beginning; the call is over when its response is there.
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn new(config: impl Into<DeadlineConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        Validation::of(|validation| config.validate(validation))?;
        Ok(Self { unready: Unready::default(), config, classifier: AtResponse, timing: Alike })
    }
}

impl<C, L> DeadlineLayer<C, L> {
    /// Lets `classifier` say when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D, L> {
        DeadlineLayer { unready: self.unready, config: self.config, classifier, timing: self.timing }
    }

    /// Gives the calls for which `lasts` returns a duration so much time in all, instead of `timeout`, which then bounds the
    /// head of the response. A deadline that was inherited holds all the same.
    pub fn lasting_by<Request, F>(self, lasts: F) -> DeadlineLayer<C, LastingBy<F>>
    where
        F: Fn(&Request) -> Option<Duration>,
    {
        self.with_timing(LastingBy(lasts))
    }

    /// As [`lasting_by`](Self::lasting_by), for a type that implements [`Timing`](super::Timing).
    pub fn with_timing<M>(self, timing: M) -> DeadlineLayer<C, M> {
        DeadlineLayer { unready: self.unready, config: self.config, classifier: self.classifier, timing }
    }
}

impl<S, C: Clone, L: Clone> Layer<S> for DeadlineLayer<C, L> {
    type Service = Deadline<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, self.unready.clone(), self.config.clone(), self.classifier.clone(), self.timing.clone())
    }
}
