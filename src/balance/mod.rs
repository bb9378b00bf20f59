//! Spreads calls over the endpoints of a dependency, and keeps them away from the bad ones.
//!
//! A dependency usually has several instances, and one of them is bad more often than all. A [`Balance`] is one service over all
//! endpoints: it chooses an endpoint for each call, by calls in flight and by what calls cost there. Each endpoint has a circuit
//! breaker and a bulkhead of its own.
//!
//! # When not
//! Where another balancer chooses the endpoint: behind a virtual address, a service mesh or a proxy there is one endpoint, and the layers
//! around its client are enough.
//!
//! # How it chooses
//! 1. **The tier.** Tier 0 gets all calls while it is healthy and has free permits; then the next tier joins
//!    ([`TierConfig`]). An endpoint is unhealthy if it is ejected, draining or isolated, or if its breaker is open or half-open. While
//!    a later tier carries the calls of a tier without healthy endpoints, that gets only the probes of its half-open breakers. Calls
//!    return to a better tier slowly, over the window of the [slow start](SlowStartConfig), as its endpoints are cold; they leave it at once. A
//!    standby is an endpoint in tier 1.
//! 2. **The endpoint**, among those of the tier that are usable: not ejected, breaker not open, a permit free. Two are drawn by weight,
//!    and the better one is taken. An endpoint with few calls in flight beats one with many; of two with few, the one whose calls cost
//!    less wins: the cost of a call is its latency, and a failure costs as much as ten successes, so an endpoint that fails fast
//!    attracts no calls. Costs that differ by more than a factor of 1.5 go before weights.
//!    Calls in flight are those of this client. Where responses [report](crate::verdict::Classify::reported_in_flight) all calls of the
//!    endpoint, those of other clients count, too: a seawall service does so with
//!    [`report_load`](crate::http::propagation::PropagationConfig::report_load), and any other with `in_flight` among the `named_metrics`
//!    of an ORCA report, in the header or trailer `endpoint-load-metrics` (`TEXT`, `JSON`, `BIN`) or `endpoint-load-metrics-bin`.
//! 3. **If all are full**, the call waits in one queue for all endpoints, and takes the one that has a free permit first. An endpoint is full
//!    with `max_concurrent` calls in flight, or with fewer if its refusals show that it takes no more: calls beyond these are refused, with a status
//!    such as 429 or 503, and calls below are answered. One more is tried now and then.
//! 4. **If none is usable**, ejected and draining endpoints are used, and then those that refuse connections: nothing is lost if they
//!    still do, and the first call that one of them takes closes its breaker. If all other breakers are open, the call is refused.
//!
//! Further out, a [retry](crate::retry), a [hedge](crate::hedge) and each call of a [quorum](crate::quorum) go to an endpoint that the
//! call has not tried, if there is a usable one with a free permit: in the tier, or else in the next tiers. If there are healthy ones and they
//! are full, the attempt waits for one of them, for about twice as long as that should take, and at most for half of the time that it could wait.
//! A call of a quorum waits as long as any call, since a second answer of an endpoint does not count. Then it takes any. A permit that is released goes to such an attempt first, unless a call of higher priority waits; calls that take any
//! endpoint do not wait behind it. A hedge beside an attempt that is in
//! flight is made only there, at a healthy endpoint of a tier that gets calls now, and while no call waits for a permit. Otherwise the balancer
//! refuses it, which is not counted as a refusal, and the call goes on without it.
//!
//! # Bad endpoints
//! - **Fails, hangs or is slow in nearly all calls:** its breaker opens at once, and lets a few calls pass later to see whether it is
//!   back. The first breaks take a second. They grow while probes get no answer, as from an endpoint that hangs or refuses connections, and
//!   stay short while it answers with failures. Until the breaker opens, a call that hangs uses up its whole time. With a shorter
//!   [deadline](crate::deadline) around the client of each endpoint, a retry goes to another endpoint while there is time.
//! - **Refuses connections:** its breaker opens after five such calls in a row, over 100 ms. That only moves calls to other endpoints: if
//!   there is no other one, calls still go there, and find out at once that it is back.
//! - **Fails more, or is slower, than the others:** the choice avoids it within a few calls, and tries it again every few seconds. While
//!   the others of its tier are full it gets calls all the same, and no more than if it answered: of a call that failed early, the
//!   permit stays in use for as long as a success takes, unless it was lost. Such a call is not counted as in flight. Then the endpoint is *ejected*: once
//!   in an interval all endpoints are compared, and an outlier gets no calls for a while ([`EjectionConfig`]). At most a share of each
//!   tier is ejected, and one of its endpoints always stays. An ejection cuts no call. Until the comparison, what
//!   the other endpoints of the tier cannot take goes to it first, and to a later tier only when its permits are used up.
//! - **New, or back** from an ejection, from an open breaker, or from draining or isolation by hand: it gets its full share slowly
//!   ([`SlowStartConfig`]).
//! - **By hand:** an endpoint can be drained, isolated or kept as a standby ([`EndpointMode`]), through the
//!   [handle](BalanceHandle::set_mode) or, by name, the [registry](crate::registry::Registry::set_endpoint_mode). A flap of the discovery
//!   does not undo that.
//!
//! # Active checks
//! An ejected endpoint comes back when its time is over, and one with an open breaker when its break is over and a few calls have
//! succeeded. An active check ([`BalanceHandle::check`]) brings it back earlier. It is a request of the balancer's own:
#![cfg_attr(
    all(feature = "http", not(feature = "grpc")),
    doc = "[`http_check`] (`GET` of a path), `grpc_check` (`grpc.health.v1`, feature `grpc`),"
)]
#![cfg_attr(feature = "grpc", doc = "[`http_check`] (`GET` of a path), [`grpc_check`] (`grpc.health.v1`),")]
#![cfg_attr(
    not(feature = "http"),
    doc = "`http_check` (`GET` of a path, feature `http`), `grpc_check` (`grpc.health.v1`, feature `grpc`),"
)]
//! or any function of an endpoint.
//!
//! - **Which endpoints are checked:** those that are ejected or whose breaker is open, about once in an
//!   [`interval`](CheckConfig::interval); the first time once they have been out for an interval. An endpoint that serves is not
//!   checked, so checks are no load while all is well. Nor is one that is drained or isolated by hand.
//! - **A check that passes** ends the ejection, with a slow start, or makes the breaker half-open: a few calls decide whether it closes.
//! - **A check that fails,** panics or takes longer than its timeout changes nothing, and delays no other check. At most 64 run at once.
//! - **A check that is wrong,** because it passes while calls fail, must not undo ejections and breaks. Each time that the endpoint is out
//!   again soon after its return, the check must pass twice as often in a row. Soon is within six intervals of the ejection.
//! - **Stale results** change nothing: those of an endpoint that has left or has another address, or of an outage that is over.
//!
//! ```
//! use std::time::Duration;
//! use seawall::balance::{BalanceConfig, BalanceLayer, CheckConfig, Endpoint};
//!
//! # async fn ask(_: String) -> bool { true }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), seawall::error::InvalidConfig> {
//! let layer = BalanceLayer::new(BalanceConfig::default())?.with_endpoints([Endpoint::new("10.0.0.1:80")])?;
//! let config = CheckConfig { interval: Duration::from_secs(2), ..CheckConfig::default() };
//! layer.handle().check(config, |endpoint| {
//!     let answer = ask(format!("http://{}/healthz", endpoint.address()));
//!     async move { if answer.await { Ok(()) } else { Err("not healthy".into()) } }
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where endpoints come from
//! A fixed list ([`BalanceLayer::with_endpoints`]), the application ([`BalanceHandle::set_endpoints`]), or a stream of sets
//! ([`BalanceHandle::follow`]): of tower's `Discover` ([`discovered`]),
#![cfg_attr(feature = "dns", doc = "of DNS ([`dns`]),")]
#![cfg_attr(not(feature = "dns"), doc = "of DNS (`dns`, feature `dns`),")]
//! or any other. When the set changes, endpoints that stay keep their state, by their key. So do
//! those that are back within a minute, or while calls are still in flight there, as when a discovery flaps. Calls in flight at an endpoint that has left
//! go on, and their answers are delivered. Calls that still wait for its client go on at another endpoint.
#![cfg_attr(
    feature = "http",
    doc = "\n[`AtEndpoint`] makes a client for one endpoint of any client of HTTP: it sends each request to the endpoint's address."
)]
//!
//! # How it behaves
//! - **Readiness:** always ready. It polls the client of an endpoint once a call has chosen it; that wait is part of the call, and has
//!   the bounds of every wait.
//! - **Permits:** each endpoint runs at most `max_concurrent` calls.
//! - **Waiting:** by [priority](crate::context::Priority), then in the configured [`Order`](crate::bulkhead::Order); a small share of the permits
//!   (`low_priority_share`) goes to lower priorities all the same. Under lasting overload the queue is kept short, as in a
//!   [bulkhead](crate::bulkhead#how-it-behaves). A call is refused at once if its expected wait exceeds `max_wait` or its deadline, and later if the time left is less than most calls take. It does not overtake calls that
//!   wait, except as the probe of a half-open breaker. A waiting call takes any endpoint, also one that starts slowly: slow start shapes the
//!   choice, and holds up no call. A further attempt of a call waits as said above.
//! - **Cancellation:** dropping a call releases its permit, or its position in the queue, at once. It counts as abandoned.
//! - **Clones**, and all services of one layer value, share the endpoints, their state and the queue. The clients are shared by the
//!   clones of a service. A client must be `Send + Sync`, as it is cloned for each call.
//! - **Errors:** [`Reason::NoEndpoints`], with the [numbers](crate::error::Numbers) of the set and a `retry_after`: the time until the
//!   first breaker lets a call pass. [`Reason::QueueFull`], [`Reason::QueueTimeout`], [`Reason::Displaced`] and [`Reason::NotInTime`], as
//!   those of a [bulkhead](crate::bulkhead#how-it-behaves) whose limit is that of all healthy endpoints together.
//!   [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived. At the call's bound
//!   [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] where there is no deadline, and [`Reason::NotReady`] if too many calls wait
//!   for their clients: these are refusals of the endpoint's `circuit_breaker`. Any other error is the client's own.
//! - **The call is over** when the classifier says so: for HTTP at the end of the body, for gRPC at its trailers. It counts as in flight
//!   until then, and its body is cut at the bound of the call.
//! - **Measured:** the endpoint's own time, as its circuit breaker [measures](crate::evidence) it. With a breaker that is not enabled: the
//!   time from the permit to the head.
//! - **A name** ([`named`](BalanceLayer::named)) shows the layer in refusals, logs, metrics and the [registry](crate::registry): its
//!   endpoints with their state, and the endpoints' time by verdict. The endpoints' breakers have no names; their events have that of the balancer,
//!   and the endpoint.
//! - **Cost:** a choice takes constant time, whatever the number of endpoints, and does not allocate. A call that waits allocates, and
//!   so does a failure whose permit is kept. While endpoints warm up, a call looks at all of their
//!   tier, 64 times in the window of the slow start. A call clones one client. Once in an
//!   interval one call compares the endpoints, which takes about a microsecond for each.
//! - **Place:** innermost, in place of the client; deadline, retry and hedge are around it, as `stack::balanced_client` assembles them. A bulkhead or a breaker around it would refuse calls
//!   to all endpoints because of one.
//!
//! # Reload
//! A [reload](BalanceLayer::reload) applies:
//!
//! - **At once:** `circuit_breaker`, to the breakers of all endpoints, as [there](crate::circuit_breaker#reload); `max_concurrent`: more
//!   permits go to waiting calls, and fewer are reached as calls end; `slow_start`, `tiers` and a lower `ejection.max_percent`.
//! - **For new calls:** `max_waiting`, `max_wait`, `order` and `low_priority_share`. A waiting call keeps its position and the bound of its wait.
//! - **For the next comparison:** the other settings of `ejection`. The interval that has begun keeps its length.
//! - **For the next set:** `max_endpoints`.
//! - **What survives:** everything else: calls in flight, ejections, modes, breakers, active checks, and what is known of latencies.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
//! use seawall::deadline::DeadlineLayer;
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let endpoints = [
//!     Endpoint::new("10.0.0.1"),
//!     Endpoint::new("10.0.0.2").with_weight(2.0), // twice as large
//!     Endpoint::new("10.0.1.1").with_tier(1),     // a standby
//! ];
//! let layer = BalanceLayer::new(BalanceConfig::default())?.with_endpoints(endpoints)?;
//! let handle = layer.handle();
//!
//! // makes the client of an endpoint
//! let balance = layer.service(|endpoint: &Endpoint| {
//!     let address = endpoint.address().to_owned();
//!     service_fn(move |path: &'static str| {
//!         let answer = match &*address {
//!             "10.0.0.1" => Err("connection refused".into()),
//!             address => Ok::<_, BoxError>(format!("{address}{path}")),
//!         };
//!         async move { answer }
//!     })
//! });
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(2))?)
//!     .layer(RetryLayer::new(RetryConfig::default())?)
//!     .service(balance);
//! // A call that meets the dead endpoint is repeated at the other one.
//! assert_eq!(client.clone().oneshot("/status").await?, "10.0.0.2/status");
//!
//! handle.set_endpoints([Endpoint::new("10.0.0.3")])?;
//! assert_eq!(client.oneshot("/status").await?, "10.0.0.3/status");
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//! Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI'24) for the choice; gRFC A50 for the ejection; Envoy
//! for tiers, panic and slow start; ORCA (Open Request Cost Aggregation) and gRFC A51 for the format of reports. The arithmetic is in `algorithm/balance`.
//!
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::Displaced`]: crate::error::Reason::Displaced
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NoEndpoints`]: crate::error::Reason::NoEndpoints
//! [`Reason::NotInTime`]: crate::error::Reason::NotInTime
//! [`Reason::NotReady`]: crate::error::Reason::NotReady
//! [`Reason::QueueFull`]: crate::error::Reason::QueueFull
//! [`Reason::QueueTimeout`]: crate::error::Reason::QueueTimeout

mod active_checks;
#[cfg(feature = "http")]
mod at_endpoint;
mod balancer;
mod client;
mod config;
mod connections;
#[cfg(feature = "http")]
mod constructors;
mod departed;
mod discovery;
mod early_end;
mod ejections;
mod endpoint;
mod endpoint_call;
mod endpoint_limit;
mod endpoint_set;
mod endpoint_state;
mod future;
mod handle;
mod kept_permits;
mod latest_task;
mod layer;
mod least_warmth;
mod membership;
mod observed;
mod permit;
mod pick;
mod retry_queue;
mod retry_waiter;
mod service;
mod service_parts;
mod standing;
mod start_call;
mod sweep;
mod wait_queue;
mod waiter;
mod waiting_call;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use crate::ground::layer_id::LayerKind;

#[cfg(feature = "http")]
pub use self::active_checks::check_body::CheckBody;
pub use self::active_checks::config::CheckConfig;
#[cfg(feature = "grpc")]
pub use self::active_checks::grpc_check::grpc_check;
#[cfg(feature = "http")]
pub use self::active_checks::http_check::{CheckFuture, http_check};
#[cfg(feature = "http")]
pub use self::at_endpoint::{AtEndpoint, AtEndpointFuture};
pub use self::config::{BalanceConfig, EjectionConfig, SlowStartConfig, TierConfig};
pub use self::discovery::discovered::discovered;
#[cfg(feature = "dns")]
pub use self::discovery::dns::{DnsConfig, dns};
pub use self::endpoint::Endpoint;
pub use self::endpoint_call::EndpointCall;
pub use self::future::ResponseFuture;
pub use self::handle::BalanceHandle;
pub use self::layer::BalanceLayer;
pub use self::service::Balance;
pub use crate::admission::registry::EndpointMode;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Balance;
