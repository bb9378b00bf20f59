//! The base of all other modules: time, randomness, verdict, context, error, locks, validation.

pub(crate) mod call_deadline;
pub(crate) mod chance;
pub mod context;
pub mod error;
pub(crate) mod instant;
pub(crate) mod layer_id;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod stopwatch;
pub(crate) mod sync;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod validation;
pub mod verdict;
