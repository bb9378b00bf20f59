//! What the layers need to know of gRPC, whatever implements it.

pub mod propagation;
