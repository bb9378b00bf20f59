//! What is told: counted, measured, logged.
//!
//! Algorithms return decisions and layers act on them; what is worth telling is told here. Each layer value has
//! [`Instruments`], in which it counts by itself: an atomic or two on a call's path if it has a name, none if not. What
//! is made of that stands in one file each: `metrics` has the names of all metrics, `events` those of all trace events.

mod calls;
mod counted;
mod directory;
mod events;
mod instruments;
#[cfg(feature = "metrics")]
mod metrics;
mod refusal;
mod tally;
#[cfg(feature = "metrics")]
mod turns;

#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{Gauge, Publication, publish_process, recorder};
#[cfg(feature = "dashboard")]
pub(crate) use calls::Successes;
#[cfg(feature = "metrics")]
pub(crate) use counted::Counted;
pub(crate) use events::{AttemptSpan, NAMELESS, controlled, not_retried, reloaded, retried, transition};
#[cfg(feature = "http")]
pub(crate) use events::{answered, body_cut};
pub(crate) use instruments::Instruments;
pub(crate) use refusal::{Unreported, refuse};
#[cfg(any(feature = "metrics", feature = "dashboard"))]
pub(crate) use tally::STATES;
pub(crate) use tally::{NotRetried, Tally};
#[cfg(feature = "metrics")]
pub(crate) use turns::Turns;

/// Errors of a service that were answered: such that the answer does not tell, and such that it does.
#[cfg(feature = "http")]
static ANSWERED: [tally::Count; 2] = [const { tally::Count::new() }; 2];
