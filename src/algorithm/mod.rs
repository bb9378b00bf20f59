//! Plain state machines: `(&mut self or atomics, now) -> decision`. No runtime, no clock, no lock, no randomness, no protocol.

pub(crate) mod estimate;
pub(crate) mod queue;
pub(crate) mod slot;
