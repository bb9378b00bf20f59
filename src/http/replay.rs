//! Which requests may be sent again, and how.

use ::http::{HeaderName, Request};

use crate::ground::verdict::Verdict;
use crate::middleware::retry::{Kept, Replay};

/// The client's promise that a request with the same key is executed once, however often it arrives
/// (draft-ietf-httpapi-idempotency-key-header).
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Sends a request again if that does no harm: its method is idempotent (RFC 9110, section 9.2.2), or it carries an
/// `Idempotency-Key`. The body is cloned, so it has to be one that can be, such as `http_body_util::Full<Bytes>`.
///
/// A request that cannot be repeated is not cloned.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByMethod;

impl<B: Clone> Replay<Request<B>> for ByMethod {
    type Attempt = Request<B>;
    type Kept = KeptRequest<B>;

    fn first(&self, request: Request<B>) -> (Request<B>, KeptRequest<B>) {
        let repeatable = request.method().is_idempotent() || request.headers().contains_key(&IDEMPOTENCY_KEY);
        let kept = KeptRequest(repeatable.then(|| request.clone()));
        (request, kept)
    }
}

/// A request kept for further attempts, if it may have any. See [`ByMethod`].
#[derive(Clone, Debug)]
pub struct KeptRequest<B>(Option<Request<B>>);

impl<B: Clone> Kept for KeptRequest<B> {
    type Attempt = Request<B>;

    fn repeatable(&self, _: Verdict) -> bool {
        self.0.is_some()
    }

    fn next(&mut self) -> Option<Request<B>> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeatable(request: Request<()>) -> bool {
        let (sent, mut kept) = ByMethod.first(request);
        let again = kept.next();
        assert_eq!(again.is_some(), kept.repeatable(Verdict::Lost));
        again.is_some_and(|again| again.method() == sent.method() && again.headers() == sent.headers())
    }

    #[test]
    fn idempotent_methods_are_repeated_and_others_only_with_a_key() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(repeatable(Request::builder().method(method).body(()).unwrap()), "{method}");
        }
        for method in ["POST", "PATCH", "CONNECT", "BREW"] {
            assert!(!repeatable(Request::builder().method(method).body(()).unwrap()), "{method}");
            let keyed = Request::builder().method(method).header("Idempotency-Key", "7");
            assert!(repeatable(keyed.body(()).unwrap()), "{method}");
        }
    }
}
