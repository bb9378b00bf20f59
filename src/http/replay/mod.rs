//! Requests that are sent again: which requests may be, and how they are rebuilt.

mod body;
mod by_method;
mod hedge_replay;
mod idempotent;
mod kept_body;
#[cfg(all(test, seawall_loom))]
mod loom_tests;
mod record;
mod source;

pub use body::ReplayBody;
pub use by_method::{ByMethod, KeptRequest};
pub use hedge_replay::{HedgeReplay, KeptAttempt};
pub use idempotent::Idempotent;
