//! Requests that are sent again: which may be, and how their bodies are made again while they stream.

mod body;
mod by_method;
mod idempotent;
#[cfg(all(test, seawall_loom))]
mod loom_tests;
mod record;
mod source;

pub use body::ReplayBody;
pub use by_method::{ByMethod, KeptRequest};
pub use idempotent::Idempotent;
