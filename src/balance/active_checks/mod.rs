//! Active checks: requests of the balancer's own to endpoints that get no calls, which may bring them back early.

#[cfg(feature = "http")]
pub(super) mod check_body;
pub(super) mod config;
#[cfg(feature = "grpc")]
pub(super) mod grpc_check;
mod history;
#[cfg(feature = "http")]
pub(super) mod http_check;
mod outage;
mod run;
