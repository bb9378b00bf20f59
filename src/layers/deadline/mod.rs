//! A deadline for every call.
//!
//! Every wait inside this layer has its bound: readiness, queues, retries and their backoff, and the answer. When the
//! time is over, the call is cancelled by dropping it, and the caller gets [`Reason::DeadlineExceeded`].
//!
//! # When not
//! Calls that are meant to last, such as subscriptions, long polls and large transfers, get a time of their own: by
//! [`lasting_by`](DeadlineLayer::lasting_by), over HTTP and gRPC by the extension `http::LongLived` in the request. That time
//! replaces `timeout`, for the head of the response too, and `idle_timeout` and `body_timeout` do not apply.
//!
//! # How it behaves
//! - **The deadline** of a call is the earlier of its own timeout and the deadline it inherits from the call that is being
//!   served ([`context`](crate::context)); layers further in, and calls made in there, see it and wait no longer than that.
//! - **Readiness:** always ready; a wait for the inner service is part of the call and ends at the deadline too. At the endpoints of
//!   a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put it around the balancer.
//! - **Cancellation:** dropping the call cancels it; the layer keeps nothing.
//! - **Clones** share nothing but the settings.
//! - **Errors:** [`Reason::DeadlineExpired`] if there was no time left when the call came (nothing is sent),
//!   [`Reason::DeadlineExceeded`], [`Reason::HeadTimeout`] or [`Reason::IdleTimeout`] if it was cut, [`Reason::NotReady`] if too many
//!   wait for the inner service; any other error is the inner service's own. An answer that is ready in the same moment is returned.
//! - **The call is over** when its response is there; for HTTP and gRPC at the end of its body, which is cut at the deadline even if
//!   nobody reads it. Head, idle time and body may have bounds of their own ([`DeadlineConfig`]).
//! - **A name** ([`named`](DeadlineLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): its times,
//!   what it refused, and the bodies that it cut.
//! - **A reload** ([`reload`](DeadlineLayer::reload)) is for calls to come: one that has begun keeps its deadline, and so does its body.
//! - **Cost:** one reading of the clock, which the layers further in share; a pooled timer only if the call has to wait.
//! - **Place:** outermost, so that everything inside has the bound.
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
pub use timing::{Alike, LastingBy, Timing};

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Deadline;
