//! Answers in place of an inner service that refused or failed.
//!
//! For calls whose caller can use less than the real answer: another region, a stale copy, an empty list, a default price. Another
//! service, a closure or a value answers: see [`service`](service()), [`from_fn`] and [`value`].
//!
//! # When not
//! - If the caller cannot do with less than the real answer. A wrong answer is worse than an error.
//! - If the fallback is more expensive than the inner service, or depends on the same parts. All calls go to the fallback at once when
//!   the inner service fails: it must take them all, or have a [`bulkhead`](crate::bulkhead) or [`rate_limit`](crate::rate_limit) of
//!   its own.
//! - For writes. What is answered in their place is lost.
//!
//! # How it behaves
//! - **What is answered:** failures of the system, judged by verdict: `Transient`, `Overloaded`, `DoNotRetry`, `TimedOut`, `Unsent`,
//!   `Lost` and `Failed`, whether the inner service returned an error or a response (HTTP 503, gRPC `UNAVAILABLE` in head or
//!   trailers); and every refusal of an inner layer, such as an open circuit. The caller's own fault is never answered: `CallerFault`,
//!   `Unprocessed`, a request that could not be sent as it is, or one whose body stalled. Change a verdict by the
//!   [classifier](FallbackLayer::with_classifier).
//! - **The deadline:** once the deadline of the call has passed, nothing is answered. Another service answers within the time that is
//!   left. A hanging inner service leaves none: put a [`deadline`](crate::deadline) inside of this layer that is shorter than the one
//!   around it. A stack of this crate has such a deadline: a fallback around the whole stack answers when it is over.
//! - **A second service** gets the request again if its [replay](OtherService::with_replay) allows that: for HTTP after a refusal, after
//!   `Unsent`, and otherwise if the request is idempotent. The request is kept for it up front, at the cost of the replay. A value and a
//!   closure need no copy of the request. A request that is [quarantined](crate::quarantine) is never sent to it, since it may crash
//!   its instances, too; a value or a closure answers.
//! - **The mark:** an HTTP or gRPC response of the fallback has the extension `AnsweredByFallback`, which tells the verdict and keeps
//!   the error or the response that it stands for. Responses of other types are marked by a closure, see
//!   [`marked_by`](FallbackLayer::marked_by); without one they look like any other response.
//! - **The report:** around or inside of a retry, [`retry::report`](crate::retry::report) tells that a fallback answered, and for which
//!   cause.
//! - **If the fallback fails, too,** the error is a [`FallbackFailed`]: it names both errors, and its source is the inner service's. If
//!   the inner service had responded, its response is returned, over HTTP with the extension `FallbackError`. If the time of the call
//!   ends while the fallback answers, the result of the inner service is returned: an error unchanged, and of a response what was kept
//!   of it, at most 64 KiB of its body. (A deadline layer around this one cuts the call at the same instant, and then its caller gets
//!   the cut.)
//! - **If no fallback answers,** because the failure is none of those above, the request cannot be sent again, or the fallback
//!   declines, the result of the inner service is returned unchanged. For that, the closure is asked, and the request for a second
//!   service is made, before a failed response is read and truncated.
//! - **Readiness:** that of the inner service; always ready if it is not. The second service is readied in the call, where the wait has
//!   a bound; at most 1024 calls wait for it.
//! - **Cancellation:** dropping the call drops the inner call or the fallback's, whichever is in flight, and the kept request. Nothing
//!   of the inner call is in flight while the fallback answers: a failed HTTP response is read for at most 50 ms, and then dropped.
//! - **Clones** share the settings.
//! - **Errors:** [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived; [`Reason::DeadlineExceeded`], or
//!   [`Reason::HoldExceeded`] after `max_hold` where there is no deadline; [`Reason::NotReady`] if too many calls wait for the inner
//!   service; [`FallbackFailed`]. Any other error is the inner service's own.
//! - **Panics:** none of its own. A panic in the closure ends the call, and holds nothing.
//! - **The call is over**, for this layer, when its response is there. The body is the caller's, and is bounded by a deadline outside.
//! - **A name** ([`named`](FallbackLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): the
//!   failures that were answered, by cause, and those that were not, by reason. Its calls are recorded by what their callers got: an
//!   answer of the fallback is a success.
//! - **Cost:** a clone of the fallback (two pointers for a value or a closure), and what the replay costs. A clock read if the inner
//!   service fails. Over gRPC, the response is read ahead for its status, as a [retry](crate::retry) reads it.
//! - **Place:** around the retry, so that retries come first, and inside a deadline. In front of a service, inside `respond`. The example
//!   `replicas` has one around a quorum, around a whole client stack.
//!
//! # Reload
//! A [reload](FallbackLayer::reload) applies to new calls. The answer itself is not part of the config.
//!
//! ```
//! use seawall::fallback::{self, FallbackConfig, FallbackLayer};
//!
//! let layer = FallbackLayer::new(FallbackConfig::default(), fallback::value(0))?;
//! layer.reload(&FallbackConfig { enabled: false, ..layer.config() })?;
//! assert!(!layer.config().enabled);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::fallback::{self, FallbackConfig, FallbackLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut stock = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(FallbackConfig::default(), fallback::value(0))?)
//!     .service(service_fn(|item: &'static str| async move {
//!         if item == "tea" { Ok(7) } else { Err("the warehouse is down") }
//!     }));
//!
//! assert_eq!(stock.ready().await?.call("tea").await?, 7);
//! assert_eq!(stock.ready().await?.call("coffee").await?, 0);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(feature = "http", doc = "Over HTTP, a standby answers, and the response says so:")]
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(
    feature = "http",
    doc = r#"use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use bytes::Bytes;
use seawall::fallback::{self, AnsweredByFallback, FallbackConfig, FallbackLayer};
use tower::{Layer, ServiceExt, service_fn};

# #[tokio::main(flavor = "current_thread")]
# async fn main() -> Result<(), tower::BoxError> {
let standby = service_fn(|_| async { Ok::<_, tower::BoxError>(Response::new(Empty::<Bytes>::new())) });
let primary = service_fn(|_| async {
    let unavailable = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
    Ok::<_, tower::BoxError>(unavailable.body(Empty::<Bytes>::new())?)
});
let layer = FallbackLayer::http(FallbackConfig::default(), fallback::http_service(standby))?;

let response = layer.layer(primary).oneshot(Request::new(Empty::<Bytes>::new())).await?;
let instead_of = response.extensions().get::<AnsweredByFallback>().expect("the standby answered");
assert_eq!(instead_of.response().expect("a response").status(), 503);
# Ok(())
# }"#
)]
#![cfg_attr(feature = "http", doc = "```")]
//!
//! # Sources
//! "Static fallbacks" and their risk: Builders' Library, *Avoiding fallback in distributed systems* (Amazon, 2019), which is why this
//! page begins with when not to use one.
//!
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod answer;
mod call;
mod config;
mod failure;
mod future;
#[cfg(feature = "http")]
mod http;
mod layer;
mod mark;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use self::answer::{
    Answering, Computed, FallbackAnswer, KeepRequest, OtherService, Value, from_fn, service, value,
};
pub use self::config::FallbackConfig;
pub use self::failure::{Failure, FallbackFailed};
pub use self::future::ResponseFuture;
#[cfg(feature = "grpc")]
pub use self::http::grpc_service;
#[cfg(feature = "http")]
pub use self::http::{AnsweredByFallback, FallbackBody, FallbackError, HttpMark, http_service};
pub use self::layer::FallbackLayer;
pub use self::mark::{AsIs, Mark, MarkedBy};
pub use self::service::Fallback;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Fallback;
