//! The circuit breaker: when to stop calling a dependency that fails, and how to resume.
//!
//! It has two parts. [`Watch`] is the lock-free path of calls while the breaker is closed. [`Machine`] holds the states and their
//! transitions, which are rare; its owner keeps it under a lock and publishes each state to the watch.
//!
//! ```text
//!              too many failures, slow calls, or consecutive bad calls; no answers
//!   Closed ──────────────────────────────────────────────────────────▶ Open ◀─┐
//!      ▲                                  the break is over, or enough calls   │ too many probes fail or hang,
//!      │  enough probes were good                  were refused in it ▼        │ or none is answered
//!      └───────────────────────────────────────────────────────── HalfOpen ────┘
//! ```
//!
//! Each transition begins a new *generation*, and each call carries the generation in which it was admitted. A call of an older
//! generation is stale, and cannot change the state.
//!
//! The criteria avoid false alarms as much as they detect outages. A call is *slow*, by default, relative to the usual latency of
//! the dependency's successes, and this reference follows the dependency: if it answers five times slower under load, the reference
//! rises; if it hangs, there are no answers, and the reference stays. Calls in flight past the threshold count as slow before they
//! end. When no call is answered any more (see [`watch`]), the breaker opens without waiting until they are the majority of a
//! window full of earlier good calls.

mod detect;
mod half_open;
mod machine;
mod mode;
mod outage;
mod policy;
mod streak;
mod time_left;
mod watch;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use detect::Detection;
pub use machine::State;
pub(crate) use machine::{Admission, Machine, Moment, Probe, Transition};
pub(crate) use mode::Mode;
pub(crate) use outage::Outage;
pub(crate) use policy::{Pace, Policy, SlowAfter};
pub(crate) use watch::{Entry, Pass, Watch};
