//! Shares queues fairly: a tenant that sends ten times its share delays its own calls, and not those of the others.
//!
//! A queue that serves calls in the order of their arrival gives most of the permits to the caller that sends most. This layer gives each
//! call a key: its tenant, its route, the size of its body. The queues of each [`bulkhead`](crate::bulkhead),
//! [`load_shed`](crate::load_shed) and [balancer](crate::balance) inside then serve the keys in turn.
//!
//! # When not
//! To allow each tenant so many calls a second, whether there is room or not, use a [rate limit](crate::rate_limit) by key. To give each
//! key permits of its own, so that what one does not use is lost to the others, use
//! [`keyed_by`](crate::bulkhead::BulkheadLayer::keyed_by) of the bulkhead. To give calls permits by a cost that you know, use
//! [`weighed_by`](crate::bulkhead::BulkheadLayer::weighed_by).
//!
//! # How it behaves
//! - **Nothing is reserved.** While permits are free every call gets one, whatever its key, and a key alone gets all of them. Only calls
//!   that wait are put in order.
//! - **Shares are of permit time**, not of calls. Each bulkhead and load shedder measures how long the calls of each key hold their permits: a
//!   key whose calls take ten times as long gets a tenth as many. So one route with expensive requests takes its share and no more, and
//!   no setting has to say what a request costs. A balancer's queue counts calls.
//! - **Refusals follow the shares.** The expected wait of a call is that for its turn. So in an overload the calls of a key with too many are
//!   refused, and those of the others wait briefly. A full queue displaces the last call in its order
//!   ([`Reason::Displaced`](crate::error::Reason::Displaced)): one of a key with many calls, or with slow ones.
//! - **Priorities come first**: keys share the turns of each [priority](crate::context::Priority). Within a key, the first call to come is the
//!   first to be served, also with [`Order::Lifo`](crate::bulkhead::Order).
//! - **Calls without a key** together have one share. So do not give a key only to the few: a job with a key beside requests without would
//!   get as much permit time as all of these together.
//! - **Inherited**: the key is part of the call's [context](crate::context), like its deadline. Calls that a handler makes through seawall's
//!   clients share the queues there, too. It does not travel to other processes. Of two such layers around each other the inner one counts.
//! - **Errors**: none of its own. **Readiness** is that of the inner service. **Cancellation**: a key pays nothing for a call that leaves the
//!   queue. Its other waiting calls keep their turns.
//! - **Cost**: a hash of the key, a short lock in each gate when the call ends, and a few more where it waits. **Memory**: each gate remembers
//!   the times of 2,048 keys at most, and a turn for each key with a waiting call.
//!
//! # What it cannot do
//! - Permits that are held are not taken away. Slow calls that came while permits were free hold them until they end, and quick ones wait for
//!   the first of these: with 40 permits and calls of a second for some 50 ms.
//! - The queues of a [rate limit](crate::rate_limit) and of a [quarantine](crate::quarantine) do not know the keys.
//! - A caller that may choose its key freely, as by a header that is not checked, gets a share for each key that it makes up.
//!
//! Source: Goyal, Vin, Cheng, "Start-time fair queueing", SIGCOMM 1996; Kubernetes' API priority and fairness does the same for its requests.
//!
//! # Example
//! ```
//! use seawall::fair_share::FairShareLayer;
//! use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! struct Request {
//!     tenant: u32,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let service = ServiceBuilder::new()
//!     .layer(FairShareLayer::by(|request: &Request| request.tenant)) // outside of the queues
//!     .layer(LoadShedLayer::new(LoadShedConfig::default())?)
//!     .service(service_fn(|request: Request| async move { Ok::<_, tower::BoxError>(request.tenant) }));
//! assert_eq!(service.oneshot(Request { tenant: 7 }).await?, 7);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    feature = "http",
    doc = r#"
In front of an axum service with the whole stack:

```
use axum::extract::{MatchedPath, Request};
use axum::{Router, routing::get};
use seawall::fair_share::FairShareLayer;
use seawall::stack::{self, ServerConfig};
use tower::ServiceBuilder;

# fn main() -> Result<(), seawall::error::InvalidConfig> {
let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
    ServiceBuilder::new()
        .layer(FairShareLayer::by(|request: &Request| {
            let tenant = request.headers().get("x-tenant").cloned(); // after it was authenticated
            let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
            (tenant, route)
        }))
        .layer(stack::server(&ServerConfig::default())?), // inside
);
# let _ = app;
# Ok(())
# }
```
"#
)]

mod layer;
mod service;
mod with_key;

pub use layer::FairShareLayer;
pub use service::FairShare;
pub use with_key::{WithKey, with_key};
