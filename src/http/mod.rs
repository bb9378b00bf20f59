//! What the layers need to know of HTTP: what a status means, and how a refusal is answered.
//!
//! The `::http` constructors of the layers choose [`ByStatus`] for `http::Response`s; [`ByAuthority`] gives each host a state of its own.

mod authority;
mod classify;
mod constructors;
mod lifetime;
mod replay;
mod retry_after;
mod settled;

pub mod propagation;
pub mod respond;

pub use authority::ByAuthority;
pub use classify::ByStatus;
pub use lifetime::{ByExtension, HeldBody, Judge, LongLived};
pub use replay::{ByMethod, KeptRequest};
pub use settled::{Detaching, SettledBody};
