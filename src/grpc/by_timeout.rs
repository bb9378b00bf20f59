use std::time::Duration;

use ::http::Request;

use super::propagation::timeout_of;
use crate::http::ByExtension;
use crate::layers::deadline::Timing;

/// Reads how long a call may take from its `grpc-timeout`, which `tonic::Request::set_timeout` writes, and whether a
/// stream is long-lived from the extension [`LongLived`](crate::http::LongLived).
///
/// In gRPC this timeout covers the whole call, with all its attempts. tonic's channel sees one attempt at a time and
/// gives the full timeout to each.
///
/// ```
/// use std::time::Duration;
/// use seawall::deadline::DeadlineLayer;
/// use tonic_health::pb::HealthCheckRequest;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = DeadlineLayer::grpc(Duration::from_secs(2))?;
///
/// // this one has less, retries and all
/// let mut request = tonic::Request::new(HealthCheckRequest::default());
/// request.set_timeout(Duration::from_millis(300));
/// # drop((layer, request));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByTimeout;

impl<B> Timing<Request<B>> for ByTimeout {
    type Named = <ByExtension as Timing<Request<B>>>::Named;

    fn lasts(&self, request: &Request<B>) -> Option<Duration> {
        ByExtension.lasts(request)
    }

    fn head(&self, request: &Request<B>) -> Option<Duration> {
        ByExtension.head(request)
    }

    fn within(&self, request: &Request<B>) -> Option<Duration> {
        timeout_of(request.headers())
    }

    /// The path is `/service/method`.
    fn named(&self, request: &Request<B>) -> Option<Self::Named> {
        ByExtension.named(request)
    }
}
