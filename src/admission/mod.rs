//! The primitives that layers share and that need the runtime: the gate and its queue, keyed state, timers, the reaper, the
//! registry.

pub(crate) mod gate;
pub(crate) mod keyed;
pub(crate) mod lag_probe;
pub(crate) mod pooled;
pub(crate) mod reaper;
pub mod registry;
pub(crate) mod timer;
pub(crate) mod woken;
