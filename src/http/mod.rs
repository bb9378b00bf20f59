//! What the layers need to know of HTTP: what a status means, and how a refusal is answered.
//!
//! The `::http` constructors of the layers choose [`ByStatus`] for `http::Response`s; [`ByAuthority`] gives each host a state of its own.

mod authority;
mod classify;
mod constructors;
mod map_request_body;
mod replay;
mod retry_after;
mod transport;

#[cfg(feature = "reqwest")]
pub mod reqwest;
pub mod respond;

pub use authority::ByAuthority;
pub use classify::ByStatus;
pub use map_request_body::{MapRequestBody, MapRequestBodyLayer};
pub use replay::{ByMethod, Idempotent, KeptRequest, ReplayBody};
