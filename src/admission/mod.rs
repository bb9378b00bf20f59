//! What layers truly share and what needs the runtime: the gate and its queue, state per key, pooled timers, the reaper.

pub(crate) mod gate;
pub(crate) mod keyed;
#[cfg(feature = "http")]
pub(crate) mod reaper;
pub(crate) mod timer;
