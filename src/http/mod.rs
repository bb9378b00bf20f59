//! What the layers need to know of HTTP, on clients and in services.
//!
//! | | what it does |
//! |---|---|
//! | [`ByStatus`] | says what a status or a transport error means, and tables it for every status |
//! | [`HeldBody`] | carries what a layer gave to a call to the end of the body, and is cut in time |
//! | [`LongLived`] | says that a response is meant to go on |
//! | [`ByMethod`], [`Idempotent`] | say which requests a retry may send again, and make them again, bodies included |
//! | [`ByAuthority`] | gives each host a state of its own |
//! | [`MapRequestBodyLayer`] | for clients that are fixed to one type of body |
#![cfg_attr(feature = "reqwest", doc = "| [`reqwest`] | `reqwest::Client` as a service of `http` requests |")]
#![cfg_attr(
    not(feature = "reqwest"),
    doc = "| `reqwest` (feature `reqwest`) | `reqwest::Client` as a service of `http` requests |"
)]
//! | [`respond`] | refusals become answers |
//! | [`propagation`] | deadlines, attempts and "do not retry" between processes |
//!
//! The `::http` constructors of the layers choose these. [`stack`](crate::stack) has the layers in their recommended order.
//!
//! # A call is over when its body is over
//! Not when its head is there: until its body has ended, failed or been dropped a call holds its permit, its place in the breaker's
//! window and its connection, and its deadline goes on. A body that stalls, drips, or is kept and never read is cut when the
//! time is over, whether anyone polls it or not: an HTTP/1.1 connection is closed and an HTTP/2 stream reset, and the
//! next poll of the body yields the [refusal](crate::error::Rejected). The callee is judged for its own time only, in which a reader
//! waited for it.
//!
//! | what a body needs | how |
//! |---|---|
//! | bounds of its own for head, pauses and body | [`DeadlineConfig`](crate::deadline::DeadlineConfig) |
//! | to go on for longer than other calls | [`LongLived`] |
//! | nothing: an upgrade (101), or a tunnel | the call is over with the head |
//!
//! ```
//! use std::time::Duration;
//! use http::Request;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use seawall::deadline::{DeadlineConfig, DeadlineLayer};
//! use seawall::http::LongLived;
//! use tower::ServiceBuilder;
//! # use bytes::Bytes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let second = Duration::from_secs(1);
//! let deadline = DeadlineConfig { timeout: 10 * second, idle_timeout: Some(second), ..DeadlineConfig::default() };
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::http(deadline)?)
//!     .layer(BulkheadLayer::http(BulkheadConfig::default())?)
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//! # fn is_client<S: tower::Service<Request<Full<Bytes>>>>(_: &S) {}
//! # is_client(&client);
//!
//! let events = Request::get("http://news.test/events").extension(LongLived::new(3600 * second));
//! # let _ = events.body(Full::<Bytes>::default())?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod classify;
mod constructors;
pub(crate) mod lifetime;
mod map_request_body;
pub(crate) mod overrides;
mod replay;
pub(crate) mod retry_after;
mod settled;
pub(crate) mod transport;

pub mod propagation;
#[cfg(feature = "reqwest")]
pub mod reqwest;
pub mod respond;

pub use authority::{ByAuthority, HostAndPort};
pub use classify::ByStatus;
pub use lifetime::{ByExtension, HeldBody, Judge, LongLived};
pub use map_request_body::{MapRequestBody, MapRequestBodyLayer};
pub use replay::{ByMethod, Idempotent, KeptRequest, ReplayBody};
pub use settled::{Detaching, SettledBody};
