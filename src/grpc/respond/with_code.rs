use ::http::Response;
use ::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use tower::BoxError;

use super::answer::ErrorAnswer;
use super::body::Body;
use crate::http::respond::{Answers, RespondLayer};

/// Responds with a gRPC status. Its message is the reason in one word, or the whole text of the refusal with
/// [`verbose`](RespondLayer::verbose). See the [module](super).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WithCode {
    is_verbose: bool,
}

impl RespondLayer<WithCode> {
    /// Responds with a gRPC status and the reason in one word. See [`grpc::respond`](crate::grpc::respond).
    pub fn grpc() -> Self {
        Self::default()
    }

    /// Responds with the whole text of a refusal: the layer, its name, the numbers. For callers that may know how the
    /// service is built.
    #[must_use]
    pub fn verbose(self) -> Self {
        Self::with(WithCode { is_verbose: true })
    }
}

impl Answers for WithCode {
    type Body<B> = Body<B>;

    fn pass<B>(&self, response: Response<B>) -> Response<Body<B>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let is_grpc = is_grpc(&response);
        response.map(|body| Body::inner(body, is_grpc, self.is_verbose))
    }

    /// `Trailers-Only` in the specification: the status is in the head, and no body follows.
    fn answer<B>(&self, error: &BoxError) -> Response<Body<B>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let mut response = Response::new(Body::none());
        *response.headers_mut() = ErrorAnswer::to(error, self.is_verbose).headers();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

/// `Content-Type → "application/grpc" [("+proto" / "+json" / {custom})]`. This excludes gRPC-Web, whose trailers are a
/// message.
fn is_grpc<B>(response: &Response<B>) -> bool {
    let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(b"application/grpc".as_slice());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}
