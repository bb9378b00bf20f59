//! Server layers in front of axum and hyper, over real sockets: slow readers, long streams, one state for all routes.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod serving;
mod stalled;

#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "the tests of bodies ask more of it")]
mod pipes;

#[cfg(feature = "grpc")]
mod grpc_uploads;
mod inherited;
mod one_state;
mod oversized;
mod readers;
mod transparency;
mod uploads;
