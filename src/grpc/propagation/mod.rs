//! Carries deadlines, attempts and "do not retry" between processes that speak gRPC.
//!
//! Use [`InjectLayer::grpc`](crate::http::propagation::InjectLayer::grpc) on a client and
//! [`ExtractLayer::grpc`](crate::http::propagation::ExtractLayer::grpc) on a server. Their behaviour is described at
//! [`http::propagation`](crate::http::propagation). The headers are gRPC's own, so the other end does not need this
//! crate:
//!
//! | header | on | meaning |
//! |---|---|---|
//! | `grpc-timeout` | requests | the time left: at most eight digits and a unit (`H` `M` `S` `m` `u` `n`), written in the finest unit that fits |
//! | `grpc-previous-rpc-attempts` | requests | the attempts before this one; not written for the first |
//! | `x-priority` | requests | `low`, `normal`, `high` or `critical`; not written for the default |
//! | `grpc-retry-pushback-ms: -1` | failures | do not retry this |
//!
//! A tier says "do not retry" in the head of a response that carries its `grpc-status` there (trailers-only), as
//! failures of unary calls do. A stream that fails later has handed messages on already, and is not retried anyway.
//!
//! tonic reads and obeys a `grpc-timeout` by itself, but only for that one call. With these layers, the calls that a
//! handler makes inherit it too. If a tonic client sets a timeout on a request (`Request::set_timeout`), the shorter of
//! the two holds.
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
