//! A circuit breaker: stops calling a dependency that fails, hangs or is far slower than usual, and restarts gently.
//!
//! A dependency that is down costs every caller its whole timeout, and continued calls keep it down. The breaker records how calls
//! end. When nearly all calls fail it *opens*: calls are refused at once, and the dependency gets no calls for a second. Then it is
//! *half-open*: one call passes as a probe; if that succeeds, two, four and eight more pass, and the breaker is *closed* again. If
//! the probes fail, there is another break.
//!
//! # What opens it
//! - the share of failures in the window, 90 % by default, or of slow calls, once the window holds enough calls. Partial failure does
//!   not open it: some successful responses are better than none, and retries cover the rest;
//! - a number of consecutive failures without a success in between;
//! - calls in flight past the slow threshold: a hanging dependency is detected before any call times out, even if no other calls
//!   arrive. They count as slow calls, and if there was no success for as long as the threshold, a few of them are enough;
//! - *silence*: as many calls as a rate needs that ended without a response, and no success for as long as the slow threshold. These
//!   are requests that were never sent, such as refused connections, and calls that ended before the slow threshold. While other calls
//!   are answered they do not count, however many they are: a closing connection takes its calls along, and some callers have short
//!   timeouts;
//! - calls that were cut at their deadline or abandoned by their callers, if they had as much time as the slow threshold. With less
//!   time, but as much as a success usually takes, they count only while no call at all is answered. With even less they do not count.
//!   The same applies to a timeout that the dependency reports at the deadline that was sent to it. A cut by an *inner* timeout is a
//!   failure, however short that timeout is.
//!
//! Explicit refusals (`Retry-After`, 429, `RESOURCE_EXHAUSTED`, "do not retry"), caller faults and unsent calls do not open it while
//! the dependency answers others. The table at [`evidence`](crate::evidence) lists what each end of a call counts as.
//!
//! *Slow* is by default relative to the median success, which follows the dependency: latency that grows several times under load
//! does not open it, a hang does. A dependency that refuses explicitly (`Retry-After`, "do not retry") is alive: such a response
//! ends a series of consecutive failures and counts in no rate.
//!
//! # How it closes again
//! - **Probes are judged together**, all 15 of a half-open phase, by the rates of the closed state: a failure rate that a closed
//!   breaker tolerates closes an open one. The phase has failed if three probes failed and none succeeded, or if there are more
//!   failures than the missing probes could make up for.
//! - **Slow start**: one probe at a time, and one more for each success.
//! - **A probe keeps its slot for the slow threshold at most.** A probe with a successful head for that long, such as a stream's, has
//!   succeeded. If a probe has no head by then, others are admitted beside it, and it has failed after the length of the break, if
//!   that is longer. A call that is not polled, waits in a queue of ours, or sends its request slowly, also releases its slot; it has
//!   not failed, as long as the dependency is not working on it. So no kind of call keeps the breaker half-open.
//! - **Only calls with enough time are probes**: with the slow threshold left or, if no caller has that much, half of the longest time
//!   seen. Other calls are refused meanwhile.
//! - **Breaks** grow only while no probe is answered in time: it takes too long, or its connection is refused. If probes are
//!   answered with failures, breaks stay short: without the probe the call would have been refused, and frequent probes detect the recovery soon. A break
//!   that has grown also ends when 300 calls were refused in it, so that under heavy traffic at most one call in a hundred is a probe.
//!
//! # When not
//! Around something local that cannot be overloaded by calls, or with a handful of calls a minute, which are too few to count.
//!
//! # How it behaves
//! - **Readiness:** always ready, and refuses nothing before a call. A wait for the inner service is part of the call, and does not
//!   count as the dependency's time. **Behind a load balancer** that goes by readiness and pending calls, with one breaker per
//!   endpoint, set [`unready_while_open`](CircuitBreakerConfig::unready_while_open): an open breaker that is always ready has the
//!   fewest pending calls, and attracts the traffic of its dead endpoint. See [below](#behind-a-load-balancer) for the order.
//! - **Cancellation:** dropping a call releases its slot, also that of a probe. See above for how it counts. A service that waits in
//!   `poll_ready`, where the breaker is unready while open, leaves nothing behind when it is dropped.
//! - **Clones**, and all services of one layer value, share one state; [`keyed_by`](CircuitBreakerLayer::keyed_by) keeps one for each
//!   endpoint, tenant or other key.
//! - **Errors:** [`Reason::CircuitOpen`], with a `retry_after` and the [numbers](crate::error::Numbers) of the outage: what opened the
//!   breaker ([`TripCause`]), how many of how many calls failed or were slow, since when it is open, and when the next probe is due.
//!   Nothing was sent then, and a readied inner service was released. The same holds for [`Reason::DeadlineExpired`], if the deadline
//!   had passed when the call arrived. [`Reason::HoldExceeded`] or [`Reason::DeadlineExceeded`] at the call's bound,
//!   [`Reason::NotReady`] if too many calls wait for the inner service. Any other error is the inner service's own.
//! - **The call is over** when the classifier says so. A stale result, which arrives after the breaker has changed its state, changes
//!   nothing. For HTTP the call is over at the end of the body, for gRPC at its trailers. The dependency is judged for its own time
//!   only: neither our queues nor a slow reader of its response count; a body that stalls until its deadline does.
//! - **A name** ([`named`](CircuitBreakerLayer::named)) shows the layer in metrics, logs, refusals and the
//!   [registry](crate::registry): its state and transitions, and the dependency's time by verdict. In the registry it can also be
//!   forced open, disabled, reset or set to observe, as with its [handle](CircuitBreakerLayer::handle).
//! - **Cost:** closed, no allocation: two clock reads, and one short lock at the admission, the head and the end of a call, and
//!   at the edges of a local wait. Refused, in whatever state, or passed by a disabled breaker: no lock, but a load of the published
//!   state (two atomic updates in thread-local memory) and, in a break, one atomic update. A timer checks the calls in flight about once per slow threshold.
//! - **Place:** inside bulkhead and retry, directly around the client: it judges each attempt, and none of our queues.
//!
//! # Behind a load balancer
//! A balancer such as tower's `p2c` goes by the readiness of its endpoints, and every layer of this crate is ready while its inner
//! service is not: it waits in the call. So only one order works. At each endpoint there is a breaker with `unready_while_open`, as
//! the outermost layer of this crate and best as the only one; around it are at most layers that pass readiness on, such as tower's
//! `PendingRequests`. The balancer is around the endpoints, and deadline, retry and bulkhead are around the balancer. With a
//! bulkhead between breaker and balancer, the open breaker looks ready and idle, and the calls that it attracts wait for it.
//!
//! The breaker hides an endpoint's own readiness in the same way, and a wait for it does not count against the endpoint: of two
//! endpoints of which one is never ready, half of the calls wait. If an endpoint signals by its readiness that it is down
//! (`tower::reconnect`), give it to the balancer without a layer of this crate, or let it fail in the call, as clients of hyper,
//! reqwest and tonic (`connect_lazy`) do: that opens its breaker.
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
//! # Reload
//! A [reload](CircuitBreakerLayer::reload) applies:
//!
//! - **At once:** all settings of the breaker, also for calls in flight: a call is judged by the settings in force when it ends. A
//!   break in progress keeps its end. `observe_only` changes the mode only if its value changes, and not while the breaker was
//!   [forced open](CircuitBreakerHandle::force_open) or [disabled](CircuitBreakerHandle::disable) by hand. A lower `max_keys`
//!   forgets keys whose state is as good as new, and other keys once theirs is.
//! - **For new calls:** `max_hold`.
//! - **What survives:** the state, the counts of the window, and the known latency of the dependency. Another `window` restarts
//!   the counts, and results of calls in flight are then not counted; an open breaker stays open all the same. A window of calls
//!   takes two bytes a call.
//!
//! ```
//! use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//!
//! let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default())?;
//! layer.reload(&CircuitBreakerConfig { failure_rate: 0.3, ..layer.config() })?;
//! assert_eq!(layer.config().failure_rate, 0.3);
//! # Ok::<(), seawall::error::InvalidConfig>(())
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
//! Michael Nygard's *Release It!* for the pattern; resilience4j for slow-call rates and sliding windows; Finagle for growing breaks.
//! The states are explained in `algorithm/breaker`.
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
mod part;
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
pub(crate) use self::part::{PartBreaker, PartBreakers};
pub use self::service::CircuitBreaker;
pub use self::snapshot::BreakerSnapshot;
pub use self::ticket::Ticket;
pub use crate::algorithm::breaker::State;
pub use crate::ground::error::TripCause;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::CircuitBreaker;
