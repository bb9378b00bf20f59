//! What layers tell of themselves: metrics, snapshots, events and spans.
#![cfg(feature = "metrics")]

mod counts;
mod events;
mod gauges;
mod recorded;
mod registry;
mod spans;
