//! What everything else stands on: time, chance, verdict, context, error, telemetry.

pub(crate) mod chance;
pub(crate) mod config;
pub mod context;
pub mod error;
pub(crate) mod live;
pub(crate) mod sync;
pub(crate) mod telemetry;
pub(crate) mod text;
pub(crate) mod time;
pub mod verdict;
