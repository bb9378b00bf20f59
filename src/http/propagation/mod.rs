//! Carries deadlines, attempts, priorities and "do not retry" between processes.
//!
//! A deadline that ends at the edge of a process is worth little: the caller has given up, and three tiers down the
//! services still work for it. So the deadline travels with the request, and so does the number of the attempt. "Do not
//! retry" travels with the response. In OpenTelemetry's terms:
//!
//! - [`InjectLayer`] on a client writes the time left until the call's deadline, and the number of the attempt, into
//!   each request.
//! - [`ExtractLayer`] on a server reads them into the [context](crate::context) of all work for the request. Each
//!   client call that a handler makes inherits the deadline, without any code of yours. The inner layers refuse a
//!   request that arrives expired, before the handler runs.
//!
//! | header | on | meaning |
//! |---|---|---|
//! | `x-request-timeout-ms` | requests | the time left, in whole milliseconds: written and read |
//! | `x-envoy-expected-rq-timeout-ms` | requests | the same, as Envoy writes it: read only |
//! | `x-envoy-attempt-count` | requests | the number of the attempt; not written for the first |
//! | `x-priority` | requests | `low`, `normal`, `high` or `critical`; not written for the default |
//! | `x-should-retry: false` | 5xx and 429 responses | do not retry this |
//! | `endpoint-load-metrics` | responses, with [`report_load`](PropagationConfig::report_load) | the other requests that the service has in flight, as ORCA's text `TEXT named_metrics.in_flight=12`: for the [balancers](crate::balance) of clients, which read all formats of ORCA |
//!
//! The names of the request headers are [settings](HeaderNames). For gRPC there are
#![cfg_attr(
    feature = "grpc",
    doc = "`InjectLayer::grpc` and `ExtractLayer::grpc`, see [`grpc::propagation`](crate::grpc::propagation);"
)]
#![cfg_attr(not(feature = "grpc"), doc = "`InjectLayer::grpc` and `ExtractLayer::grpc` (feature `grpc`);")]
//! for anything else, a [`Propagator`].
//!
//! # Tiers that do not multiply
//! If each of four tiers makes three attempts, a dead dependency gets 81 requests for one. This layer prevents that in
//! two ways:
//! - **"Do not retry".** A service writes `x-should-retry: false` into its own 5xx if one of its calls failed and the
//!   [retries](crate::retry) of that call are exhausted, or were refused for lack of budget or time. It also does so if
//!   the tier below said the same. If a later call of the same handler succeeds, the mark is cleared: the handler
//!   recovered from the failure. The tiers above do not retry such a response. With 500 it [counts](crate::evidence) as
//!   a failure of the service that responds. With 502, 503 and 504, which proxies and refusing tiers send, it does not.
//!   So only the tier next to the dead dependency retries, within its budget. (A retry that is configured for one
//!   attempt has exhausted nothing, and leaves retries to other tiers.)
//! - **Retries earn no retries.** The [budget](crate::retry::BudgetConfig) of a tier grows only by calls whose attempt
//!   has the number 1. The number that travels is one more than all attempts before it, of this tier *and* of the tiers
//!   above: the first attempt that B makes for the second attempt of A is number 2.
//!
//! # What is believed
//! Anyone can send any header. So:
//! - A value that cannot be parsed is ignored. Of several values, the smallest holds.
//! - No header makes a deadline later. The earliest of three holds: the header's, the inherited one, and that of the
//!   inner [deadline layer](crate::deadline).
//! - Without an inner deadline layer, a header replaces the layers' own bounds (`max_hold`), up to `max_timeout`. So
//!   add a deadline layer.
//! - A request without a deadline is not changed. Neither is a smaller value that you have put into a request yourself.
//!   (Over HTTP that is the timeout of each attempt; for a whole call, use the [deadline layer](crate::deadline).)
//! - A client that raises the attempt numbers of its requests earns no retries for them, but it spends the retries that
//!   other clients have earned. At the edge of a system, where clients are untrusted, remove these headers.
//!
//! A [priority](crate::context::Priority) that is none of the four names is ignored; of several, the lowest holds; and
//! one above [`max_priority`](PropagationConfig::max_priority) counts as `max_priority`. So by default no outside
//! client can make a request critical. For untrusted clients, set it to `normal`; between your own services, to
//! `critical`. The client's side writes the priority of the [context](crate::context), unless the request has one
//! already. All inner layers, above all [load shedding](crate::load_shed), serve important requests first.
//!
//! # How it behaves
//! - **Readiness:** that of the inner service.
//! - **Cancellation:** dropping the call drops the inner call. When a client disconnects, hyper drops its handler, and
//!   with it the calls that the handler makes.
//! - **Clones** share nothing but the settings.
//! - **Errors:** the inner service's own.
//! - **Spawned work** leaves the call's task. [`carry`](crate::context::carry) takes the deadline along, but a failure
//!   in spawned work does not make the response say "do not retry". Neither does a failure in
//!   [`detached`](crate::context::detached) work.
//! - **Cost:** a look at the headers. On a client, one allocation for each header that is written; none without a
//!   deadline.
//! - **Place:** [`InjectLayer`] innermost on a client, so that each attempt carries the time left for *that attempt*;
//!   [`ExtractLayer`] outermost on a server, outside of [`respond`](crate::http::respond) too, so that it sees refusals
//!   as responses.
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
pub(crate) mod load_report;
pub(crate) mod number;
pub(crate) mod priority;
mod propagator;
pub(crate) mod retry_forbidden;
mod timeout;

#[cfg(feature = "grpc")]
pub(crate) use config::{DEFAULT_ALLOWANCE, DEFAULT_MAX_PRIORITY, DEFAULT_MAX_TIMEOUT, check_times};
#[cfg(all(test, feature = "grpc"))]
pub(crate) use extract::tests::nothing_lengthens;
#[cfg(feature = "grpc")]
pub(crate) use headers::values;

pub(crate) use config::FIXED;
pub use config::{HeaderNames, PropagationConfig};
#[cfg(feature = "grpc")]
pub(crate) use extract::ExtractSettings;
pub use extract::{Extract, ExtractLayer, Extracted};
pub use headers::HttpPropagator;
pub use inject::{Inject, InjectLayer, Injected};
pub use propagator::{Propagated, Propagator};
