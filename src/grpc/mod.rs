//! gRPC support for the layers, for any gRPC implementation; the examples use tonic.
//!
//! The layers' `::grpc` constructors choose [`ByCode`], which reads the status where gRPC puts it: in the trailers or
//! in the head. To a layer that reads HTTP alone, a dependency that fails every call with `UNAVAILABLE` responds 200
//! and looks healthy. A call is over when its stream is over: permits, tickets and deadlines live until then, as they
//! do for [HTTP](crate::http).
//!
//! | | what it does |
//! |---|---|
//! | [`ByCode`] | gives each status its verdict; its page has the tables |
//! | [`ByCall`] | decides which calls a retry may send again, and rebuilds them |
//! | [`respond`] | turns refusals and failures into statuses, so a tonic server needs no error handler |
//! | [`propagation`] | carries deadlines, attempt numbers and "do not retry" between processes |
//!
//! # A client
//! Layers around a tonic `Channel`, outermost first. The channel accepts only tonic's own body type, and a retry sends
//! bodies of its own type. So the [mapping](crate::http::MapRequestBodyLayer) stands between them.
//! ```
//! use std::time::Duration;
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
//! use seawall::deadline::DeadlineLayer;
//! use seawall::http::MapRequestBodyLayer;
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tonic::transport::Endpoint;
//! use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let channel = ServiceBuilder::new()
//!     .layer(DeadlineLayer::grpc(Duration::from_millis(50))?)
//!     .layer(RetryLayer::grpc(RetryConfig::default())?)
//!     .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
//!     .layer(BulkheadLayer::grpc(BulkheadConfig::default())?)
//!     .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::default())?)
//!     .service(Endpoint::from_static("http://127.0.0.1:9").connect_lazy());
//!
//! let mut client = HealthClient::new(channel);
//! assert!(client.check(HealthCheckRequest::default()).await.is_err(), "no server listens");
//! # Ok(())
//! # }
//! ```
//! A layer's error reaches the caller as a `tonic::Status` of code `UNKNOWN`, with the
//! [refusal](crate::error::Rejected) as its source. [`rejection_in`](crate::error::rejection_in) finds it there, and
//! [`retry::report`](crate::retry::report) reports the attempts behind it. To get a specific code instead, put a
//! [`RespondLayer::grpc`](respond) outermost.
//!
//! # A server
//! See [`respond`].
//!
//! # Streams
//! A deadline bounds the whole stream, in both directions. A `tonic::Request` can set a shorter timeout than the
//! layer's by its [`set_timeout`](ByTimeout). A long-lived stream has [`LongLived`](crate::http::LongLived) in the
//! extensions of its `tonic::Request`, and so a bound of its own.
//!
//! Before a retry hands on the head of a response, it reads what has been sent already behind the head, and waits for
//! at most 10 ms if nothing has been sent. So a call that fails before its first message is retried, whether its status
//! is in the head or in the trailers. A call that fails after its first message was handed on is never retried. Reading
//! ahead costs one allocation per call, and up to 64 KiB.

mod by_code;
mod by_timeout;
mod classify;
mod code;
mod constructors;
mod details;
mod replay;
mod settle;
pub(crate) mod status;

pub mod propagation;
pub mod respond;

pub use by_code::ByCode;
pub use by_timeout::ByTimeout;
pub use code::Code;
pub use replay::{ByCall, KeptCall};
pub use settle::Settling;
