//! A circuit breaker: stops asking a dependency that fails, hangs or is far slower than usual, and begins again gently.
//!
//! A dependency that is down costs every caller its whole timeout, and the calls that everybody keeps sending keep it down. The breaker
//! watches how calls end. When nearly all end badly it *opens*: calls are refused at once, and the dependency is left alone for a
//! second. Then it is *half-open*: one call passes as a probe; if it is answered well, two, four and eight more, and the breaker is
//! *closed* again. If the probes fail, there is another break.
//!
//! # What opens it
//! - the share of failures in the window, 90 % by default, or of slow calls, once there were enough calls to tell. Partial failure does
//!   not open it: callers are better off with some answers than with none, and retries are for the rest;
//! - so many failures in a row without a good answer;
//! - calls in flight past the slow threshold: a dependency that hangs is seen before anything times out, whether other calls come or
//!   not. They count as slow calls, and if nothing good came for as long as the threshold, a few of them are enough;
//! - *silence*: as many calls as a rate needs that ended without an answer, and no good answer for as long as the slow threshold. These
//!   are requests that were never sent, since connections are refused, and calls that ended before the slow threshold. Beside calls
//!   that are answered they say nothing, however many they are: a connection that closes takes its calls along, and some callers are
//!   in a hurry;
//! - calls that were cut at their deadline, or that their callers gave up, if they had as long as the slow threshold. With less time,
//!   but as much as a success usually takes, they count only while no call at all is answered; with less than that they say nothing.
//!   The same goes for a timeout that the dependency reports at the deadline that was sent to it. To be cut by a time limit *further
//!   in* is a failure, however short the limit.
//!
//! Refusals that name themselves (`Retry-After`, 429, `RESOURCE_EXHAUSTED`, "do not retry"), answers that blame the caller and what was
//! never sent do not open it while the dependency answers others. What each end of a call says is one table: [`evidence`](crate::evidence).
//!
//! *Slow* is by default relative to the median success, which follows the dependency: to get several times slower under load
//! does not open it, to stop answering does. A dependency that refuses by name (`Retry-After`, "do not retry") is alive: such an answer
//! ends a row of failures and is in no rate.
//!
//! # How it closes again
//! - **Probes are judged together**, all 15 of a half-open phase, by the rates of the closed state: what a closed breaker tolerates
//!   closes an open one. The phase has failed if three probes failed and none was answered well, or if the failures are too many for
//!   the missing answers to mend.
//! - **Slow start**: one probe at a time, and one more for each that was answered well.
//! - **A probe keeps its place for the slow threshold at most.** With a good head for that long, such as a stream's, it was answered
//!   well. Without a head, others go on beside it; it has failed after the length of the break, if that is longer. A call that nobody
//!   polls, that waits in a queue of ours, or whose request is sent slowly, gives its place away too; it has not failed, as long as the
//!   dependency is not at work on it. So no kind of call keeps the breaker half-open.
//! - **Only calls with time for an answer are probes**: with the slow threshold left, or, where no caller has that much, half of the
//!   longest time seen. Others are refused meanwhile.
//! - **Breaks** grow only while nothing is answered well. A break that has grown also ends when 300 calls were refused in it, so that
//!   probes are one in a hundred calls at most where there are many.
//!
//! # When not
//! Around something local that cannot be overloaded by asking, or with a handful of calls a minute: there is nothing to count.
//!
//! # How it behaves
//! - **Readiness:** always ready, and refuses nothing before a call; a wait for the inner service is part of the call, and is not
//!   held against the dependency. **Behind a load balancer** that goes by readiness and pending calls, with one breaker per endpoint, set
//!   [`unready_while_open`](CircuitBreakerConfig::unready_while_open): an open breaker that is always ready has the fewest pending
//!   calls, and attracts the traffic of its dead endpoint. See [below](#behind-a-load-balancer) for the order.
//! - **Cancellation:** dropping a call gives its place back, a probe's too. See above for what it says. What waits in `poll_ready`, where
//!   the breaker is unready while open, is forgotten when it is dropped.
//! - **Clones**, and all services of one layer value, share one state; [`keyed_by`](CircuitBreakerLayer::keyed_by) keeps one for each host,
//!   tenant or whatever tells calls apart.
//! - **Errors:** [`Reason::CircuitOpen`], with the time after which another try has a chance and the
//!   [numbers](crate::error::Numbers) of the outage: what opened the breaker ([`TripCause`]), how many calls of how many failed or were
//!   slow, since when it is open, and when the next probe may be. Nothing was sent then, and a readied inner service was let go; the same with [`Reason::DeadlineExpired`] for a call that comes too late;
//!   [`Reason::HoldExceeded`] or [`Reason::DeadlineExceeded`] at the call's bound, [`Reason::NotReady`]; any other error is
//!   the inner service's own.
//! - **The call is over** when the classifier says so, and what it says late, after the breaker has moved on, moves nothing.
//!   For HTTP that is the end of the body, for gRPC its trailers. The dependency is judged for its own time: neither our queues nor a
//!   slow reader of its answer count; a body that stalls until its deadline does.
//! - **A name** ([`named`](CircuitBreakerLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): its
//!   state and changes, and the dependency's time by verdict. There it can be forced open, disabled, reset or told to observe, too, as by
//!   its [handle](CircuitBreakerLayer::handle).
//! - **A reload** ([`reload`](CircuitBreakerLayer::reload)) holds at once: calls are judged, when they end, by what holds then. The state, the
//!   counts (unless the window is another) and what was forced by hand are kept.
//! - **Cost:** closed, no lock and no allocation: two readings of the clock and four atomic updates; refused, in whatever state, a
//!   load of the outage (two atomic updates in memory of the thread's own), and in a break one atomic update. A timer looks at the calls in flight about once in the time of the slow threshold.
//! - **Place:** inside bulkhead and retry, outside nothing but the client: each attempt is judged, and no queue of ours.
//!
//! # Behind a load balancer
//! A balancer such as tower's `p2c` goes by the readiness of its endpoints, and every layer of this crate is ready while what is inside
//! is not: it waits in the call. So only one order works. At each endpoint there is a breaker with `unready_while_open`, as the outermost
//! layer of this crate and best as the only one; around it are at most layers that pass readiness on, as tower's `PendingRequests`.
//! The balancer is around the endpoints, and deadline, retry and bulkhead are around the balancer. With a bulkhead between
//! breaker and balancer, the open breaker looks ready and idle, and the calls that it attracts wait for it.
//!
//! An endpoint's own readiness is hidden in the same way, by the breaker too, and a wait for it is not held against the endpoint: of two
//! endpoints of which one is never ready, half of the calls wait. Where an endpoint says by its readiness that it is down
//! (`tower::reconnect`), give it to the balancer without a layer of this crate, or let it fail in the call, as clients of
//! hyper, reqwest and tonic (`connect_lazy`) do: that opens its breaker.
//!
//! ```
//! use std::time::Duration;
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use seawall::deadline::DeadlineLayer;
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tower::balance::p2c::Balance;
//! use tower::discover::ServiceList;
//! use tower::load::{CompleteOnResponse, PendingRequests};
//! use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let config = CircuitBreakerConfig { unready_while_open: true, ..CircuitBreakerConfig::default() };
//! let mut endpoints = Vec::new();
//! for address in ["10.0.0.1", "10.0.0.2"] {
//!     let client = service_fn(move |path: String| async move { Ok::<_, BoxError>(format!("{address}{path}")) });
//!     // A layer value for each endpoint: a state of its own.
//!     let endpoint = CircuitBreakerLayer::new(config.clone())?.layer(client);
//!     endpoints.push(PendingRequests::new(endpoint, CompleteOnResponse::default()));
//! }
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(2))?)
//!     .layer(RetryLayer::new(RetryConfig::default())?)
//!     .layer(BulkheadLayer::new(BulkheadConfig::default())?)
//!     .buffer(64) // a balancer cannot be cloned
//!     .service(Balance::new(ServiceList::new(endpoints)));
//! assert!(client.oneshot("/status".to_owned()).await?.ends_with("/status"));
//! # Ok(())
//! # }
//! ```
//!
//! # Example
//! ```
//! use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use seawall::error::{Reason, rejection};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default())?)
//!     .service(service_fn(|()| async { Err::<(), _>(tower::BoxError::from("connection refused")) }));
//!
//! for _ in 0..10 {
//!     assert!(service.ready().await?.call(()).await.is_err());
//! }
//! let error = service.ready().await?.call(()).await.expect_err("ten of ten have failed");
//! let rejected = rejection(&error).expect("nothing was sent");
//! assert_eq!(rejected.reason(), Reason::CircuitOpen);
//! assert!(rejected.retry_after().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//! Michael Nygard's *Release It!* for the pattern; resilience4j for slow-call rates and sliding windows; Finagle for growing breaks. The
//! states are argued for in `algorithm/breaker`.
//!
//! [`Reason::CircuitOpen`]: crate::error::Reason::CircuitOpen
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod breakers;
mod call_pass;
mod check_schedule;
mod checks;
mod config;
mod future;
mod handle;
mod layer;
mod ready_wait;
mod service;
mod settings;
mod snapshot;
mod state;
mod state_changes;
mod ticket;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use crate::ground::layer_id::LayerKind;

pub use self::config::{CircuitBreakerConfig, Window};
pub use self::future::ResponseFuture;
pub use self::handle::CircuitBreakerHandle;
pub use self::layer::CircuitBreakerLayer;
pub use self::service::CircuitBreaker;
pub use self::snapshot::Snapshot;
pub use self::ticket::Ticket;
pub use crate::algorithm::breaker::State;
pub use crate::ground::error::TripCause;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::CircuitBreaker;
