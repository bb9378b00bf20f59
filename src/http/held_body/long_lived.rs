use std::time::Duration;

use ::http::{Request, Version};

use crate::http::method_and_path::MethodAndPathKey;
use crate::layers::deadline::Timing;

/// An extension that gives a call its own, longer timeout. For event streams, watches, long polls, and large uploads
/// and downloads.
///
/// - **In a request** that passes a [`DeadlineLayer`](crate::deadline::DeadlineLayer) for HTTP or gRPC, on a client or
///   a server: the call has this timeout instead of the layer's `timeout`. An inherited deadline and a `grpc-timeout`
///   still bound it.
/// - **In a response**, from a handler: every layer that holds something for the response allows it this much time from
///   the head on, whatever the deadline was. (Not a [`chaos`](crate::chaos) layer: a fault in the body ends when it would.)
///
/// | bound | with `LongLived` in the request |
/// |---|---|
/// | `timeout` | replaced by [`total`](Self::total) |
/// | `head_timeout` | replaced by [`with_head`](Self::with_head). Without `with_head`, it applies if it is set; otherwise the head may take all of `total` |
/// | `idle_timeout`, `body_timeout` | do not apply (nor with `LongLived` in the response) |
/// | `attempt_timeout` of a [retry](crate::retry) | bounds the wait for an attempt's head if the head has less time than `total`; otherwise does not apply |
/// | `max_hold` of a [bulkhead](crate::bulkhead) and others | does not apply inside a deadline layer |
///
/// The head of a long poll or a long upload comes late: give it all of the time. The head of an event stream comes at
/// once: bound it by [`with_head`](Self::with_head), so that a server that hangs is noticed.
///
/// ```
/// use std::time::Duration;
/// use seawall::http::LongLived;
///
/// let second = Duration::from_secs(1);
/// let poll = LongLived::new(60 * second);
/// let events = LongLived::new(3600 * second).with_head(5 * second);
/// assert_eq!((poll.head(), events.head()), (None, Some(5 * second)));
/// ```
///
/// # Server-sent events
/// The handler puts it into its response. Behind the [server stack](crate::stack), the body of any other response has
/// 60 s:
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use axum::response::sse::{Event, KeepAlive, Sse};
/// use axum::response::IntoResponse;
/// use axum::routing::get;
/// use axum::{Extension, Router};
/// use futures::{StreamExt, stream};
/// use seawall::http::LongLived;
/// use seawall::stack::{self, ServerConfig};
/// # use http_body_util::BodyExt;
/// # use tower::ServiceExt;
///
/// async fn news() -> impl IntoResponse {
///     let events = stream::iter(["first", "second", "third"]).then(|text| async move {
///         tokio::time::sleep(Duration::from_secs(50)).await;
///         Ok::<_, Infallible>(Event::default().data(text))
///     });
///     let an_hour = LongLived::new(Duration::from_secs(3600));
///     (Extension(an_hour), Sse::new(events).keep_alive(KeepAlive::default()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::time::pause();
/// let app: Router = Router::new().route("/news", get(news)).layer(stack::server(&ServerConfig::default())?);
/// # let request = http::Request::get("/news").body(axum::body::Body::empty())?;
/// # let text = app.oneshot(request).await?.into_body().collect().await?.to_bytes();
/// # assert!(text.ends_with(b"data: third\n\n"));
/// # Ok(())
/// # }
/// ```
///
/// # Permits
/// A long-lived call holds its bulkhead permit for as long as it lasts. Give such calls permits of their own, so that
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
///     .extension(LongLived::new(Duration::from_secs(3600)).with_head(Duration::from_secs(5)))
///     .body(String::new());
/// # let _ = request;
/// # Ok(())
/// # }
/// ```
///
/// An upgraded connection (101, or a tunnel) does not need this: its call is over with the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongLived {
    total: Duration,
    head: Option<Duration>,
}

impl LongLived {
    /// A call that may take `total`, head and body together.
    pub const fn new(total: Duration) -> Self {
        Self { total, head: None }
    }

    /// Bounds the time from the beginning of the call to the head of its response. Has no effect in a response.
    #[must_use]
    pub const fn with_head(self, head: Duration) -> Self {
        Self { head: Some(head), ..self }
    }

    /// How long the call may take in all. In a response: how long the body may take.
    pub const fn total(self) -> Duration {
        self.total
    }

    /// How long the head may take, if it has a bound of its own.
    pub const fn head(self) -> Option<Duration> {
        self.head
    }
}

/// Reads the timeouts of long-lived calls from the extension [`LongLived`] of their requests.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByExtension;

impl<B> Timing<Request<B>> for ByExtension {
    type Named = MethodAndPathKey;

    #[inline]
    fn lasts(&self, request: &Request<B>) -> Option<Duration> {
        request.extensions().get::<LongLived>().map(|long_lived| long_lived.total)
    }

    #[inline]
    fn head(&self, request: &Request<B>) -> Option<Duration> {
        request.extensions().get::<LongLived>().and_then(|long_lived| long_lived.head)
    }

    #[inline]
    fn shares_connection(&self, request: &Request<B>) -> bool {
        request.version() > Version::HTTP_11
    }

    #[inline]
    fn named(&self, request: &Request<B>) -> Option<MethodAndPathKey> {
        Some(MethodAndPathKey::of(request))
    }
}
