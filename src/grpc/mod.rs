//! What the layers need to know of gRPC, whatever implements it: tonic does.

mod classify;
mod code;
mod constructors;
mod settle;
mod status;

pub mod propagation;
pub mod respond;

pub use classify::ByCode;
pub use code::Code;
pub use settle::Settling;
