use tower::Layer;

use super::answers::WithStatus;
use super::service::Respond;

/// Responds when the inner service fails. See the [module](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct RespondLayer<A = WithStatus> {
    answers: A,
}

impl RespondLayer {
    /// Responds with an HTTP status and the reason in one word.
    pub fn new() -> Self {
        Self::default()
    }

    /// Responds with the whole text of a refusal: the layer, its name, the numbers. For callers that may know how the
    /// service is built.
    ///
    /// ```
    /// use seawall::http::respond::RespondLayer;
    /// use seawall::stack::{self, ServerConfig};
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layers = stack::server(&ServerConfig::default())?.with_respond(RespondLayer::new().verbose());
    /// # drop(layers);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn verbose(self) -> Self {
        Self::with(WithStatus { is_verbose: true })
    }
}

impl<A> RespondLayer<A> {
    /// Responds as `answers` does.
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
