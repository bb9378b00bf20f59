use std::time::Duration;

use tower::Layer;

use super::service::Deadline;
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::middleware::inner::Unready;

/// Gives every call a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct DeadlineLayer<C = AtResponse> {
    unready: Unready,
    timeout: Duration,
    classifier: C,
}

impl DeadlineLayer {
    /// A deadline of `timeout` after the call's beginning, for any service; the call is over when its response is there.
    ///
    /// # Errors
    /// If `timeout` is zero or more than ten years.
    pub fn new(timeout: Duration) -> Result<Self, InvalidConfig> {
        let mut validation = Validation::new();
        validation.positive("timeout", timeout);
        validation.finish()?;
        Ok(Self { unready: Unready::default(), timeout, classifier: AtResponse })
    }
}

impl<C> DeadlineLayer<C> {
    /// Lets `classifier` say when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> DeadlineLayer<D> {
        DeadlineLayer { unready: self.unready, timeout: self.timeout, classifier }
    }
}

impl<S, C: Clone> Layer<S> for DeadlineLayer<C> {
    type Service = Deadline<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, self.unready.clone(), self.timeout, self.classifier.clone())
    }
}
