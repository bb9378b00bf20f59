use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;

use http::Request;
use http::uri::{Authority, Uri};

use crate::admission::keyed::{KeyBy, Keying};

/// Tells requests apart by host and port, so that one dead host among many does not cut off the others.
///
/// Use it where one client calls hosts that fail independently: shards, tenants, the targets of a crawler or a proxy.
/// For one dependency behind one name it gains nothing: each new host starts without any history and with a limit of
/// its own.
///
/// Requests without an authority share one state. These are the requests that a server receives, and those of a tonic
/// client whose channel adds the authority later (unless it was made `with_origin`).
///
/// **Cost:** a look at the URI; one allocation to copy the host, when it is new.
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

    fn to_keep(&self, key: HostAndPort) -> HostAndPort {
        key.copied()
    }
}

impl<B> KeyBy<Request<B>> for ByAuthority {
    fn key(&self, request: &Request<B>) -> Option<HostAndPort> {
        HostAndPort::of(request.uri())
    }
}

/// A host and a port, as [`ByAuthority`] compares them. Letter case, one trailing dot, and the form of an IPv6 address
/// make no difference. Without a port, the scheme's default port is used. User name and password are not compared, and
/// never shown.
#[derive(Clone)]
pub struct HostAndPort {
    /// The authority of the request. It keeps the whole URI in memory, unless it was [`copied`](Self::copied).
    authority: Authority,
    address: Option<Ipv6Addr>,
    port: Option<u16>,
}

impl HostAndPort {
    /// The host and port of a URI, if it has a host.
    pub fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?.clone();
        let port = authority.port_u16().or_else(|| match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        });
        let address = authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        Some(Self { authority, address, port })
    }

    /// The same host and port, without the URI that they come from and without its user.
    fn copied(self) -> Self {
        let copy = Authority::try_from(self.host());
        // A host alone is a valid authority.
        Self { authority: copy.unwrap_or(self.authority), ..self }
    }

    /// The host for comparison, unless it is an IPv6 address. A trailing dot only marks a fully qualified name.
    fn name(&self) -> &str {
        let host = self.host();
        host.strip_suffix('.').unwrap_or(host)
    }

    /// The host as it was written, with brackets around a literal IPv6 address.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, if it was written or the scheme has a default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl PartialEq for HostAndPort {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port
            && match (self.address, other.address) {
                (None, None) => self.name().eq_ignore_ascii_case(other.name()),
                (address, of_other) => address == of_other,
            }
    }
}

impl Eq for HostAndPort {}

impl Hash for HostAndPort {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.address {
            Some(address) => address.hash(state),
            None => self.name().bytes().for_each(|byte| state.write_u8(byte.to_ascii_lowercase())),
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
    fn keys_differ_by_host_and_port_only() {
        let key = |uri: &str| ByAuthority.key(&Request::get(uri).body(()).expect("a request"));
        assert_eq!(key("http://one.test/a"), key("http://ONE.test/b"));
        assert_ne!(key("http://one.test/"), key("http://two.test/"));
        assert_ne!(key("http://one.test:8080/"), key("http://one.test:8081/"));
        assert_eq!(key("/only/a/path"), None);
    }

    #[test]
    fn every_spelling_of_a_host_has_the_same_key() {
        let key = |uri: &str| ByAuthority.key(&Request::get(uri).body(()).expect("a request")).expect("a key");
        for (one, other) in [
            ("http://one.test/", "http://one.test:80/"),
            ("https://one.test:443/", "https://one.test/"),
            ("http://one.test/", "http://one.test:/"),
            ("http://ann:secret@one.test:8080/", "http://bob@one.test:8080/"),
            ("http://[::1]/", "http://[::1]:80/"),
            ("HTTP://u@[::1]:8080/", "http://[::1]:8080/"),
            ("http://one.test./", "http://one.test/"),
            ("http://one.test.:80/", "http://ONE.test/"),
            ("http://[::1]/", "http://[0:0:0:0:0:0:0:1]/"),
            ("http://[FE80::1]/", "http://[fe80:0::1]/"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [
            ("http://one.test/", "https://one.test/"),
            ("http://one.test:443/", "http://one.test/"),
            ("http://[::1]:8080/", "http://[::1]:8081/"),
            ("http://[::1]/", "http://[::2]/"),
            ("http://one.test/", "http://one.test../"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        let hashing = std::hash::RandomState::new();
        let hash = |uri: &str| std::hash::BuildHasher::hash_one(&hashing, key(uri));
        assert_eq!(hash("http://ann@ONE.test./"), hash("http://one.test:80/"));
        assert_eq!(hash("http://[::1]/"), hash("http://[0::1]/"));
        assert!(!format!("{:?}", key("http://ann:secret@one.test/")).contains("secret"));
    }

    #[test]
    fn copied_key_does_not_keep_the_uri() {
        struct Memory {
            bytes: &'static [u8],
            _held: std::sync::Arc<()>,
        }
        impl AsRef<[u8]> for Memory {
            fn as_ref(&self) -> &[u8] {
                self.bytes
            }
        }
        for uri in ["http://ann:secret@One.test.:8080/a/long/path", "http://[0::1]/", "http://one.test/"] {
            let held = std::sync::Arc::new(());
            let memory = bytes::Bytes::from_owner(Memory { bytes: uri.as_bytes(), _held: held.clone() });
            let uri = Uri::from_maybe_shared(memory).expect("a URI");
            let key = HostAndPort::of(&uri).expect("a key");
            let kept = ByAuthority.to_keep(key.clone());
            assert_eq!((&kept, kept.host()), (&key, key.host()));
            drop((key, uri));
            assert_eq!(std::sync::Arc::strong_count(&held), 1);
            assert!(!kept.authority.as_str().contains("secret"));
        }
    }
}
