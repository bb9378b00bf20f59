//! Refuses a share of the calls in the client while the dependency refuses most of them for overload.
//!
//! A server pays for each call that it refuses: at ten times its capacity it spends a large part of its time on refusals. A client that
//! sees most of its calls refused can refuse a share of them itself, at once and for nothing, and the server serves more of the others.
//! With the defaults a client sends about twice as many calls as are accepted, whatever the number of its calls is.
//!
//! # When not
//! - **If a refusal says nothing about other calls**, such as a quota of one tenant that is exhausted: with one state for all, the
//!   calls of the others would be refused, too. Keep a state for [each tenant](ThrottleLayer::keyed_by), or leave the layer out.
//! - **For a dependency that fails**, or does not answer: that is what a [`circuit_breaker`](crate::circuit_breaker) sees.
//! - **To limit the calls in flight**: see [`bulkhead`](crate::bulkhead).
//!
//! # How it behaves
//! - **The law:** of the calls of the last [`window`](ThrottleConfig::window), `requests` are all, and `accepts` those that the
//!   dependency did not refuse. The share `(requests - multiplier * accepts) / (requests + 1)` of the calls is refused locally, within
//!   `0 ..= max_share`. `requests` has the calls that were refused locally, too. As long as no more than half of the calls are refused
//!   by the dependency, no call is refused locally, with the default multiplier of 2. With fewer than
//!   ten calls in the window, none is.
//! - **A refusal is an answer that names itself as one**: [`Verdict::Overloaded`], such as an HTTP status 503 with a `Retry-After`, 429,
//!   or `RESOURCE_EXHAUSTED`. The servers of [`load_shed`](crate::load_shed) send such answers. A bare 503 or `UNAVAILABLE` is none, and
//!   neither is a failure of the dependency's own dependencies that says "do not retry". Any other answer, a timeout or a failure
//!   shows that the dependency took the call.
//! - **A call counts as accepted** from when it is sent, until its answer is a refusal. A call that an inner layer refused, or that
//!   found no connection, is not counted.
//! - **Priorities:** calls of the lowest [priority](crate::context::Priority) are refused first. A call is refused only if the calls of
//!   its priority and of higher ones are together more than `multiplier * accepts`.
//! - **Probes:** a tenth of the calls is sent (`max_share`), and a call is sent after a `probe_interval` without one.
//! - **The end of an overload:** the counts are dropped once the dependency has answered calls in a row and refused none. With many
//!   calls this takes a tenth of the window, with few calls half of it. Without answers they expire with the window. Calls that are not
//!   answered end nothing.
//! - **Readiness:** always ready; a call that is refused locally reserves nothing.
//! - **Cancellation:** a call that is dropped stays counted as accepted: nothing has refused it. A call that is refused locally takes
//!   one poll.
//! - **Clones**, and all services made by clones of one layer value, share the counts; with [`keyed_by`](ThrottleLayer::keyed_by) each
//!   key has its own.
//! - **Errors:** [`Reason::Throttled`], with the [numbers](crate::error::Numbers) of the decision, and a `retry_after`: the wait that the
//!   dependency asked for in its last refusal, or one second. It is not [retried](crate::retry), and the tiers above are told not to
//!   retry it. [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived; [`Reason::DeadlineExceeded`], or
//!   [`Reason::HoldExceeded`] where there is no deadline, at the call's bound; [`Reason::NotReady`] if too many calls wait for the inner
//!   service. Any other error is the inner service's own.
//! - **The call is over**, for this layer, at the head of its response: a service that refuses for overload does so before it responds.
//!   A refusal in the trailers of a gRPC stream that has begun is not counted. The body is not bounded by this layer.
//! - **A name** ([`named`](ThrottleLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry).
//! - **Cost:** an `Arc` clone and a short lock; 0.3 KB of memory for each key.
//! - **Place:** inside retry, so that each attempt counts; outside of bulkhead and circuit breaker, which then do not see calls that
//!   are refused locally. Outside of a [balancer](crate::balance), its endpoints count together.
//!
//! # Reload
//! A [reload](ThrottleLayer::reload) ends no call.
//!
//! - **At once:** `multiplier`, `max_share`, `probe_interval`, `enabled` and `max_keys`. Another `window` starts with empty counts. A
//!   lower `max_keys` forgets keys whose state is as good as new, and other keys once theirs is.
//! - **For new calls:** `max_hold`.
//! - **What survives:** the counts. While the layer is disabled nothing is added to them, and they expire.
//!
//! ```
//! use seawall::throttle::{ThrottleConfig, ThrottleLayer};
//!
//! let layer = ThrottleLayer::new(ThrottleConfig::default())?;
//! layer.reload(&ThrottleConfig { multiplier: 1.5, ..layer.config() })?;
//! assert_eq!(layer.config().multiplier, 1.5);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::error::{Reason, rejection};
//! use seawall::throttle::{ThrottleConfig, ThrottleLayer};
//! use seawall::verdict::{self, Verdict};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let overloaded = verdict::from_fn(|result: Result<&(), &tower::BoxError>| match result {
//!     Ok(()) => Verdict::Success,
//!     Err(_) => Verdict::Overloaded { retry_after: None },
//! });
//! let layer = ThrottleLayer::new(ThrottleConfig::default())?.with_classifier(overloaded);
//! let handle = layer.handle();
//! let mut service = ServiceBuilder::new().layer(layer).service(service_fn(|()| async { Err::<(), _>("too many requests") }));
//!
//! let mut refused_here = 0;
//! for _ in 0..1000 {
//!     let error = service.ready().await?.call(()).await.expect_err("all are refused, here or there");
//!     refused_here += u32::from(rejection(&error).is_some_and(|rejected| rejected.reason() == Reason::Throttled));
//! }
//! assert!(refused_here > 800, "nine tenths of the calls are not sent");
//! assert_eq!((handle.requests(), handle.accepted(), handle.share()), (1000, 0, 0.9));
//! # Ok(())
//! # }
//! ```
//!
//! The law is that of *Site Reliability Engineering*, chapter [Handling Overload](https://sre.google/sre-book/handling-overload/),
//! "Client-Side Throttling". Its priorities, probes and early end are additions.
//!
//! [`Verdict::Overloaded`]: crate::verdict::Verdict::Overloaded
//! [`Reason::Throttled`]: crate::error::Reason::Throttled
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod config;
mod counted_call;
mod counted_calls;
mod future;
mod handle;
mod layer;
mod service;
mod settings;
mod state;

use crate::ground::layer_id::LayerKind;

pub use config::ThrottleConfig;
pub use future::ResponseFuture;
pub use handle::ThrottleHandle;
pub use layer::ThrottleLayer;
pub use service::Throttle;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Throttle;
