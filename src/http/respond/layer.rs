use tower::Layer;

use super::answers::WithStatus;
use super::service::Respond;

/// Answers where the inner service fails. See the [module](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct RespondLayer<A = WithStatus> {
    answers: A,
}

impl RespondLayer {
    /// Answers with an HTTP status; there are no settings.
    pub fn new() -> Self {
        Self::with(WithStatus)
    }
}

impl<A> RespondLayer<A> {
    /// Answers as `answers` does.
    pub fn with(answers: A) -> Self {
        Self { answers }
    }
}

impl<S, A: Clone> Layer<S> for RespondLayer<A> {
    type Service = Respond<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        Respond::new(inner, self.answers.clone())
    }
}
