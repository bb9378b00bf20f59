//! Refusals and failures become gRPC statuses.
//!
//! A tonic server wants services that answer whatever happens. Put
//! [`RespondLayer::grpc`](crate::http::respond::RespondLayer::grpc) outside of the layers that may refuse, and
//! each error becomes a status:
//!
//! | error | code |
//! |---|---|
//! | a deadline passed, or the layer's own bound | `DEADLINE_EXCEEDED` |
//! | the rate limit is exhausted | `RESOURCE_EXHAUSTED` |
//! | any other refusal of a layer of this crate | `UNAVAILABLE` |
//! | of the transport: no connection could be made | `UNAVAILABLE` |
//! | of the transport: a timeout | `DEADLINE_EXCEEDED` |
//! | any other error | `INTERNAL` |
//!
//! A call that failed before there was a response is answered by a head alone, the specification's *Trailers-Only*. A
//! response that fails on its way, as one whose deadline passes in the midst of a stream, ends in trailers with the status,
//! where it would otherwise end in a reset that says nothing. (Only if its `Content-Type` is `application/grpc`: half a page of
//! anything else must not look like a whole one. gRPC-Web is translated outside of this layer.)
//!
//! The status has the reason in one word (`grpc-message`; all that the refusal says with
//! [`RespondLayer::verbose`](crate::http::respond::RespondLayer::verbose)), `grpc-retry-pushback-ms` where another try can help, and
//! in `grpc-status-details-bin` what a program can read: an `ErrorInfo` of domain `seawall` with the
//! [reason](crate::error::Reason) and the layer, and a `RetryInfo`. The text of other errors is logged and not sent: it may
//! hold what is nobody's business.
//!
//! # How it behaves
//! As [`http::respond`](crate::http::respond) does, and:
//! - **Errors:** none, [`Infallible`](std::convert::Infallible); of a body, only if it is not gRPC's.
//! - **Cost:** nothing for a call that goes well.
//! - **Place:** outermost on a server, in front of services that speak gRPC alone: whatever asks is answered in gRPC.
//!   Outermost on a client, it gives the caller a code where he would otherwise get a `tonic::Status` of `UNKNOWN` with the
//!   refusal as its source; see [`rejection_in`](crate::error::rejection_in).
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
