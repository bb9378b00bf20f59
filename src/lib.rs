//! Composable [`tower`] layers that stop leaked connections, slow dependencies and retry storms inside each service.
//!
//! (The full page is written with the layers.)

// One room a module; dependencies point down, and `tests/architecture.rs` keeps it so.
mod admission;
mod algorithm;
mod ground;
mod middleware;

#[cfg(feature = "http")]
pub mod http;

pub use ground::chance::seed;
pub use ground::{context, error, verdict};
pub use middleware::{bulkhead, deadline, load_shed, rate_limit};

pub mod keyed {
    //! State per key: how a layer tells requests apart.

    pub use crate::admission::keyed::{ByKey, KeyBy, Keying, OneKey};
}

#[doc(hidden)]
pub mod retry {
    pub use crate::algorithm::backoff::*;
}
