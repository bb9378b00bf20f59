//! Plain state machines: `(&mut self or atomics, now) -> decision`. No runtime, no clock, no lock, no randomness, no protocol.

pub(crate) mod backoff;
pub(crate) mod balance;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod chaos;
pub(crate) mod estimate;
pub(crate) mod evidence;
pub(crate) mod fair_share;
pub(crate) mod fallback;
pub(crate) mod gcra;
pub(crate) mod hedge;
pub(crate) mod limit;
pub(crate) mod quarantine;
pub(crate) mod queue;
pub(crate) mod quorum;
pub(crate) mod runtime_lag;
pub(crate) mod throttle;
