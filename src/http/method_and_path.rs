use std::fmt;
use std::hash::{Hash, Hasher};

use ::http::uri::PathAndQuery;
use ::http::{Method, Request};

use crate::quarantine::Fingerprint;

/// A fingerprint of HTTP requests: those with the same method and path are alike, whatever their host, query and body.
///
/// For gRPC that is the method of a service. If paths have parameters (`/orders/17`), or one kind of body crashes a server, use a closure
/// that knows it:
///
/// ```
/// use http::Request;
/// use seawall::http::ByStatus;
/// use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
///
/// // the first segment of the path
/// let segment = |request: &Request<String>| request.uri().path().split('/').nth(1).map(str::to_owned);
/// let layer = QuarantineLayer::new(QuarantineConfig::default(), segment)?.with_classifier(ByStatus::new());
/// # drop(layer);
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MethodAndPath;

/// The method and the path of a request. A clone of both allocates nothing.
pub struct MethodAndPathKey {
    method: Method,
    /// `None` for a request without a path, such as CONNECT.
    path: Option<PathAndQuery>,
}

impl MethodAndPathKey {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self { method: request.method().clone(), path: request.uri().path_and_query().cloned() }
    }

    pub(crate) fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Without the query, which may hold secrets.
    pub(crate) fn path(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }
}

impl Hash for MethodAndPathKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.method.hash(state);
        self.path().hash(state);
    }
}

impl fmt::Debug for MethodAndPathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path())
    }
}

impl<B> Fingerprint<Request<B>> for MethodAndPath {
    type Key = MethodAndPathKey;

    fn fingerprint(&self, request: &Request<B>) -> Option<MethodAndPathKey> {
        Some(MethodAndPathKey::of(request))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn method_and_path_decide_and_the_query_does_not() {
        let hasher = RandomState::new();
        let hash = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).expect("a valid request");
            hasher.hash_one(MethodAndPath.fingerprint(&request))
        };
        let first = hash("GET", "http://a.test/report?page=1");
        assert_eq!(hash("GET", "/report"), first);
        assert_eq!(hash("GET", "https://b.test/report?page=2"), first);
        assert_ne!(hash("POST", "/report"), first);
        assert_ne!(hash("GET", "/reports"), first);
        assert_eq!(hash("CONNECT", "a.test:443"), hash("CONNECT", "b.test:443"));
    }

    #[test]
    fn key_is_shown_without_the_query() {
        let request = Request::get("http://a.test/report?token=secret").body(()).expect("a valid request");
        assert_eq!(format!("{:?}", MethodAndPath.fingerprint(&request).expect("a key")), "GET /report");
    }
}
