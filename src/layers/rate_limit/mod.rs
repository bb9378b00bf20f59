//! Limits how many calls start per period.
//!
//! For limits that are known as numbers: a partner's quota, a fair share for each tenant, a rate that a dependency is known to
//! sustain. Calls beyond the rate are refused with a `retry_after`, or wait for a permit if that is configured and there is time.
//!
//! # When not
//! To protect a service from overload: its capacity is not known in calls per second, and it changes. Use
//! [`load_shed`](crate::load_shed) or [`bulkhead`](crate::bulkhead), which go by the calls in flight.
//!
//! # How it behaves
//! - **The rate** is exact in the long run (GCRA), with a burst after a pause.
//! - **Waiting:** by [priority](crate::context::Priority), then first come, first served. A call of higher priority goes before all
//!   waiting calls of lower priority, the head of the queue included. The position in the queue predicts when a call would start; if
//!   that is after `max_wait` or after its deadline, the call is refused at once. If the queue is full, the last call of a lower
//!   priority is displaced.
//! - **Readiness:** always ready; a readied clone holds no permit, and a refused call takes none. At the endpoints of a load balancer
//!   this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put the layer around the balancer.
//! - **Cancellation:** dropping a waiting call lets the next one move up. A call that has started has been counted. A call at the head
//!   of the queue that is kept and not polled blocks the calls behind it until they are refused: poll or drop every waiting call.
//! - **Clones**, and all services made by clones of one layer value, share the rate: one limit for a whole application, whatever the
//!   number of routes it is applied to. With [`keyed_by`](RateLimitLayer::keyed_by) each key has its own rate.
//! - **Errors:** [`Reason::RateLimited`] and [`Reason::Displaced`], with a `retry_after` and the [numbers](crate::error::Numbers)
//!   behind the decision; [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived; [`Reason::DeadlineExceeded`],
//!   or [`Reason::HoldExceeded`] after `max_hold` where there is no deadline, for a call that had started; [`Reason::NotReady`] if too
//!   many calls wait for the inner service. Any other error is the inner service's own.
//! - **The call is over**, for this layer, when it has started; its response is only bounded in time.
//! - **A name** ([`named`](RateLimitLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): the
//!   rate, the calls started, and the calls waiting.
//! - **Cost:** an `Arc` clone and one atomic update; a short lock while calls wait.
//! - **Place:** on a server outside of everything that is expensive; on a client inside retry, so that retries count too.
//!
//! # Reload
//! A [reload](RateLimitLayer::reload) ends no call, and used permits stay used.
//!
//! - **At once:** the rate (`permits`, `per`, `burst`) and `max_keys`. The available permits are kept, up to the new `burst`, and
//!   refill at the new rate. After a change from one a minute to a hundred a second, the first waiting call starts within 10 ms. A
//!   larger `burst` fills over time, as after a pause. A lower `max_keys` forgets keys whose state is as good as new, and other
//!   keys once theirs is.
//! - **For new calls:** `max_wait`, `max_waiting` and `max_hold`. A waiting call keeps its position in the queue and the bound of its
//!   wait. If the new rate is too slow for that bound, the call is refused when the bound is reached.
//!
//! ```
//! use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
//!
//! let layer = RateLimitLayer::new(RateLimitConfig::default())?;
//! layer.reload(&RateLimitConfig { permits: 200, ..layer.config() })?;
//! assert_eq!(layer.config().permits, 200);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::error::{Reason, rejection};
//! use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let config = RateLimitConfig { permits: 1, per: Duration::from_secs(60), ..Default::default() };
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(config)?)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, tower::BoxError>(name.len()) }));
//!
//! assert_eq!(service.ready().await?.call("seawall").await?, 7);
//! let error = service.ready().await?.call("again").await.expect_err("once a minute");
//! let rejected = rejection(&error).expect("it was the limit");
//! assert_eq!(rejected.reason(), Reason::RateLimited);
//! assert!(rejected.retry_after() > Some(Duration::from_secs(58)));
//! # Ok(())
//! # }
//! ```
//!
//! [`Reason::Displaced`]: crate::error::Reason::Displaced
//! [`Reason::RateLimited`]: crate::error::Reason::RateLimited
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod applied;
mod bucket;
mod config;
mod future;
mod handle;
mod layer;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use config::RateLimitConfig;
pub use future::ResponseFuture;
pub use handle::RateLimitHandle;
pub use layer::RateLimitLayer;
pub use service::RateLimit;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::RateLimit;
