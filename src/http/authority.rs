use std::fmt;
use std::hash::{Hash, Hasher};

use http::Request;
use http::uri::{Authority, Uri};

use crate::admission::keyed::{KeyBy, Keying};

/// Tells requests apart by host and port, so that one dead host among many does not cut them all.
///
/// Use it where one client talks to hosts that fail by themselves: shards, tenants, whatever a crawler or a proxy meets. For one
/// dependency behind one name there is nothing to gain: each new host begins with a state that knows nothing yet, and with
/// a limit of its own.
///
/// Requests without an authority share one state: those that a server gets, and those of a tonic client, whose channel adds the
/// authority further in (unless it was made `with_origin`).
///
/// **Cost:** no allocation; a look at the URI.
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
    type Key = HostAndPort;
}

impl<B> KeyBy<Request<B>> for ByAuthority {
    fn key(&self, request: &Request<B>) -> Option<HostAndPort> {
        HostAndPort::of(request.uri())
    }
}

/// A host and a port, as [`ByAuthority`] tells them apart: in any case of letters, with the scheme's port where none is written,
/// and whoever the user is, whose name and password are not shown either.
#[derive(Clone)]
pub struct HostAndPort {
    authority: Authority,
    port: Option<u16>,
}

impl HostAndPort {
    /// Those of a URI, if it has any.
    pub fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?.clone();
        let port = authority.port_u16().or_else(|| match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        });
        Some(Self { authority, port })
    }

    /// The host as it was written; a literal IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, if it was written or the scheme has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl PartialEq for HostAndPort {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host().eq_ignore_ascii_case(other.host())
    }
}

impl Eq for HostAndPort {}

impl Hash for HostAndPort {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.host().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        self.port.hash(state);
    }
}

impl fmt::Debug for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostAndPort").field("host", &self.host()).field("port", &self.port).finish()
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

    #[test]
    fn one_host_has_one_state_however_it_is_written() {
        let key = |uri: &str| ByAuthority.key(&Request::get(uri).body(()).expect("a request")).expect("a key");
        for (one, other) in [
            ("http://one.test/", "http://one.test:80/"),
            ("https://one.test:443/", "https://one.test/"),
            ("http://one.test/", "http://one.test:/"),
            ("http://ann:secret@one.test:8080/", "http://bob@one.test:8080/"),
            ("http://[::1]/", "http://[::1]:80/"),
            ("HTTP://u@[::1]:8080/", "http://[::1]:8080/"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [
            ("http://one.test/", "https://one.test/"),
            ("http://one.test:443/", "http://one.test/"),
            ("http://[::1]:8080/", "http://[::1]:8081/"),
            ("http://[::1]/", "http://[::2]/"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        let hashing = std::hash::RandomState::new();
        let hash = |uri: &str| std::hash::BuildHasher::hash_one(&hashing, key(uri));
        assert_eq!(hash("http://ann@ONE.test/"), hash("http://one.test:80/"));
        assert!(!format!("{:?}", key("http://ann:secret@one.test/")).contains("secret"));
    }
}
