//! Telemetry: counters, histograms, logs.
//!
//! Algorithms return decisions, layers act on them, and this module reports them. Each layer value has [`Instruments`] with its own
//! counters: an atomic or two on a call's path if it has a name, none otherwise. `metrics` has the names of all metrics, `events`
//! those of all trace events.

mod calls;
mod counted;
mod directory;
mod events;
mod instruments;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod publisher;
mod refusal;
mod tally;

#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{Gauge, Publication, publish_process, recorder};
#[cfg(feature = "dashboard")]
pub(crate) use calls::Successes;
#[cfg(feature = "metrics")]
pub(crate) use counted::Counted;
#[cfg(feature = "dns")]
pub(crate) use events::resolution_failed;
pub(crate) use events::{
    AttemptSpan, EndpointLog, NAMELESS, SLOW, chaos_over, controlled, discovery_ended, discovery_failed,
    endpoint_checked, endpoint_controlled, endpoint_ejected, endpoint_restored, endpoints_exceeded, endpoints_rejected,
    fell_back, hedged, injected, not_fallen_back, not_hedged, not_retried, quarantined, reloaded, retried, transition,
};
#[cfg(feature = "http")]
pub(crate) use events::{answered, body_cut};
pub(crate) use instruments::Instruments;
#[cfg(feature = "metrics")]
pub(crate) use publisher::Publisher;
pub(crate) use refusal::{Unreported, refuse};
#[cfg(any(feature = "metrics", feature = "dashboard"))]
pub(crate) use tally::STATES;
pub(crate) use tally::{NoFallback, NotRetried, Tally};

/// Errors of a service that were answered: answers that do not contain the error, and answers that do.
#[cfg(feature = "http")]
static ANSWERED: [tally::Count; 2] = [const { tally::Count::new() }; 2];
