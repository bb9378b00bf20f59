//! Requests whose bodies wait for the client: they hold no permit meanwhile, and have a bound.

mod body;
mod layer;

pub use body::UploadBody;
pub(crate) use layer::{DEFAULT_IDLE_SHARE, check_idle_share};
pub use layer::{UploadFuture, UploadLayer, UploadService};
