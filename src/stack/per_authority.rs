use ::http::Request;

use crate::admission::keyed::{KeyBy, Keying};
use crate::http::{ByAuthority, HostAndPort};

/// One state for each host and port, or one for all: what [`ClientConfig::per_authority`](super::ClientConfig) says.
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
