use http::Request;
use http::uri::Authority;

use crate::admission::keyed::{KeyBy, Keying};

/// Tells requests apart by host and port, so that one dead host among many does not cut them all.
///
/// Requests without an authority, such as those that a server gets, share one state.
///
/// ```
/// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
/// use seawall::http::ByAuthority;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = BulkheadLayer::http(BulkheadConfig::default())?.with_keying(ByAuthority);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl Keying for ByAuthority {
    type Key = Authority;
}

impl<B> KeyBy<Request<B>> for ByAuthority {
    fn key(&self, request: &Request<B>) -> Option<Authority> {
        request.uri().authority().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_differ_paths_and_letter_case_do_not() {
        let key = |uri: &str| ByAuthority.key(&Request::get(uri).body(()).expect("a request"));
        assert_eq!(key("http://one.test/a"), key("http://ONE.test/b"));
        assert_ne!(key("http://one.test/"), key("http://two.test/"));
        assert_ne!(key("http://one.test:8080/"), key("http://one.test:8081/"));
        assert_eq!(key("/only/a/path"), None);
    }
}
