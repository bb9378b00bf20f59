//! The layers, one folder each, and their shared parts: `core` and `call`. Layers do not depend on each other.

pub(crate) mod call;
pub mod chaos;
pub mod circuit_breaker;
pub(crate) mod core;
pub mod deadline;
pub mod fair_share;
pub(crate) mod permits;
pub mod rate_limit;
pub mod retry;
pub mod throttle;
