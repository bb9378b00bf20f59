//! What several layers share and what needs a runtime or a lock: timers, state per key, the gate.

pub(crate) mod keyed;
pub(crate) mod timer;
