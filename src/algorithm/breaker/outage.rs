//! The data of an outage while it lasts. Refusals read it without a lock.

use super::mode::Mode;
use crate::ground::error::{Numbers, Trip, TripCause};
use crate::ground::time::Instant;

/// An outage begins when the breaker opens, and ends when it closes. All breaks and probes in between belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    since: Instant,
    /// The end of the current or last break; none if the breaker was forced open.
    until: Option<Instant>,
    trip: Trip,
    breaks: u32,
}

impl Outage {
    /// An outage that calls have opened.
    pub(super) fn new(trip: Trip, now: Instant, until: Instant) -> Self {
        Self { since: now, until: Some(until), trip, breaks: 1 }
    }

    /// An outage that an operator has opened.
    pub(super) fn forced(now: Instant) -> Self {
        Self { since: now, until: None, trip: Trip::by(TripCause::ForcedOpen), breaks: 0 }
    }

    /// Probes have failed, and another break begins. `is_unreachable`: all of them were refused at once.
    pub(super) fn add_break(&mut self, until: Instant, is_unreachable: bool) {
        self.breaks = self.breaks.saturating_add(1);
        self.trip.is_unreachable = is_unreachable;
        self.until = Some(until);
    }

    /// The break is over, possibly early.
    pub(super) fn end_break(&mut self, now: Instant) {
        self.until = Some(now);
    }

    /// Whether a breaker that starts in this mode can start with this outage.
    pub(super) fn fits(&self, mode: Mode) -> bool {
        mode == Mode::ForcedOpen && self.trip.cause == TripCause::ForcedOpen
    }

    /// Calls no longer pass for want of another endpoint.
    pub(super) fn refuse_all(&mut self) {
        self.trip.is_unreachable = false;
    }

    /// Whether all that is known is that connections are refused.
    pub(super) fn is_unreachable(&self) -> bool {
        self.trip.is_unreachable
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn numbers(&self, now: Instant) -> Numbers {
        let next_probe = self.until.map(|until| until.since(now));
        Numbers::of_outage(self.trip, self.breaks, now.since(self.since), next_probe)
    }
}
