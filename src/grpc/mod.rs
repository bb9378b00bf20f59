//! What the layers need to know of gRPC, whatever implements it: tonic does.
//!
//! The `::grpc` constructors of the layers choose [`ByCode`], which finds the status where gRPC puts it, in the trailers or in
//! the head: to whoever looks at HTTP alone, a dependency that fails every call with `UNAVAILABLE` answers 200 and is well. A
//! call is over when its stream is: permits, tickets and deadlines live until then, as they do for [HTTP](crate::http).
//!
//! | | what it does |
//! |---|---|
//! | [`ByCode`] | says what a status means, and tables it for every code |
//! | [`ByCall`] | says which calls a retry may send again, and makes them again |
//! | [`respond`] | refusals and failures become statuses: a tonic server needs no error handler |
//! | [`propagation`] | deadlines, attempts and "do not retry" between processes |
//!
//! # A client
//! Around a tonic `Channel`, outermost first. The channel is fixed to tonic's own body type, and the bodies that a retry sends are
//! its own; hence the [mapping](crate::http::MapRequestBodyLayer).
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
//! assert!(client.check(HealthCheckRequest::default()).await.is_err(), "nobody is at home");
//! # Ok(())
//! # }
//! ```
//! An error of a layer reaches the caller as a `tonic::Status` of code `UNKNOWN` with the [refusal](crate::error::Rejected) as its
//! source: [`rejection_in`](crate::error::rejection_in) finds it there, and [`retry::report`](crate::retry::report) tells of the
//! attempts behind it. Whoever wants a code instead puts a [`RespondLayer::grpc`](respond) outermost.
//!
//! # A server
//! See [`respond`].
//!
//! # Streams
//! A deadline bounds the whole stream, in either direction; a `tonic::Request` has less than the layer gives by its
//! [`set_timeout`](ByTimeout). A stream that is meant to last says so with
//! [`LongLived`](crate::http::LongLived) in the extensions of its `tonic::Request`, and has a bound of its own.
//!
//! A retry looks behind the head of a response before it hands it on: at what has been sent already, and for 10 ms at most
//! where nothing has. So a call that fails before its first message is tried again, wherever its status stands; and one
//! that fails after its first message was handed on never is. Reading ahead costs one allocation a call, and up to 64 KiB.

mod by_code;
mod by_timeout;
mod classify;
mod code;
mod constructors;
mod details;
mod replay;
mod settle;
mod status;

pub mod propagation;
pub mod respond;

pub use by_code::ByCode;
pub use by_timeout::ByTimeout;
pub use code::Code;
pub use replay::{ByCall, KeptCall};
pub use settle::Settling;
