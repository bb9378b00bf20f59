//! Deadlines, attempts and "do not retry" between processes that speak gRPC.
//!
//! [`InjectLayer::grpc`](crate::http::propagation::InjectLayer::grpc) on a client and
//! [`ExtractLayer::grpc`](crate::http::propagation::ExtractLayer::grpc) on a server; all about them stands at
//! [`http::propagation`](crate::http::propagation). The headers are those of gRPC itself, so that whatever is at the other
//! end needs not be of this house:
//!
//! | header | on | meaning |
//! |---|---|---|
//! | `grpc-timeout` | requests | the time left: at most eight digits and a unit (`H` `M` `S` `m` `u` `n`), written in the finest that fits |
//! | `grpc-previous-rpc-attempts` | requests | the attempts before this one; not written for the first |
//! | `x-priority` | requests | `low`, `normal`, `high` or `critical`; not written for the default |
//! | `grpc-retry-pushback-ms: -1` | failures | do not try this again |
//!
//! A tier says "do not retry" in the head of a response that carries its `grpc-status` there (trailers-only), as failures of
//! unary calls do. A stream that fails later has handed something on by then, and is not retried anyway.
//!
//! tonic reads and obeys a `grpc-timeout` by itself, for each call alone; what is gained here is that the calls which a
//! handler makes inherit it. A timeout that a client of tonic's sets on a request (`Request::set_timeout`) stays if it is
//! the shorter one.
//!
//! Sources: *gRPC over HTTP2* (`PROTOCOL-HTTP2.md`), and proposal A6 (client retries).
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::deadline::DeadlineLayer;
//! use seawall::grpc::propagation::PropagationConfig;
//! use seawall::http::propagation::{ExtractLayer, InjectLayer};
//! use tower::ServiceBuilder;
//!
//! # fn main() -> Result<(), tower::BoxError> {
//! let server = ServiceBuilder::new()
//!     .layer(ExtractLayer::grpc(PropagationConfig::default())?)
//!     .layer(DeadlineLayer::http(Duration::from_secs(10))?);
//!
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::http(Duration::from_secs(2))?)
//!     .layer(InjectLayer::grpc(PropagationConfig::default())?);
//! # let _ = (server, client);
//! # Ok(())
//! # }
//! ```

mod config;
mod constructors;
mod propagator;
mod timeout;

pub use config::PropagationConfig;
pub use propagator::GrpcPropagator;
pub(super) use propagator::timeout_of;
