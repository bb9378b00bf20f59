use ::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use tower::BoxError;

use super::body::Body;
use crate::ground::error::{RefusalKind, Rejected, rejection};
use crate::ground::verdict::Verdict;
use crate::http::{retry_after, transport};
use crate::layers::core::observed;
use crate::telemetry;

/// Writes a protocol's response for a call that failed.
pub trait Answers: Clone {
    /// The body of a response, whether it is passed on or written here.
    type Body<B>;

    /// Passes on a response of the inner service.
    fn pass<B>(&self, response: Response<B>) -> Response<Self::Body<B>>
    where
        B: http_body::Body<Data = Bytes>;

    /// Writes the response for a call that failed with `error`. It must show the caller no more of the error than the
    /// caller may know.
    fn answer<B>(&self, error: &BoxError) -> Response<Self::Body<B>>
    where
        B: http_body::Body<Data = Bytes>;
}

/// Responds with an HTTP status and a line of text: the reason in one word, or the whole text of the refusal with
/// [`verbose`](super::RespondLayer::verbose).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WithStatus {
    pub(super) is_verbose: bool,
}

impl Answers for WithStatus {
    type Body<B> = Body<B>;

    fn pass<B>(&self, response: Response<B>) -> Response<Body<B>> {
        response.map(Body::inner)
    }

    fn answer<B>(&self, error: &BoxError) -> Response<Body<B>> {
        let (status, text, wait) = match rejection(error) {
            Some(rejected) => (status(rejected.kind()), text(rejected, self.is_verbose), rejected.retry_after()),
            None => {
                let (status, code, text) = of_transport(error);
                telemetry::answered(error, code, status == StatusCode::INTERNAL_SERVER_ERROR);
                observed::request_publication();
                (status, text.to_owned(), None)
            }
        };
        let mut response = Response::new(Body::text(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, retry_after::value(wait));
        }
        response
    }
}

/// The response for an error that is not a refusal. The error's text is not sent. 502 and 504 say that a dependency
/// failed: without them, the tiers above would count it as a failure of this service.
fn of_transport(error: &BoxError) -> (StatusCode, &'static str, &'static str) {
    match transport::verdict(error) {
        Verdict::Unsent => (StatusCode::BAD_GATEWAY, "502", "the dependency was not reached"),
        Verdict::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "504", "the dependency did not answer in time"),
        Verdict::Lost if transport::is_of_a_client(error) => {
            (StatusCode::BAD_GATEWAY, "502", "the dependency did not answer")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "500", "internal server error"),
    }
}

/// The text of a refusal in the response: the reason alone, unless `is_verbose`. The log has names and numbers.
pub(crate) fn text(rejected: &Rejected, is_verbose: bool) -> String {
    if is_verbose { rejected.to_string() } else { rejected.reason().as_str().to_owned() }
}

fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::TooLate => StatusCode::GATEWAY_TIMEOUT,
        RefusalKind::TooOften => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Stalled => StatusCode::REQUEST_TIMEOUT,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
