//! The layers, and the tower plumbing that they share. Layers do not know each other.

pub(crate) mod bound;
pub mod circuit_breaker;
pub mod deadline;
pub(crate) mod inner;
pub mod retry;
