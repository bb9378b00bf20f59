//! Turns refusals and failures into gRPC statuses.
//!
//! A tonic server needs services that never fail. Put [`RespondLayer::grpc`](crate::http::respond::RespondLayer::grpc)
//! outside of the layers that may refuse, and each error becomes a status:
//!
//! | error | code |
//! |---|---|
//! | a deadline or a layer's own bound was exceeded | `DEADLINE_EXCEEDED` |
//! | the rate limit is exhausted | `RESOURCE_EXHAUSTED` |
//! | any other refusal of a layer of this crate | `UNAVAILABLE` |
//! | a transport error: no connection could be made | `UNAVAILABLE` |
//! | a transport error: a timeout | `DEADLINE_EXCEEDED` |
//! | any other error | `INTERNAL` |
//!
//! A call that failed before its response began gets a head alone, which the specification calls *Trailers-Only*. A
//! response that fails later, for example when its deadline passes in the middle of a stream, ends in trailers with the
//! status instead of a reset without a reason. (This applies only if its `Content-Type` is `application/grpc`: half of
//! any other response must not look complete. gRPC-Web must be translated outside of this layer.)
//!
//! The status carries:
//! - in `grpc-message`, the reason in one word, or the whole text of the refusal with
//!   [`RespondLayer::verbose`](crate::http::respond::RespondLayer::verbose);
//! - `grpc-retry-pushback-ms`, if another attempt can help;
//! - in `grpc-status-details-bin`, the machine-readable part: an `ErrorInfo` of domain `seawall` with the
//!   [reason](crate::error::Reason) and the layer, and a `RetryInfo`.
//!
//! The text of other errors is logged and never sent: it may contain internal details.
//!
//! # How it behaves
//! As for [`http::respond`](crate::http::respond), with these differences:
//! - **Errors:** none, [`Infallible`](std::convert::Infallible). A body fails only if it is not gRPC's.
//! - **Cost:** nothing for a call that succeeds.
//! - **Place:** outermost on a server, in front of services that speak gRPC only: it responds in gRPC to every client.
//!   Outermost on a client, it gives the caller a specific code. Without it, the caller gets a `tonic::Status` of
//!   `UNKNOWN` with the refusal as its source; see [`rejection_in`](crate::error::rejection_in).
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::{deadline::DeadlineLayer, http::respond::RespondLayer};
//! use tonic::transport::Server;
//! use tower::ServiceBuilder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (_, health) = tonic_health::server::health_reporter();
//! let server = Server::builder()
//!     .layer(ServiceBuilder::new().layer(RespondLayer::grpc()).layer(DeadlineLayer::grpc(Duration::from_secs(2))?))
//!     .add_service(health);
//! # drop(server.serve(([127, 0, 0, 1], 0).into()));
//! # Ok(())
//! # }
//! ```

mod answer;
mod body;
mod with_code;

pub use body::Body;
pub use with_code::WithCode;
