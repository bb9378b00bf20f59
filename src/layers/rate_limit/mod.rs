//! So many calls start in a stretch of time, and no more.
//!
//! For what has been agreed on in numbers: a partner's quota, a fair share for each tenant, a pace that a dependency is known to
//! keep up with. Calls beyond the rate are refused with the time after which to come back, or wait for their turn, if
//! that is configured and there is time.
//!
//! # When not
//! To protect a service from overload: how much it can do is not known in calls per second, and changes. That is what
//! [`load_shed`](crate::load_shed) and [`bulkhead`](crate::bulkhead) are for, which go by what is going on.
//!
//! # How it behaves
//! - **The rate** is exact in the long run (GCRA), with a burst after a pause.
//! - **Waiting:** by [priority](crate::context::Priority), then first come, first served. A call of higher priority goes before all
//!   that wait, the head of the queue included. The place in the queue says when a call's turn will come; if that is after `max_wait`
//!   or its deadline, it is refused at once. If the queue is full, the last call of a lower priority is displaced.
//! - **Readiness:** always ready; a readied clone has taken no permit. A call that is refused takes none either. At the endpoints of
//!   a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put it around the balancer.
//! - **Cancellation:** dropping a call that waits gives its turn to the next. Once started, it has been counted. A call that is
//!   kept and not polled when its turn has come holds up those behind it until they are refused: poll or drop what waits.
//! - **Clones**, and all services made by clones of one layer value, share the rate: a limit on a whole application, however many
//!   routes the layer is applied to. With [`keyed_by`](RateLimitLayer::keyed_by) each key has its own.
//! - **Errors:** [`Reason::RateLimited`] and [`Reason::Displaced`], which say when to come back and carry the
//!   [numbers](crate::error::Numbers) that decided it; [`Reason::DeadlineExpired`] if the call came too late;
//!   [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] after a minute where there is no deadline, for a call that had started;
//!   [`Reason::NotReady`] if too many wait for the inner service; any other error is the inner service's own.
//! - **The call is over**, for this layer, when it has started; its answer is only bounded in time.
//! - **A name** ([`named`](RateLimitLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): the rate,
//!   how many were let start, and how many wait.
//! - **A reload** ([`reload`](RateLimitLayer::reload)) holds at once, for those who wait too. They keep their places, and what is used up
//!   stays used up.
//! - **Cost:** an `Arc` clone and one atomic update; a short lock while calls wait.
//! - **Place:** on the service's side outside of everything that costs; on a client inside retry, so that retries are counted too.
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
