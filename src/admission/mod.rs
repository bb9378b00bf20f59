//! What layers truly share and what needs the runtime: the gate and its queue, state per key, pooled timers.

pub(crate) mod gate;
pub(crate) mod keyed;
pub(crate) mod timer;
