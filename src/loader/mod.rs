//! Reads configuration structs from files and environment trees: every fault is reported at once, by its path.

mod draft;
mod duration;
mod fault_log;
mod load;
mod node;
mod off;
mod read_error;
mod scalar;

pub use draft::Draft;
pub(crate) use duration::HumanTime;
#[cfg(feature = "http")]
pub(crate) use load::EMPTY;
pub use load::load;
pub(crate) use off::Off;
