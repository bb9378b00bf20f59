//! Composable [`tower`] layers that stop leaked pool connections, slow dependencies and retry storms inside each service.
//!
//! | layer | what it does |
//! |---|---|
//! | [`deadline`] | ends every call, and every wait inside it, at one instant |
//! | [`retry`] | repeats a failed attempt where that is safe, affordable and in time |
//! | [`hedge`] | starts a second attempt beside one that is slow, and takes the first good answer |
//! | [`quorum`] | sends a call to several endpoints, and answers when enough of them agree |
//! | [`circuit_breaker`] | stops calls to a dependency that fails, hangs or is slow, and probes it with few calls |
//! | [`bulkhead`] | bounds the calls in flight to one dependency, and the time that others queue |
//! | [`rate_limit`] | bounds the calls per time; a call starts at once, after a bounded wait, or is refused |
//! | [`throttle`] | refuses a share of the calls while an overloaded dependency refuses most of them |
//! | [`fair_share`] | lets tenants, routes or sizes of requests share the queues for permits fairly, by the time that their calls take |
//! | [`quarantine`] | refuses requests that were lost on several endpoints, and may crash every instance that gets them |
//! | [`fallback`] | answers in place of a service that refused or failed: another service, a closure or a value |
//! | [`chaos`] | injects faults on purpose, for tests and drills |
//! | [`balance`] | one service over several endpoints of a dependency: chooses, ejects and fails over |
//! | [`load_shed`] | in front of a service: refuses calls that it cannot serve in time |
#![cfg_attr(feature = "http", doc = "| [`http::respond`] | turns refusals into HTTP answers |")]
#![cfg_attr(feature = "grpc", doc = "| [`grpc::respond`] | turns refusals and failures into gRPC statuses |")]
#![cfg_attr(
    feature = "http",
    doc = "| [`http::propagation`] | carries deadlines, attempts and \"do not retry\" between processes |"
)]
#![cfg_attr(feature = "http", doc = "| [`stack`] | all layers in the recommended order, with one struct of settings |")]
//! | [`registry`] | the named layers: their state, and commands for operators |
#![cfg_attr(feature = "config", doc = "| [`config`] | settings from files, with all faults at once |")]
#![cfg_attr(feature = "dashboard", doc = "| [`dashboard`] | a page that shows every named layer live |")]
//!
//! Each module's page says what the layer is for and when not to use it, what it does when a call is dropped, what its clones
//! share, which errors it returns, what a reload keeps, and where in a stack it belongs. The layers wrap any [`tower::Service`];
//! those for HTTP and gRPC have the constructors `::http` and `::grpc`.
//!
//! # A stack
//! ```
//! use std::time::Duration;
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use seawall::deadline::DeadlineLayer;
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(2))?)
//!     .layer(RetryLayer::new(RetryConfig::default())?)
//!     .layer(BulkheadLayer::new(BulkheadConfig { max_concurrent: 64, ..Default::default() })?)
//!     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default())?)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, std::io::Error>(name.len()) }));
//!
//! assert_eq!(service.ready().await?.call("seawall").await?, 7);
//! # Ok(())
//! # }
//! ```
//!
//! For HTTP and gRPC there are recommended stacks, for clients and for servers: see
#![cfg_attr(feature = "http", doc = "[`stack`].")]
#![cfg_attr(not(feature = "http"), doc = "`stack` (feature `http`).")]
//!
//! - **Every wait has a bound**: the call's deadline, or the layer's own bound without one. (The [`chaos`] layer bounds only
//!   the calls with a fault: without one a call ends as it would without the layer.)
//! - **A call is over when its response is over**: for HTTP and gRPC at the end of its body, its error or its drop. Permits,
//!   tickets and deadlines live until then. A body that stalls, drips or is never read is cut when its time is over, even if it is
//!   not polled, so that no connection leaks.
//! - **Dropping is cancelling**: a dropped call releases all that it held at once. A call that its caller abandons is not a
//!   success, and it still counts: a dependency that hangs until its callers give up opens its breaker. (A future that is kept and
//!   never polled is not dropped: it keeps what it holds.)
//! - **`poll_ready` reserves nothing and refuses nothing.** A call waits for an inner service that is not ready after `call`, where
//!   the wait has a bound; so services are `Clone`. A load balancer that uses the readiness of its endpoints does not see it
//!   through a layer: layers belong [around the balancer](circuit_breaker#behind-a-load-balancer). A foreign inner service that
//!   reserves something in an idle clone that is ready (a `tower::buffer::Buffer` does) keeps it reserved, as with any layer.
//! - **State belongs to the layer value**: the services that `layer()` returns, and all their clones, share one breaker, one
//!   bulkhead, one budget; or one for each [key](keyed) of the request.
//! - **A refusal is typed and useful** ([`error::Rejected`]), and an error of the inner service is never replaced by one of
//!   seawall.
//! - **A successful call** allocates nothing and formats nothing. It takes no lock but short ones that no foreign code runs under:
//!   for the counts of a circuit breaker or a retry budget, where a limit is learned, and where state is kept per key. Over HTTP and gRPC there are costs:
//!   where a layer holds a body that is not empty, where a retry keeps a request, and where headers are written. The types that do
//!   so document the cost.
//!
//! # Settings
//! Settings are plain structs with safe defaults. They are validated when a layer is created, and all faults are reported at once
//! ([`error::InvalidConfig`]). They can be read from files, in any format that serde reads ([`config`]). Every layer accepts new
//! settings at run time: its `reload` replaces them as a whole, or not at all if they are invalid, for all its clones and services.
//! Calls in flight keep their permits and deadlines, and the layer keeps its counts, its queue and its budget.
//!
//! **Write `..Default::default()`** at the end of a config struct. A new field is no breaking change: any release may add one, and
//! its default keeps the former behaviour. (The structs are not `#[non_exhaustive]`, which forbids struct expressions outside of the
//! crate, and this notation with them.)
//!
//! # Names, time and chance
//!
//! A layer, or a whole stack, with a name (`named`) is visible in metrics, in the log, in refusals, in the [`registry`] and on the
//! live page. There an operator can also move it by hand.
//!
//! Time is tokio's: `tokio::time::pause` pauses the whole library. A call that has to wait outside a tokio runtime, or in one
//! without a time driver, panics as tokio's own timers do ("there is no reactor running"). Randomness can be seeded with [`seed`].
//!
//! # Features
//! `http` (on by default): verdicts, bodies, retries, deadlines on the wire and answers for `http` types, and the assembled stacks.
//! `grpc`: the same for gRPC. `dns`: endpoints of a balancer from DNS. `metrics` (on by default): counters, gauges and histograms through the [`metrics`](https://docs.rs/metrics)
//! facade. `reqwest`: `reqwest::Client` as a service of `http` requests. `config`: settings from files (those of whole stacks with `http`), and
//! snapshots as JSON or whatever serde writes. `dashboard`: a page that shows every named layer live; it brings `config` and `http`. `full`:
//! everything.
//!
//! # Words
//! | word | meaning |
//! |---|---|
//! | call, attempt | a caller's call with all its attempts; one try of it |
//! | endpoint | one instance of a dependency: see [`balance`] |
//! | dependency | the service that a client calls, and a breaker judges ("the callee" of one call) |
//! | service | the service behind a server's stack |
//! | deadline, timeout | the instant at which a call is over; a duration |
//! | permit | the right to run one call at once, of a [`bulkhead`] or [`load_shed`] |
//! | queue | the calls that wait for a permit, in order |
//! | budget | the retries that the calls so far have earned, of [`retry`] |
//! | exhausted | of attempts or a budget: none is left |
//! | refusal | an answer of a layer instead of the dependency's: [`error::Rejected`]. A call or body in flight is *cut* |
//! | probe | a call that a half-open [`circuit_breaker`] lets pass to see whether the dependency is back |
//! | release | to give back a permit, a queue position or another resource of a call |
//! | verdict | what the end of an attempt proves about the dependency: [`verdict::Verdict`] |
//! | record | report the verdict of a call to the layer that judges it: [`verdict::Guard`] |
//! | settle | record the end of a call and release what it held. For HTTP and gRPC this is at the end of the body |
//! | publish | make counts and states visible to a recorder of metrics or a reader: [`registry::Registry::publish`] |
//! | stale, superseded | of an older generation, so it changes nothing any more; replaced by a newer attempt, task or value |
//! | priority | which calls are served first, and refused last: [`context::Priority`] |
//! | tier | one of several services that call each other in a chain; of [`balance`]: endpoints of one priority |
//! | key | a value by which a layer distinguishes requests, to keep a state for each: [`keyed`]; or by which calls share queues: [`fair_share`] |
//! | config, settings | the struct that a user fills in; the values in force, which a reload replaces |
//! | stack | several layers in their order, around one client or in front of one service |
//!
//! # Failures and the layers that handle them
//! See [`failures`].
//!
//! See [`operations`]: what to check first, what each number and each refusal means, how to choose the settings, how to change them
//! at run time, and how to isolate a dependency by hand.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// Items that only the protocols use are dead code without them.
#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "used by the protocols"))]

// Dependencies between these modules point down, which `tests/architecture` checks.
mod admission;
mod algorithm;
pub mod fallback;
mod ground;
pub mod hedge;
mod layers;
#[cfg(feature = "config")]
mod loader;
pub mod quarantine;
pub mod quorum;
mod telemetry;

pub mod balance;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod stack;

pub use admission::registry;
pub use ground::chance::seed;
// Public for the tests of this crate, which are crates of their own: no part of the API, it may change in any release.
#[doc(hidden)]
pub use ground::sync::locks_held;
pub use ground::{context, error, verdict};
pub use layers::permits::{bulkhead, load_shed};
pub use layers::{chaos, circuit_breaker, deadline, fair_share, rate_limit, retry, throttle};

pub mod keyed {
    //! State per key: how a layer tells requests apart.
    //!
    //! A client of many endpoints must not refuse calls to all of them when one is down: `keyed_by` gives a layer a state for each
    //! value of a function of the request.
    //!
    //! A layer keeps up to `max_keys` states. To make room for a new key, it drops only a state that is not in use and equal to a
    //! new one: a rate limit that is full again, a closed breaker without a bad call for as long as its longest break, an idle gate
    //! whose estimate has decayed, a budget with a full reserve. So calls with many other keys reset no limit, close no breaker and
    //! renew no budget.
    //!
    //! If no state can be dropped, a new key shares one of 128 further states with other such keys, until there is room. The key's
    //! hash selects it, with a random seed for each layer value: one bad key without room affects one in 128 of the others. When
    //! there is room, the key gets its own state, in which a rate, a budget or an open breaker is as it was in the shared one. (A
    //! permit stays with its call: while calls that began in the shared state last, a key may have up to twice its permits.)
    //!
    //! Choose `max_keys` so that there is room for all keys whose state matters: for a rate limit of 5 an hour, the callers of an
    //! hour; for a breaker, the endpoints that have failed within its longest break or have calls in flight.
    //!
    //! A hash and a comparison of the key, and a lookup under a short lock, for each call. A new key checks at most 16 others.
    //! Memory is that of `max_keys + 129` states at most.
    //!
    //! A key's `Hash`, `Eq` and `Drop` run while no lock is held. If one panics, the current call panics, and the layer continues
    //! to work.

    pub use crate::admission::keyed::{ByKey, KeyBy, Keying, OneKey};
}

pub mod config {
    #![cfg_attr(all(feature = "config", feature = "http"), doc = include_str!("config.md"))]
    #![cfg_attr(
        not(all(feature = "config", feature = "http")),
        doc = "Validation of settings; with the feature `config`, reading those of single layers from files, and with `http` also those of stacks."
    )]

    pub use crate::ground::validation::{Validate, Validation};
    #[cfg(feature = "config")]
    pub use crate::loader::{Draft, load};
    #[cfg(all(feature = "config", feature = "http"))]
    pub use crate::stack::config::{Config, SCHEMA, presets};
}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("evidence.md")]
pub mod evidence {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
