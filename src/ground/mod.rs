//! What everything else stands on: time, chance, verdict, context, error, telemetry.

pub(crate) mod chance;
pub(crate) mod sync;
pub(crate) mod time;
