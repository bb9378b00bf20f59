//! What the layers need to know of HTTP, on clients and in services.
//!
//! | | what it does |
//! |---|---|
//! | [`ByStatus`] | gives each status and each transport error its verdict; its page has the tables |
//! | [`HeldBody`] | keeps what a layer holds for a call until the end of the body, and is cut when the call's time is over |
//! | [`LongLived`] | gives a long-lived call a timeout of its own |
//! | [`ByMethod`], [`Idempotent`] | decide which requests a retry may send again, and rebuild them, bodies included |
//! | [`ByAuthority`] | gives each host a state of its own |
//! | [`MethodAndPath`] | tells which requests are alike, for a [quarantine](crate::quarantine) |
//! | [`WriteTimeout`] | closes a server's connection if its client does not read |
//! | [`UploadLayer`] | bounds the resources that a client can hold without sending its request's body |
//! | [`MapRequestBodyLayer`] | adapts requests to a client that accepts one body type only |
#![cfg_attr(feature = "reqwest", doc = "| [`reqwest`] | `reqwest::Client` as a service of `http` requests |")]
#![cfg_attr(
    not(feature = "reqwest"),
    doc = "| `reqwest` (feature `reqwest`) | `reqwest::Client` as a service of `http` requests |"
)]
//! | [`respond`] | turns refusals into responses |
//! | [`propagation`] | carries deadlines, attempt numbers and "do not retry" between processes |
//!
//! The layers' `::http` constructors choose these. [`stack`](crate::stack) has the layers in their recommended order.
//!
//! # A call is over when its body is over
//! The head of a response does not end its call. Until the body has ended, failed or been dropped, the call holds its
//! permit, its slot in the breaker's window and its connection, and its deadline stays in force. A body that stalls,
//! drips, or is kept and never read is cut when that time is over, whether or not anything polls it: an HTTP/1.1
//! connection is closed, an HTTP/2 stream is reset, and the next poll of the body yields the
//! [refusal](crate::error::Rejected).
//!
//! Near the deadline a reader gets one of two errors, and a difference of milliseconds decides which. A server that has
//! inherited the same deadline, or has a bound of its own, may cut first. Then the client's error is the transport's
//! ("error reading a body from connection"), and [`rejection`](crate::error::rejection) finds nothing in it. In the
//! same way, a dependency that hangs shows up either as `Err` with a refusal or as the server's 504 response. Handle
//! both:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use seawall::error::{Reason, rejection};
//! use tower::{BoxError, Service, ServiceExt};
//!
//! /// The answer, or `None` if it took too long.
//! async fn in_time<S, B>(client: S, request: Request<Full<Bytes>>) -> Result<Option<Bytes>, BoxError>
//! where
//!     S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError>,
//!     B: http_body::Body,
//!     B::Error: Into<BoxError>,
//! {
//!     let is_late = |error: &BoxError| rejection(error).is_some_and(|refusal| refusal.reason() == Reason::DeadlineExceeded);
//!     let response = match client.oneshot(request).await {
//!         Ok(response) if response.status() == StatusCode::GATEWAY_TIMEOUT => return Ok(None), // the server was first
//!         Ok(response) => response,
//!         Err(error) if is_late(&error) => return Ok(None), // the client was first
//!         Err(error) => return Err(error),
//!     };
//!     match response.into_body().collect().await.map_err(Into::into) {
//!         Ok(body) => Ok(Some(body.to_bytes())),
//!         Err(error) if is_late(&error) => Ok(None),
//!         Err(error) => Err(error), // the transport's: the server has cut the body, or the connection broke
//!     }
//! }
//! # let _ = in_time::<tower::util::BoxService<_, Response<Full<Bytes>>, _>, _>;
//! ```
//!
//! The dependency is judged only for the time during which a reader waited for it.
//!
//! The layers of a stack share the lock of one [`HeldBody`] and its entry in the schedule of cuts. A response with a
//! body costs two allocations, and one more for each outer bulkhead or circuit breaker. In the [client
//! stack](crate::stack::client) these are three of the nine allocations of a call with bodies. The others keep the
//! request for a retry and write its headers.
//!
//! # Clients that do not read
//! A server takes frames of a body until its buffers are full. After that it looks at the body only when the client
//! reads on. So a [`DeadlineLayer`](crate::deadline::DeadlineLayer) with a `body_timeout`, and every [server
//! stack](crate::stack::server), hands out a body in pieces, and each piece only when the pieces before it have been
//! written. When the body is cut, the layer still holds the rest of it. So the server sees the cut, and a graceful
//! shutdown can end.
//!
//! | what the client leaves unread | what ends it |
//! |---|---|
//! | a stream or a body in one piece, HTTP/1.1 without TLS | the layer: it closes the connection at the body's bound |
//! | the same over HTTP/2 | the layer: it resets the stream at the body's bound |
//! | the last 64 KiB of a body, responses to pipelined requests, HTTP/1.1 over TLS | [`WriteTimeout`] around the socket |
//! | an HTTP/2 stream whose window never opened, or closed exactly between two pieces | the end of the connection. Bound the connection's age (as tonic's `max_connection_age` does) and the time of a graceful shutdown. Such a stream holds at most 32 KiB |
//!
//! An HTTP/1.0 client reads a body without a `content-length` until its connection ends. It cannot tell a body that was
//! cut from a complete one. A proxy may speak HTTP/1.0 by default (nginx: set `proxy_http_version 1.1`).
//!
//! The first 16 KiB of a body cost nothing. After that, each piece of up to 32 KiB costs one allocation. A reader that
//! keeps the pieces gets all of them after a few milliseconds; middleware that collects a body, or looks at its
//! beginning first, is such a reader. A reader that drops pieces *while* it waits for the next one is treated as a
//! connection: it waits until it has dropped enough. So a task that passes frames to a collector through a channel
//! should copy what it keeps.
//!
//! # What a body needs
//! | what a body needs | how |
//! |---|---|
//! | its own bounds for head, pauses and body | [`DeadlineConfig`](crate::deadline::DeadlineConfig) |
//! | more time than other calls, or a late head | [`LongLived`] |
//! | nothing: an upgrade (101) or a tunnel | the call is over with the head |
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
//! let events = Request::get("http://news.test/events").extension(LongLived::new(3600 * second).with_head(5 * second));
//! # let _ = events.body(Full::<Bytes>::default())?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod by_body;
mod by_status;
mod chaos;
mod classify;
mod constructors;
pub(crate) mod held_body;
mod map_request_body;
mod method_and_path;
pub(crate) mod overrides;
mod replay;
pub(crate) mod retry_after;
mod settled;
pub(crate) mod transport;
pub(crate) mod upload;
mod write_timeout;

pub mod propagation;
#[cfg(feature = "reqwest")]
pub mod reqwest;
pub mod respond;

pub use authority::{ByAuthority, HostAndPort};
pub use by_body::{ByBody, CollectedBody, Collecting};
pub use by_status::ByStatus;
pub use chaos::{ChaosBody, HttpFaults};
pub use held_body::{ByExtension, HeldBody, Judge, LongLived};
pub use map_request_body::{MapRequestBody, MapRequestBodyLayer};
pub use method_and_path::{MethodAndPath, MethodAndPathKey};
pub use replay::{ByMethod, HedgeReplay, Idempotent, KeptAttempt, KeptRequest, ReplayBody};
pub use settled::{Detaching, SettledBody};
pub use upload::{UploadBody, UploadFuture, UploadLayer, UploadService};
pub use write_timeout::WriteTimeout;
