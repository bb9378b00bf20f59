//! Reads configuration structs from files and environment trees: every fault is reported at once, by its path.

mod draft;
mod duration;
mod load;
mod node;
mod notes;
mod off;
mod scalar;
mod stumble;

pub use draft::Draft;
pub(crate) use duration::HumanTime;
#[cfg(feature = "http")]
pub(crate) use load::EMPTY;
pub use load::load;
pub(crate) use off::Off;
