//! The circuit breaker: when to stop calling a dependency that fails, and how to resume.
//!
//! ```text
//!              too many failures, slow calls, or consecutive bad calls; no answers
//!   Closed ──────────────────────────────────────────────────────────▶ Open ◀─┐
//!      ▲                                  the break is over, or enough calls   │ too many probes fail or hang,
//!      │  enough probes were good                  were refused in it ▼        │ or none is answered
//!      └───────────────────────────────────────────────────────── HalfOpen ────┘
//! ```
//!
//! The owner may end a break early, too: when the dependency has answered something else than a call, such as an active check.
//!
//! Each transition begins a new *generation*, and each call carries the generation in which it was admitted. A call of an older
//! generation is stale, and cannot change the state.
//!
//! # What is counted
//! A [`Machine`] is one plain struct. While it is closed, its [`watch`] has:
//!
//! | what | for | where |
//! |---|---|---|
//! | the outcomes of the last calls | the failure rate, the slow rate | [`window`] |
//! | the calls in flight by age | hanging calls, before they end | [`ages`] |
//! | consecutive calls without a good answer, and the time of the last good one | outages that a window full of earlier good calls would outvote | [`streak`] |
//! | the median latency of successes | the slow threshold | [`median`] |
//!
//! While it is [`half_open`], it has the probes and their answers. The counts of the closed state begin again when it closes.
//!
//! # When it trips
//! Five conditions open the breaker:
//!
//! | condition | when | over |
//! |---|---|---|
//! | too many failures | the share of failures reaches the failure rate | the window |
//! | too many slow calls | the share of slow calls reaches the slow rate; calls in flight past the threshold are among them | the window |
//! | a streak | as many failures as the policy allows, with no good answer between them | the time since the last good answer |
//! | no answers | as many unanswered calls as a rate needs, and nothing good for the slow threshold | the same |
//! | a stall | as many calls in flight past the threshold or without a good answer as a rate needs, and nothing good for the threshold | the same |
//!
//! No answers and a stall are detected at once: a window full of earlier good calls would outvote a dependency that hangs for most of its
//! length. The page of [`watch`] says when the calls in flight are checked, and how a hang of the dependency is told from a pause of this
//! process.
//!
//! The conditions avoid false alarms as much as they detect outages. A call is *slow*, by default, relative to the usual latency of the
//! dependency's successes, and this reference follows the dependency: if it answers five times slower under load, the reference rises;
//! if it hangs, there are no answers, and the reference stays.
//!
//! # What the lock costs
//! The owner keeps the machine under a mutex. A call of a closed breaker takes it three times for a few dozen instructions: when it
//! is admitted, when its head arrives, and when it ends. `cargo bench -p seawall-benches --bench breaker` compares that with packed
//! atomic words, which this module had before. Both are models that count the same, without the settings and the telemetry of the
//! layer; the figures are nanoseconds of a call beside 650 ns of other work, of two runs on two cores. `wall` includes the waits for
//! the lock:
//!
//! | threads | mutex, processor time | atomic words | mutex, wall | atomic words |
//! |---|---|---|---|---|
//! | 1 | 22, 23 | 20, 20 | 22 | 20 |
//! | 2 | 46, 26 | 47, 22 | 46, 224 | 58, 323 |
//! | 4 | 47, 30 | 44, 28 | 33, 90 | 43, 86 |
//!
//! The words win less than 1 % of the call, far from the tenth that would justify them. With nothing else between two calls, two
//! threads that share one breaker do wait for each other: the row `circuit_breaker` of `cost`, contended, is 650 ns instead of 400.
//! Nothing was measured on more than two cores; a breaker for each key or endpoint has a lock of its own.
//!
//! Refusals take no lock. After each step of the machine its owner publishes what calls may do without it ([`Published`]), and
//! [`Refusals`] decides from that, from plain counters and from the call's own time. None of these words is packed.

mod ages;
mod closed;
mod detect;
mod half_open;
mod machine;
mod median;
mod mode;
mod outage;
mod pass;
mod policy;
mod refusals;
mod state;
mod streak;
mod time_left;
mod watch;
mod window;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use detect::Detection;
pub(crate) use machine::{Machine, Moment};
pub(crate) use mode::Mode;
pub(crate) use outage::Outage;
pub(crate) use pass::{Admission, ClosedCall, Entry, Pass, Probe};
pub(crate) use policy::{BreakerPolicy, SlowAfter};
pub(crate) use refusals::{Break, Published, Refusals, WithoutLock};
pub use state::State;
pub(crate) use state::Transition;
pub(crate) use window::{MAX_CALLS, OutcomeWindow, Span};
