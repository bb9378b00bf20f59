//! A deadline for every call.
//!
//! Every wait inside this layer is bounded: readiness, queues, retries and their backoff, and the response. At the deadline the call
//! is cancelled by dropping it, and the caller gets [`Reason::DeadlineExceeded`].
//!
//! A call without a deadline may wait for ever, even if its connection is gone: hyper's client loses a call now and then when HTTP/2
//! connections end all the time ([reported](https://github.com/seanmonstar/reqwest/issues/1323); the stress test counts such calls,
//! and has clients without any layer). Wrap every client, also one that needs nothing else.
//!
//! # When not
//! Long-lived calls, such as subscriptions, long polls and large transfers, get a longer timeout: by
//! [`lasting_by`](DeadlineLayer::lasting_by), or over HTTP and gRPC by the extension `http::LongLived` in the request. That timeout
//! replaces `timeout`, also for the head of the response, and `idle_timeout` and `body_timeout` do not apply.
//!
//! # How it behaves
//! - **The deadline** of a call is the earlier of its own timeout and the deadline that it inherits from the call being served
//!   ([`context`](crate::context)). Inner layers, and calls made inside, see it and wait no longer.
//! - **Readiness:** always ready. A wait for the inner service is part of the call and ends at the deadline too. At the endpoints of a
//!   load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put the layer around the
//!   balancer.
//! - **Cancellation:** dropping the call cancels it. The layer keeps nothing.
//! - **Clones** share nothing but the settings.
//! - **Errors:** [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived (nothing is sent);
//!   [`Reason::DeadlineExceeded`], [`Reason::HeadTimeout`] or [`Reason::IdleTimeout`] if the call was cut; [`Reason::NotReady`] if too
//!   many calls wait for the inner service. Any other error is the inner service's own. A response that is ready at the deadline is
//!   returned.
//! - **The call is over** when its response is ready; for HTTP and gRPC at the end of its body. The body is cut at the deadline even
//!   if it is not being read. Head, idle time and body may have bounds of their own ([`DeadlineConfig`]).
//! - **A name** ([`named`](DeadlineLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): its
//!   timeouts, its refusals, and the bodies that it cut.
//! - **Cost:** one clock read, which inner layers share; a pooled timer only if the call has to wait.
//! - **Place:** outermost, so that everything inside is bounded.
//!
//! # Reload
//! A [reload](DeadlineLayer::reload) applies to new calls. A call in flight keeps its deadline, and so does its body.
//!
//! ```
//! use std::time::Duration;
//! use seawall::deadline::{DeadlineConfig, DeadlineLayer};
//!
//! let layer = DeadlineLayer::new(Duration::from_secs(2))?;
//! layer.reload(&DeadlineConfig { head_timeout: Some(Duration::from_secs(1)), ..layer.config() })?;
//! assert_eq!(layer.config().head_timeout, Some(Duration::from_secs(1)));
//!
//! assert!(layer.reload(&Duration::ZERO.into()).is_err());
//! assert_eq!(layer.config().timeout, Duration::from_secs(2));
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::deadline::DeadlineLayer;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(2))?)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, tower::BoxError>(name.len()) }));
//!
//! assert_eq!(service.ready().await?.call("seawall").await?, 7);
//! # Ok(())
//! # }
//! ```
//!
//! [`Reason::HeadTimeout`]: crate::error::Reason::HeadTimeout
//! [`Reason::IdleTimeout`]: crate::error::Reason::IdleTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod config;
mod future;
mod layer;
mod service;
mod state;
mod timing;

use crate::ground::layer_id::LayerKind;

pub use config::DeadlineConfig;
pub use future::{Cut, ResponseFuture};
pub use layer::DeadlineLayer;
pub use service::Deadline;
pub use timing::{ByConfig, LastingBy, Timing};

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Deadline;
