//! How long calls wait for one of several servers, and how many are refused: the formulas of A. K. Erlang, of Pollaczek and
//! Khinchine, and of Little. Times are in seconds, rates in calls a second.
//!
//! The library needs none of them, since it measures. `tests/queueing` compares them with published tables, and the library's gates
//! with them.

pub(crate) mod erlang;
pub(crate) mod waits;

/// Little's law: how many calls are in a system that calls enter at this rate, and that each takes this time to pass.
///
/// With the time in service this is also the load that is offered to the servers: how many of them are busy if none is refused.
pub(crate) fn little(rate: f64, time: f64) -> f64 {
    rate * time
}
