//! A share of its own for each dependency: so many calls run at once, and no more.
//!
//! A slow dependency collects calls until it has taken every connection, task and byte that others would need. Behind a
//! bulkhead it can take no more than its share. Calls beyond that wait for a permit, but only as long as it makes sense.
//!
//! # When not
//! To keep a service of your own from being overrun: that is the [`load_shed`](crate::load_shed) layer, which lets go of its permits
//! earlier and keeps its queue short. To bound how many calls *start* in a second, take [`rate_limit`](crate::rate_limit).
//!
//! # How it behaves
//! - **Permits:** a call takes one, or as many as it [weighs](BulkheadLayer::weighed_by), and holds them until it is over.
//! - **Waiting:** by [priority](crate::context::Priority), then in the [`Order`] configured; a heavy call is not passed by light
//!   ones of its priority. The wait is bounded three times over: a call is refused at once if its turn is not
//!   expected to come in time for its deadline, given how long permits have been held lately; when the time left is less than most
//!   calls take; and after `max_wait`. Nobody whose time is over is served.
//! - **Deadlines:** while a permit is free, a call is refused only if hardly any call would make it in the time it has left, and of those
//!   one in eight is let through. Calls need not be alike: a few slow ones do not shut quick ones out.
//! - **Time:** a permit is timed from its grant to its release, whatever the time is spent on: queues and backoffs further in, and the
//!   body of the response. That is what a queue waits for. (The [circuit breaker](crate::circuit_breaker) times the dependency.)
//! - **Work that outlives its call:** a blocking closure (`spawn_blocking`), or a task, goes on when its call is cancelled, and the permit is
//!   free at once. Such work takes a [`WorkPermit`] along: [`current_permit`]. Then the permit is free when both are over.
//! - **Off:** with `enabled: false` every call passes, and none is counted.
//! - **Readiness:** always ready, and an idle clone holds no permit. At the endpoints of
//!   a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put it around the balancer. Whether the inner service is ready is found out with
//!   the permit in hand.
//! - **Cancellation:** dropping the call gives back its permits, or its place in the queue, at once.
//! - **Clones**, and all services made by clones of one layer value, share the permits; with
//!   [`keyed_by`](BulkheadLayer::keyed_by) each key has its own.
//! - **Errors:** [`Reason::QueueFull`], [`Reason::QueueTimeout`], [`Reason::Displaced`] and [`Reason::NotInTime`], with the time after which
//!   the queue should have been served (100 ms while that is not known) and the numbers that decided; [`Reason::DeadlineExpired`] if there was no time left when the call came;
//!   [`Reason::CircuitOpen`] in a stack whose breaker is open;
//!   [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] where there is no deadline, at the call's bound;
//!   [`Reason::NotReady`] if too many wait for the inner service; any other error is the inner service's own.
//! - **The call is over** when its classifier says so: at the response; for HTTP and gRPC at the end of its body, so that there are never
//!   more open responses than permits. A body that is kept beyond the deadline, or `max_hold`, is cut, read or not.
//! - **What is measured** is how long a call holds its permits; [`evidence`](crate::evidence) has the table.
//! - **A name** ([`named`](BulkheadLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): permits,
//!   line, limit, and by verdict how long permits were held. There its limit can be set by hand, too.
//! - **A reload** ([`reload`](BulkheadLayer::reload)) ends no call: permits in use, the line and what is known of the time that permits are held are
//!   kept, and a lower limit is reached as calls end.
//! - **Cost:** an `Arc` clone, two atomic updates and one reading of the clock; a short lock while calls wait.
//! - **Place:** inside retry, so that attempts that wait for their backoff hold no permit; outside of the circuit breaker, which
//!   then judges the dependency without our queue.
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
On a server, around one route whose work is dear, with [`RespondLayer`](crate::http::respond::RespondLayer) outside of it, since axum
wants services that never fail:

```
use axum::body::Bytes;
use axum::{Router, routing::post};
use seawall::bulkhead::{self, BulkheadConfig, BulkheadLayer};
use seawall::http::respond::RespondLayer;
use tower::ServiceBuilder;

# fn main() -> Result<(), seawall::error::InvalidConfig> {
/// Takes its permit along: two closures run at once, also when their clients have hung up.
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
mod handle;
mod layer;
mod service;
mod weight;

use crate::ground::layer_id::LayerKind;

pub use config::BulkheadConfig;
pub use future::ResponseFuture;
pub use handle::BulkheadHandle;
pub use layer::BulkheadLayer;
pub use service::Bulkhead;
pub use weight::{Alike, Weigh, WeighedBy};

pub use crate::layers::permits::work::{WorkPermit, current_permit};

pub use crate::admission::gate::Order;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Bulkhead;
