//! What the layers need to know of HTTP: what a status means, and how a refusal is answered.
//!
//! The `::http` constructors of the layers choose [`ByStatus`] for `http::Response`s; [`ByAuthority`] gives each host a state of its own.

mod authority;
mod classify;
mod constructors;
pub(crate) mod lifetime;
mod map_request_body;
mod replay;
mod retry_after;
mod settled;
pub(crate) mod transport;

pub mod propagation;
#[cfg(feature = "reqwest")]
pub mod reqwest;
pub mod respond;

pub use authority::{ByAuthority, HostAndPort};
pub use classify::ByStatus;
pub use lifetime::{ByExtension, HeldBody, Judge, LongLived};
pub use map_request_body::{MapRequestBody, MapRequestBodyLayer};
pub use replay::{ByMethod, Idempotent, KeptRequest, ReplayBody};
pub use settled::{Detaching, SettledBody};
