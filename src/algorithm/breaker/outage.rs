//! What is known of an outage while it lasts: for refusals, which read it without a lock.

use super::mode::Mode;
use crate::ground::error::{Numbers, Trip, TripCause};
use crate::ground::time::Instant;

/// An outage begins when a breaker opens, and lasts until it is closed again: all breaks and all probes are one outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    since: Instant,
    /// When the break is over, or was; none if it was forced open.
    until: Option<Instant>,
    trip: Trip,
    breaks: u32,
}

impl Outage {
    /// Opened by calls.
    pub(super) fn new(trip: Trip, now: Instant, until: Instant) -> Self {
        Self { since: now, until: Some(until), trip, breaks: 1 }
    }

    /// Opened by hand.
    pub(super) fn forced(now: Instant) -> Self {
        Self { since: now, until: None, trip: Trip::by(TripCause::ForcedOpen), breaks: 0 }
    }

    /// Probes have failed.
    pub(super) fn add_break(&mut self, until: Instant) {
        self.breaks = self.breaks.saturating_add(1);
        self.until = Some(until);
    }

    /// The break is over, maybe before its time.
    pub(super) fn end_break(&mut self, now: Instant) {
        self.until = Some(now);
    }

    /// Whether it can be that of a breaker which begins in this mode.
    pub(super) fn fits(&self, mode: Mode) -> bool {
        mode == Mode::ForcedOpen && self.trip.cause == TripCause::ForcedOpen
    }

    pub(crate) fn numbers(&self, now: Instant) -> Numbers {
        let next_probe = self.until.map(|until| until.since(now));
        Numbers::of_outage(self.trip, self.breaks, now.since(self.since), next_probe)
    }
}
