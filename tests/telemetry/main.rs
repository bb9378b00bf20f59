//! The telemetry of layers: metrics, snapshots, events and spans.
#![cfg(feature = "metrics")]
#![allow(clippy::disallowed_methods, reason = "tests sleep as users do, in virtual time")]

#[cfg(feature = "http")]
mod bodies;
mod callbacks;
mod counts;
mod endpoint_checks;
mod events;
mod gauges;
#[cfg(feature = "grpc")]
mod leaks;
#[path = "../listening/mod.rs"]
mod listening;
#[cfg(feature = "grpc")]
#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;
mod publisher;
mod recorded;
mod registry;
mod spans;
