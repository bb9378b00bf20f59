//! Deadlines, attempts, priorities and "do not retry" between processes.
//!
//! A deadline is worth little if it ends at the edge of a process: the caller is long gone, and three tiers further down
//! they still work for it. So it travels with the request, as the attempt's number does, and the word that another
//! attempt is not wanted travels with the answer. In the words of OpenTelemetry:
//!
//! - [`InjectLayer`] on a client writes what is left of the call's deadline, and the number of the attempt, into each
//!   request.
//! - [`ExtractLayer`] on a server reads them into the [context](crate::context) of everything that is done for the request:
//!   each client call that a handler makes inherits the deadline with no code of the user's. A request that arrives
//!   expired is refused by the layers inside, before the handler runs.
//!
//! | header | on | meaning |
//! |---|---|---|
//! | `x-request-timeout-ms` | requests | the time left, in whole milliseconds: written and read |
//! | `x-envoy-expected-rq-timeout-ms` | requests | the same, as Envoy writes it: read only |
//! | `x-envoy-attempt-count` | requests | the number of the attempt; not written for the first |
//! | `x-priority` | requests | `low`, `normal`, `high` or `critical`; not written for the default |
//! | `x-should-retry: false` | 5xx and 429 answers | do not try this again |
//!
//! The names of those on requests are [settings](HeaderNames). For gRPC there are
#![cfg_attr(
    feature = "grpc",
    doc = "`InjectLayer::grpc` and `ExtractLayer::grpc`, see [`grpc::propagation`](crate::grpc::propagation);"
)]
#![cfg_attr(not(feature = "grpc"), doc = "`InjectLayer::grpc` and `ExtractLayer::grpc` (feature `grpc`);")]
//! for anything else, a [`Propagator`].
//!
//! # Tiers that do not multiply
//! Four tiers that try everything three times send a dead one 81 requests for one. Here
//! - a service in which a call failed and its [retries](crate::retry) are spent, or were refused for want of budget or time,
//!   says `x-should-retry: false` on its own 5xx, and so does one that was told so by the tier below. A later call of the same
//!   handler that succeeds takes the word back: the failure was got over. Tiers above do not retry such an answer. With 500 it
//!   [counts](crate::evidence) as a failure of the service that answers; with 502, 503 and 504, as a proxy and a refusing tier
//!   answer, it does not. Only the tier next to what is dead retries, within its budget. (A retry that is to make one attempt only has spent none, and leaves it to others.)
//! - what is itself a repetition earns no retries: the [budget](crate::retry::BudgetConfig) of a tier grows by calls
//!   whose attempt has the number 1. What travels is one more than all attempts before it, of this tier *and* of those
//!   above: the first attempt that B makes for the second one of A is number 2.
//!
//! # What is believed
//! Anybody can send anything. A value that makes no sense is as if it were not there; of several values the smallest
//! holds; and no header makes a deadline later: what counts is the earliest of the header's, the inherited one, and that of
//! the [deadline layer](crate::deadline) inside. Where there is none inside, a header takes the place of the layers' own
//! bounds (`max_hold`), up to `max_timeout`: so put one there. A request without a deadline is left alone, and so is a
//! smaller value that the user has put into one (over HTTP it is that of each attempt; for a whole call there is the
//! [deadline layer](crate::deadline)). Who counts up the attempts of its requests earns no retries for them, but uses up
//! those that others have earned: at the edge of a system, where strangers call, take these headers off.
//!
//! A [priority](crate::context::Priority) that is none of the four names is ignored, of several the lowest holds, and one above
//! [`max_priority`](PropagationConfig::max_priority) counts as that: by default nobody outside makes a request critical. Where
//! strangers call, set it to `normal`; between one's own services, to `critical`. The client's side writes the priority of the
//! [context](crate::context), unless the request says its own. Whatever is inside, [load shedding](crate::load_shed) first of
//! all, serves the important before the rest.
//!
//! # How it behaves
//! - **Readiness:** that of the inner service.
//! - **Cancellation:** dropping the call drops the inner call. A handler is dropped when its client has gone (hyper sees
//!   to that), and with it the calls that it makes.
//! - **Clones** share nothing but the settings.
//! - **Errors:** the inner service's own.
//! - **Spawned work** leaves the call's task: the deadline goes along by [`carry`](crate::context::carry), and what fails in
//!   there does not tell the tiers above to stop. Neither does what fails in [`detached`](crate::context::detached) work.
//! - **Cost:** a look at the headers. On a client, one allocation for each header that is written; nothing is allocated
//!   where there is no deadline.
//! - **Place:** [`InjectLayer`] innermost on a client, so that each attempt is sent with what is left to *it*;
//!   [`ExtractLayer`] outermost on a server, around [`respond`](crate::http::respond) too, so that refusals are answers by
//!   the time they pass it.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use seawall::{context, deadline::DeadlineLayer, retry::{RetryConfig, RetryLayer}};
//! use seawall::http::propagation::{ExtractLayer, InjectLayer, PropagationConfig};
//! use seawall::http::respond::RespondLayer;
//! use tower::ServiceBuilder;
//! # use bytes::Bytes;
//! # use http_body_util::Full;
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let app: Router = Router::new()
//!     .route("/", get(|| async { format!("{:?} are left", context::time_left()) }))
//!     .layer(
//!         ServiceBuilder::new()
//!             .layer(ExtractLayer::http(PropagationConfig::default())?)
//!             .layer(RespondLayer::new())
//!             .layer(DeadlineLayer::http(Duration::from_secs(10))?),
//!     );
//!
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::http(Duration::from_secs(2))?)
//!     .layer(RetryLayer::http(RetryConfig::default())?)
//!     .layer(InjectLayer::http(PropagationConfig::default())?)
//!     .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
//! # let _ = (app, client);
//! # Ok(())
//! # }
//! ```

mod config;
mod extract;
#[cfg(feature = "config")]
mod header_name;
mod headers;
mod inject;
pub(crate) mod last_word;
mod live_time;
pub(crate) mod number;
pub(crate) mod priority;
mod propagator;
mod timeout;

#[cfg(feature = "grpc")]
pub(crate) use config::{DEFAULT_ALLOWANCE, DEFAULT_MAX_PRIORITY, DEFAULT_MAX_TIMEOUT, check_times};
#[cfg(all(test, feature = "grpc"))]
pub(crate) use extract::tests::nothing_lengthens;
#[cfg(feature = "grpc")]
pub(crate) use headers::values;

pub(crate) use config::FIXED;
pub use config::{HeaderNames, PropagationConfig};
pub use extract::{Extract, ExtractLayer, Extracted};
pub use headers::HttpPropagator;
pub use inject::{Inject, InjectLayer, Injected};
pub use propagator::{Propagated, Propagator};
