//! The layers, one folder each, and what they share: `core` and `call`. Layers do not know each other.

pub(crate) mod call;
pub mod circuit_breaker;
pub(crate) mod core;
pub mod deadline;
pub(crate) mod permits;
pub mod rate_limit;
pub mod retry;
