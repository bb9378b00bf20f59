//! The circuit breaker: when to stop asking a callee that fails, and how to begin again.
//!
//! In two parts. [`Watch`] is the path of a call while all is well: atomics only, no lock. [`Machine`] knows the states and moves
//! between them, `&mut`, which happens rarely; its owner keeps it under a lock and publishes each state to the watch.
//!
//! ```text
//!              too many failures, slow calls, or bad calls in a row; silence
//!   Closed ──────────────────────────────────────────────────────────▶ Open ◀─┐
//!      ▲                                  the break is over, or enough calls   │ too many probes fail or hang,
//!      │  enough probes were answered well         were refused in it ▼        │ or none is answered
//!      └───────────────────────────────────────────────────────── HalfOpen ────┘
//! ```
//!
//! Each of these moves begins a new *generation*, and each call carries the generation it was admitted in: what an older
//! generation says is old news, and cannot move the present state.
//!
//! What is judged is chosen against false alarms as much as against outages. *Slow* is by default relative to what the
//! callee's successes usually take, and the measure follows the callee: one that answers five times slower under load moves
//! it, one that hangs does not, since there are no answers. Calls in flight past the threshold count as slow calls without
//! waiting for their ends, and when none is answered any more (see [`watch`]), the breaker does not wait for them to
//! become the greater part of a window full of better days.

mod detect;
mod half_open;
mod machine;
mod mode;
mod outage;
mod policy;
mod row;
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
