//! What the layers need to know of HTTP: what a status means, and how a refusal is answered.
//!
//! The `::http` constructors of the layers choose [`ByStatus`] for `http::Response`s; [`ByAuthority`] gives each host a state of its own.

mod authority;
mod classify;
mod constructors;
mod replay;
mod retry_after;

pub mod propagation;
pub mod respond;

pub use authority::ByAuthority;
pub use classify::ByStatus;
pub use replay::{ByMethod, KeptRequest};
