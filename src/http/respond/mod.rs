//! Turns refusals and errors into responses.
//!
//! An axum `Router`, like most servers, needs services that never fail. Put this layer outside of the layers that may
//! refuse, and each error becomes an HTTP response:
//!
//! | error | response |
//! |---|---|
//! | a deadline or a layer's own bound was exceeded | 504 Gateway Timeout |
//! | the rate limit is exhausted | 429 Too Many Requests |
//! | any other refusal of a layer of this crate | 503 Service Unavailable |
//! | a client's: its dependency was not reached, or the connection to it was lost | 502 Bad Gateway |
//! | a client's: its dependency did not answer in time | 504 Gateway Timeout |
//! | any other error | 500 Internal Server Error |
//!
//! A 503 or 429 response carries `Retry-After`. The body of a refusal is its [reason](crate::error::Reason::as_str) in
//! one word, such as `queue_full`. Untrusted clients may read the response, so it does not show the name of a dependency, its
//! limits or its state. Operators find these in the log and on the live page. Between your own services,
//! [`RespondLayer::verbose`] sends the whole text. The text of other errors is logged and never sent.
//!
//! gRPC services respond with gRPC codes:
#![cfg_attr(feature = "grpc", doc = "[`RespondLayer::grpc`], see [`grpc::respond`](crate::grpc::respond).")]
#![cfg_attr(not(feature = "grpc"), doc = "`RespondLayer::grpc` (feature `grpc`).")]
//!
//! # How it behaves
//! - **Readiness:** ready when the inner service is. If that fails to become ready, the next call returns the response
//!   for that error.
//! - **Cancellation:** dropping the call drops the inner call.
//! - **Clones** are independent: the layer has no state.
//! - **Errors:** none, [`Infallible`](std::convert::Infallible).
//! - **Place:** outermost on a server.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use seawall::{deadline::DeadlineLayer, http::respond::RespondLayer};
//! use tower::ServiceBuilder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
//!     ServiceBuilder::new()
//!         .layer(RespondLayer::new())
//!         .layer(DeadlineLayer::http(Duration::from_secs(2))?),
//! );
//! # let _ = app;
//! # Ok(())
//! # }
//! ```

mod answers;
mod body;
mod future;
mod layer;
mod service;

#[cfg(feature = "grpc")]
pub(crate) use answers::text;
pub use answers::{Answers, WithStatus};
pub use body::Body;
pub use future::ResponseFuture;
pub use layer::RespondLayer;
pub use service::Respond;
