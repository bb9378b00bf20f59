//! What the layers need to know of HTTP, on clients and in services.
//!
//! | | what it does |
//! |---|---|
//! | [`ByStatus`] | says what a status or a transport error means, and tables it for every status |
//! | [`HeldBody`] | carries what a layer gave to a call to the end of the body, and is cut in time |
//! | [`LongLived`] | gives a call that is meant to last a time of its own |
//! | [`ByMethod`], [`Idempotent`] | say which requests a retry may send again, and make them again, bodies included |
//! | [`ByAuthority`] | gives each host a state of its own |
//! | [`WriteTimeout`] | closes a server's connection whose client does not read |
//! | [`UploadLayer`] | bounds what a client can take that does not send its request's body |
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
//! next poll of the body yields the [refusal](crate::error::Rejected). Near the deadline a reader gets one of two errors: where the server
//! has inherited the same deadline, or has its own bound, it may cut first, and then the client's error is the transport's ("error reading a
//! body from connection"), in which [`rejection`](crate::error::rejection) finds nothing. In the same way a hang comes as `Err` with a
//! refusal, or as the server's answer of 504: milliseconds decide. Handle both:
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
//! The dependency is judged for its own time only, in which a reader
//! waited for it.
//!
//! All layers of a stack share one [`HeldBody`]'s lock and its place in the schedule of cuts. A response with a body costs two
//! allocations, and one more for each bulkhead or circuit breaker further out. In the [client stack](crate::stack::client) these
//! are three of the nine allocations of a call with bodies; the others keep the request for a retry, and write its headers.
//!
//! # Clients that do not read
//! A server takes frames of a body until its buffers are full, and then looks at the body only when the client reads on. So
//! a [`DeadlineLayer`](crate::deadline::DeadlineLayer) with a `body_timeout`, and every
//! [server stack](crate::stack::server), hands a body out in pieces, each when the ones before are written. A body that is cut is
//! still with the layer then, the server sees the cut, and a graceful shutdown ends.
//!
//! | what the client leaves unread | ended by |
//! |---|---|
//! | a stream or a body in one piece, HTTP/1.1 without TLS | the layer: the connection is closed at the body's bound |
//! | the same over HTTP/2 | the layer: the stream is reset at the body's bound |
//! | the last 64 KiB of a body, answers to pipelined requests, HTTP/1.1 over TLS | [`WriteTimeout`] around the socket |
//! | an HTTP/2 stream whose window was never open, or closed exactly between two pieces | the end of the connection: bound its age (as tonic's `max_connection_age` does), and the time of a graceful shutdown. It holds at most 32 KiB |
//!
//! An HTTP/1.0 client, as a proxy is that was not told otherwise (nginx: `proxy_http_version 1.1`), reads a body without a
//! `content-length` until its connection ends. It cannot tell a body that was cut from a whole one.
//!
//! The first 16 KiB of a body cost nothing; beyond that there is one allocation for each piece of up to 32 KiB. A reader that
//! keeps the pieces, as middleware does that collects a body or looks at its beginning first, is given all of them after a few
//! milliseconds. Only a reader that drops pieces *while* it waits for the next is taken for a connection, and waits until it has
//! dropped enough: a task that passes frames on to a collector through a channel should copy what it keeps.
//!
//! # What a body needs
//! | what a body needs | how |
//! |---|---|
//! | bounds of its own for head, pauses and body | [`DeadlineConfig`](crate::deadline::DeadlineConfig) |
//! | to go on for longer than other calls, or to have a late head | [`LongLived`] |
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
//! let events = Request::get("http://news.test/events").extension(LongLived::new(3600 * second).with_head(5 * second));
//! # let _ = events.body(Full::<Bytes>::default())?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod by_status;
mod classify;
mod constructors;
pub(crate) mod held_body;
mod map_request_body;
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
pub use by_status::ByStatus;
pub use held_body::{ByExtension, HeldBody, Judge, LongLived};
pub use map_request_body::{MapRequestBody, MapRequestBodyLayer};
pub use replay::{ByMethod, Idempotent, KeptRequest, ReplayBody};
pub use settled::{Detaching, SettledBody};
pub use upload::{UploadBody, UploadFuture, UploadLayer, UploadService};
pub use write_timeout::WriteTimeout;
