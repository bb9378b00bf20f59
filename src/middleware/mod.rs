//! The layers, and the tower plumbing that they share. Layers do not know each other.

pub(crate) mod admitted;
pub(crate) mod bound;
pub(crate) mod breaker_ahead;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod deadline;
pub(crate) mod gates;
pub(crate) mod inner;
pub mod load_shed;
pub(crate) mod observed;
pub mod rate_limit;
pub mod retry;
