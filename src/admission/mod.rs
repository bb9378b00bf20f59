//! What layers truly share and what needs the runtime: the gate and its queue, state per key, pooled timers, the reaper, the registry.

pub(crate) mod gate;
pub(crate) mod keyed;
pub(crate) mod reaper;
pub mod registry;
pub(crate) mod timer;
pub(crate) mod woken;
