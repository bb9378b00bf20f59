//! Limits how many calls to a dependency run at once.
//!
//! A slow dependency accumulates calls until they hold every connection, task and byte that other calls need. A bulkhead limits it
//! to its share. Further calls wait for a permit, but only as long as they can still be served in time.
//!
//! # When not
//! To protect your own service from overload, use [`load_shed`](crate::load_shed), which releases its permits earlier and keeps its
//! queue short. To limit how many calls *start* in a second, use [`rate_limit`](crate::rate_limit).
//!
//! # How it behaves
//! - **Permits:** a call takes one, or as many as it [weighs](BulkheadLayer::weighed_by), and holds them until it is over. There are
//!   `max_concurrent` until calls are short of time, and then as many as is learned, or always as many: see [`Limit`].
//! - **Waiting:** by [priority](crate::context::Priority), then by [key](crate::fair_share) if calls have one, then in the configured [`Order`]. A small share of the permits (`low_priority_share`) goes to lower priorities all the same. Light calls do not overtake a
//!   heavy call of their priority. Three bounds apply to the wait. A call is refused at once if its expected wait, given how long permits were
//!   held lately, exceeds its deadline. It is refused when the time left is less than most calls take. And it is refused after
//!   `max_wait`. A call whose deadline has passed is not started.
//! - **Lasting overload:** a queue that stands only adds latency. If calls have been waiting without a pause for longer than they
//!   usually have left, and one in sixteen has to be refused because of its wait, the queue is kept short for 32 such times, at most two minutes: a call
//!   waits for at most 10 % of the time that it has to spare, and is refused with `QueueFull` otherwise. Then the queue may grow again, and
//!   shows whether there is still an overload. A burst, and workers that share a few permits and are all served in time, keep the room
//!   that they need. Calls without a deadline are not affected.
//! - **Deadlines:** while a permit is free, a call is refused only if almost no call would finish in the time that it has left, and
//!   one in eight such calls is admitted all the same. Calls need not be alike: a few slow calls do not lock out quick ones.
//! - **Time:** a permit is timed from its grant to its release, whatever the time is spent on: inner queues and backoffs, and the body
//!   of the response. This is the time that waiting calls wait for. (The [circuit breaker](crate::circuit_breaker) measures the
//!   dependency.)
//! - **Work that outlives its call:** a blocking closure (`spawn_blocking`) or a task continues when its call is cancelled, and the
//!   permit is free at once. Such work can hold a [`WorkPermit`]: see [`current_permit`]. Then the permit is free when both are over.
//! - **Off:** with `enabled: false` every call passes, and none is counted.
//! - **Readiness:** always ready; an idle clone holds no permit. At the endpoints of a load balancer this
//!   [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put the layer around the balancer. The readiness
//!   of the inner service is polled with the permit held.
//! - **Cancellation:** dropping the call releases its permits, or its position in the queue, at once.
//! - **Clones**, and all services made by clones of one layer value, share the permits; with
//!   [`keyed_by`](BulkheadLayer::keyed_by) each key has its own.
//! - **Errors:** [`Reason::QueueFull`], [`Reason::QueueTimeout`], [`Reason::Displaced`] and [`Reason::NotInTime`], with a
//!   `retry_after` (when the queue should have been served; 100 ms while that is unknown) and the numbers behind the decision;
//!   [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived; [`Reason::CircuitOpen`] in a stack whose breaker is
//!   open; [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] where there is no deadline, at the call's bound;
//!   [`Reason::NotReady`] if too many calls wait for the inner service. Any other error is the inner service's own.
//! - **The call is over** when its classifier says so: at the response; for HTTP and gRPC at the end of its body, so that there are
//!   never more open responses than permits. A body that is kept beyond the deadline, or beyond `max_hold`, is cut, read or not.
//! - **Measured:** how long a call holds its permits; [`evidence`](crate::evidence) has the table.
//! - **A name** ([`named`](BulkheadLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry):
//!   permits, queue, limit, and by verdict how long permits were held. In the registry its limit can also be set by hand.
//! - **Cost:** an `Arc` clone, two atomic updates and one clock read; a short lock while calls wait. With a limit that learns: a short lock in one
//!   call of sixteen, and two in each while calls are short of time or the limit is below its maximum.
//! - **Place:** inside retry, so that attempts hold no permit during their backoff; outside the circuit breaker, which then judges the
//!   dependency without our queue.
//!
//! # Reload
//! A [reload](BulkheadLayer::reload) ends no call. It applies:
//!
//! - **At once:** `max_concurrent`, `limit`, `objective`, `enabled` and `max_keys`. Additional permits go to waiting calls. A lower
//!   limit revokes no permit; it is reached as calls end. With `enabled: false` all waiting calls pass. A lower `max_keys` forgets keys whose state
//!   is as good as new, and other keys once theirs is.
//! - **For new calls:** `max_waiting`, `max_wait`, `max_hold`, `order` and `low_priority_share`. A waiting call keeps its position and the bound of its
//!   wait; a running call keeps its bound.
//! - **What survives:** everything else: permits in use, the queue, and the estimate of how long permits are held. A limit that
//!   was [set by hand](PermitsHandle::set_limit) stays in force until `max_concurrent` changes.
//!
//! ```
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//!
//! let layer = BulkheadLayer::new(BulkheadConfig::default())?;
//! layer.reload(&BulkheadConfig { max_concurrent: 16, ..layer.config() })?;
//! assert_eq!(layer.handle().limit(), 16);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let layer = BulkheadLayer::new(BulkheadConfig { max_concurrent: 8, ..Default::default() })?;
//! let handle = layer.handle();
//! let mut service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, tower::BoxError>(name.len()) }));
//!
//! let call = service.ready().await?.call("seawall");
//! assert_eq!(handle.in_flight(), 1);
//! assert_eq!(call.await?, 7);
//! assert_eq!(handle.in_flight(), 0);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "http",
    doc = r#"
On a server, around one route whose work is expensive, with [`RespondLayer`](crate::http::respond::RespondLayer) outside of it, since axum
wants services that never fail:

```
use axum::body::Bytes;
use axum::{Router, routing::post};
use seawall::bulkhead::{self, BulkheadConfig, BulkheadLayer};
use seawall::http::respond::RespondLayer;
use tower::ServiceBuilder;

# fn main() -> Result<(), seawall::error::InvalidConfig> {
/// Holds its permit in the closure: at most two closures run at once, even after their clients disconnect.
async fn resize(image: Bytes) -> String {
    let permit = bulkhead::current_permit();
    let size = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        image.len()
    });
    size.await.map_or_else(|error| error.to_string(), |size| size.to_string())
}

let permits = BulkheadConfig { max_concurrent: 2, max_waiting: 8, ..Default::default() };
let app: Router = Router::new().route("/resize", post(resize)).layer(
    ServiceBuilder::new()
        .layer(RespondLayer::new()) // 503 with `Retry-After`
        .layer(BulkheadLayer::http(permits)?.named("resize")?),
);
# let _ = app;
# Ok(())
# }
```
"#
)]
//!
//! [`Reason::CircuitOpen`]: crate::error::Reason::CircuitOpen
//! [`Reason::QueueFull`]: crate::error::Reason::QueueFull
//! [`Reason::Displaced`]: crate::error::Reason::Displaced
//! [`Reason::QueueTimeout`]: crate::error::Reason::QueueTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotInTime`]: crate::error::Reason::NotInTime
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod config;
mod future;
mod layer;
mod service;
mod weight;

use crate::ground::layer_id::LayerKind;

pub use config::BulkheadConfig;
pub use future::ResponseFuture;
pub use layer::BulkheadLayer;
pub use service::Bulkhead;
pub use weight::{OnePermit, Weigh, WeighedBy};

pub use crate::layers::permits::handle::PermitsHandle;
pub use crate::layers::permits::hold::Hold;
pub use crate::layers::permits::limit::Limit;
pub use crate::layers::permits::work::{WorkPermit, current_permit};

pub use crate::admission::gate::Order;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Bulkhead;
