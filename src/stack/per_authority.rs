use ::http::Request;

use crate::admission::keyed::{KeyBy, Keying};
use crate::http::{ByAuthority, HostAndPort};

/// Keys the state by host and port, or keeps one state, as [`ClientConfig::per_authority`](super::ClientConfig) says.
#[derive(Clone, Copy, Debug)]
pub struct PerAuthority(pub(super) bool);

impl Keying for PerAuthority {
    type Key = HostAndPort;

    fn to_keep(&self, key: HostAndPort) -> HostAndPort {
        ByAuthority.to_keep(key)
    }
}

impl<B> KeyBy<Request<B>> for PerAuthority {
    #[inline]
    fn key(&self, request: &Request<B>) -> Option<HostAndPort> {
        if self.0 { ByAuthority.key(request) } else { None }
    }
}
