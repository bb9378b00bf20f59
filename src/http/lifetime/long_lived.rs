use std::time::Duration;

use ::http::Request;

use crate::middleware::deadline::Timing;

/// An extension that says: this response is meant to go on, for so long at the most. For event streams, long polls, watches and
/// large downloads.
///
/// - **In a request**, to a client with [`DeadlineLayer::http`](crate::deadline::DeadlineLayer::http): the call has so much time in
///   all, and the layer's `timeout` bounds the head of the response only. A deadline that is inherited from a call that is
///   being served holds all the same.
/// - **In a response**, from a handler: every layer that holds something for it lets it go on for so long from then on, whatever the
///   deadline was; and no idle timeout ends it.
///
/// A long-lived call holds the permit of a bulkhead for as long as it lasts. Give such calls permits of their own, so that
/// they do not take those of short calls:
///
/// ```
/// use std::time::Duration;
/// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
/// use seawall::http::LongLived;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = BulkheadLayer::http(BulkheadConfig::default())?
///     .keyed_by(|request: &http::Request<String>| request.extensions().get::<LongLived>().is_some());
/// # drop(layer);
/// let request = http::Request::get("http://news.test/live")
///     .extension(LongLived::new(Duration::from_secs(3600)))
///     .body(String::new());
/// # let _ = request;
/// # Ok(())
/// # }
/// ```
///
/// A connection that was upgraded (101, or a tunnel) needs none of this: the call is over with the head, and the connection is
/// whoever's it has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongLived {
    total: Duration,
}

impl LongLived {
    /// A response that may go on for `total`.
    pub const fn new(total: Duration) -> Self {
        Self { total }
    }

    /// How long it may go on.
    pub const fn total(self) -> Duration {
        self.total
    }
}

/// Knows the calls that are meant to last by the extension [`LongLived`] of their requests.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByExtension;

impl<B> Timing<Request<B>> for ByExtension {
    #[inline]
    fn lasts(&self, request: &Request<B>) -> Option<Duration> {
        request.extensions().get::<LongLived>().map(|long_lived| long_lived.total)
    }
}
