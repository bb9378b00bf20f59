//! Composable [`tower`] layers that stop leaked pool connections, slow dependencies and retry storms inside each service.
//!
//! | layer | what it does |
//! |---|---|
//! | [`deadline`] | ends every call, and every wait inside it, at one instant |
//! | [`retry`] | a second try where it is safe, affordable and in time |
//! | [`circuit_breaker`] | stops calling what fails, hangs or is slow, and probes it gently |
//! | [`bulkhead`] | bounds the calls at work in one dependency, and the time that others queue |
//! | [`rate_limit`] | so many calls per time, at once or after a bounded wait |
//! | [`load_shed`] | in front of a service: refuses at once what it cannot serve in time |
#![cfg_attr(feature = "http", doc = "| [`http::respond`] | turns refusals into HTTP answers |")]
#![cfg_attr(feature = "grpc", doc = "| [`grpc::respond`] | turns refusals and failures into gRPC statuses |")]
#![cfg_attr(
    feature = "http",
    doc = "| [`http::propagation`] | carries deadlines, attempts and \"do not retry\" between processes |"
)]
#![cfg_attr(feature = "http", doc = "| [`stack`] | all of it in the recommended order, with one struct to tune |")]
//! | [`registry`] | the layers that have a name: what they are doing, and commands to move them by hand |
#![cfg_attr(feature = "config", doc = "| [`config`] | settings from files, with all that is wrong at once |")]
#![cfg_attr(feature = "dashboard", doc = "| [`dashboard`] | a page that shows every named layer live |")]
//!
//! Each module is a page: what the layer is for and when not, what it does when a call is dropped, what its clones share,
//! which errors it returns, what a reload keeps, and where in a stack it belongs. The layers work around any [`tower::Service`]; those for
//! HTTP and gRPC are made by their `::http` and `::grpc` constructors.
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
//! Over HTTP and gRPC the recommended stacks are there ready-made, for clients and for servers: see
#![cfg_attr(feature = "http", doc = "[`stack`].")]
#![cfg_attr(not(feature = "http"), doc = "`stack` (feature `http`).")]
//!
//! # What all layers promise
//! - **Every wait has a bound**: the call's deadline, or the layer's own bound where there is none.
//! - **A call is over when its response is over**: for HTTP and gRPC at the end of its body, its error or its drop. Permits, tickets
//!   and deadlines live until then; and a body that stalls, drips or is never read is cut when its time is over, even if nobody
//!   polls it, so that no connection leaks.
//! - **Dropping is cancelling**: whatever a call held is free at once, whenever it is dropped. A call that its caller gave
//!   up is neither a success nor lost: a dependency that hangs until its callers give up opens its breaker. (A future
//!   that is kept and never polled is not dropped: it keeps what it was given.)
//! - **`poll_ready` reserves nothing and refuses nothing.** An inner service that is not ready is waited for in the call,
//!   where the wait has a bound; so services are `Clone`. A load balancer that goes by the readiness of its endpoints does not see it
//!   through a layer: layers belong [around the balancer](circuit_breaker#behind-a-load-balancer). What a foreign inner service reserves in an idle clone that was
//!   readied (a `tower::buffer::Buffer` does) stays reserved there, as with any layer.
//! - **State belongs to the layer value**: what `layer()` returns, and all clones of it, share one breaker, one bulkhead,
//!   one budget; or one for each [key](keyed) of the request.
//! - **A refusal is typed and useful** ([`error::Rejected`]), and an error of the inner service is never replaced by ours.
//! - **A call that goes well** takes no lock (one short one where state is kept per key), allocates nothing and formats
//!   nothing. Over HTTP and gRPC something is paid for: where a layer holds on to a body that is not empty, where a retry
//!   keeps a request, and where headers are written. The types that do so say what it costs.
//!
//! Settings are plain structs with safe defaults. They are validated when a layer is made, and all faults are reported at
//! once ([`error::InvalidConfig`]). They can be read from files, in any format that serde reads ([`config`]). Every layer takes other
//! settings at work: its `reload` replaces them whole, or not at all if they are not valid, for all its clones and services; calls
//! in flight keep their permits and deadlines, and what a layer has counted, queued and earned survives.
//!
//! A layer, or a whole stack, that is given a name (`named`) is seen: in metrics, in the log, in refusals, in the [`registry`] and on
//! the live page. There it can be moved by hand as well.
//!
//! Time is tokio's: under `tokio::time::pause` the whole library moves with it. A call that has to wait outside a tokio runtime,
//! or in one without a time driver, panics as tokio's own timers do ("there is no reactor running"). Randomness can be seeded with [`seed`].
//!
//! # Features
//! `http` (on by default): verdicts, bodies, retries, deadlines on the wire and answers for `http` types, and the assembled stacks.
//! `grpc`: the same for gRPC. `metrics` (on by default): counters, gauges and histograms through the [`metrics`](https://docs.rs/metrics)
//! facade. `reqwest`: `reqwest::Client` as a service of `http` requests. `config`: settings from files (those of whole stacks with `http`), and
//! snapshots as JSON or whatever serde writes. `dashboard`: a page that shows every named layer live; it brings `config` and `http`. `full`:
//! everything.
//!
//! # Words
//! | word | what it means here |
//! |---|---|
//! | call, attempt | what a caller asked for; one try of it, of which a retry makes several |
//! | dependency | what a client calls, and a breaker judges ("the callee" in the text of one call) |
//! | service | what is behind a server's stack |
//! | deadline, timeout | the instant at which a call is over; a duration from which one is made |
//! | permit | the right to run one call at once, of a [`bulkhead`] or [`load_shed`] |
//! | budget | the retries that the calls so far have earned, of [`retry`] |
//! | refusal | an answer of a layer instead of the dependency's: [`error::Rejected`]. What is under way is *cut* |
//! | probe | a call that a half-open [`circuit_breaker`] lets pass to see whether the dependency is back |
//! | verdict | what the end of an attempt says about the dependency: [`verdict::Verdict`] |
//! | priority | which calls are served first, and refused last: [`context::Priority`] |
//! | tier | one of several services that call each other in a chain |
//! | key | what a layer tells requests apart by, to keep a state for each: [`keyed`] |
//! | stack | several layers in their order, around one client or in front of one service |
//!
//! # Which failures, and who answers
//! See [`failures`].
//!
//! # How to run it
//! See [`operations`]: what to look at first, what each number and each refusal means, how to choose the settings, how to change them at
//! work, and how to isolate a dependency by hand.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// What the protocols need of the rooms below is not used without them.
#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "used by the protocols"))]

// One room a module; dependencies point down, and `tests/architecture` keeps it so.
mod admission;
mod algorithm;
mod ground;
mod layers;
#[cfg(feature = "config")]
mod loader;
mod telemetry;

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
#[doc(hidden)]
pub use ground::sync::locks_held;
pub use ground::{context, error, verdict};
pub use layers::permits::{bulkhead, load_shed};
pub use layers::{circuit_breaker, deadline, rate_limit, retry};

pub mod keyed {
    //! State per key: how a layer tells requests apart.
    //!
    //! A client that talks to many hosts must not cut them all when one is dead: `keyed_by` gives a layer a state for each
    //! value of a function of the request.
    //!
    //! # How many keys there may be
    //! A layer keeps up to `max_keys` states. To make room for a new key, it forgets only a state that is not in use and as good as
    //! new: a rate limit that is full again, a closed breaker without a bad call for as long as its longest break, an idle gate whose
    //! estimate has faded, a budget with a full reserve. So calls with many other keys reset no limit, close no breaker and renew
    //! no budget.
    //!
    //! If there is nothing to forget, a new key shares one of 128 further states with other such keys, until there is room. Which
    //! one depends on the key's hash, seeded at random for each layer value: one bad key without room affects one in 128 of the others. When there
    //! is room, the key gets a state of its own, in which a rate, a budget or an open breaker is as it was in the shared one. (A permit
    //! stays with its call: for as long as calls that began in the shared state last, a key may have up to twice its permits.)
    //!
    //! Choose `max_keys` so that there is room for all keys with something to remember: for a rate limit of 5 an hour, the callers of
    //! an hour; for a breaker, the hosts that have failed within its longest break or have calls in flight.
    //!
    //! # Cost
    //! A hash and a comparison of the key, and a lookup under a short lock, for each call. A new key looks at no more than 16 others.
    //! Memory is that of `max_keys + 129` states at most.
    //!
    //! # Panics
    //! A key's `Hash`, `Eq` and `Drop` run while no lock is held. If one panics, the call at hand panics, and all else goes on.

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
