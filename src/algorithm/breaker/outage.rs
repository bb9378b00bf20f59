//! What is known of an outage while it lasts: for refusals, which read it without a lock.

use super::mode::Mode;
use crate::ground::error::{Numbers, Trip, TripCause};
use crate::ground::live::{Settings, pack_pair, unpack_pair};
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

/// No instant is zero.
const NONE: u64 = 0;

impl Settings<5> for Option<Outage> {
    fn pack(&self) -> [u64; 5] {
        let Some(Outage { since, until, trip, breaks }) = self else { return [NONE; 5] };
        [
            since.as_nanos(),
            until.map_or(NONE, Instant::as_nanos),
            pack_pair(trip.calls, trip.failures),
            pack_pair(trip.slow, trip.overdue),
            // The cause is a byte.
            pack_pair(trip.unanswered, (*breaks).min(u32::MAX >> 8) << 8 | u32::from(trip.cause.number())),
        ]
    }

    fn unpack([since, until, calls, slow, unanswered]: [u64; 5]) -> Self {
        if since == NONE {
            return None;
        }
        let (calls, failures) = unpack_pair(calls);
        let (slow, overdue) = unpack_pair(slow);
        let (unanswered, breaks) = unpack_pair(unanswered);
        let cause = TripCause::of_number(breaks as u8)?;
        Some(Outage {
            since: Instant::from_nanos(since),
            until: (until != NONE).then(|| Instant::from_nanos(until)),
            trip: Trip { cause, calls, failures, slow, overdue, unanswered },
            breaks: breaks >> 8,
        })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn outage_comes_back_as_it_was_packed(
            since in 1_u64..,
            until in prop::option::of(1_u64..),
            counts: [u32; 5],
            breaks in 0..1_u32 << 24,
            cause in 0..6_u8,
        ) {
            let [calls, failures, slow, overdue, unanswered] = counts;
            let cause = TripCause::of_number(cause).expect("one of six");
            let outage = Outage {
                since: Instant::from_nanos(since),
                until: until.map(Instant::from_nanos),
                trip: Trip { cause, calls, failures, slow, overdue, unanswered },
                breaks,
            };
            prop_assert_eq!(Option::unpack(Some(outage).pack()), Some(outage));
        }
    }

    #[test]
    fn no_outage_comes_back_as_none() {
        assert_eq!(Option::<Outage>::unpack(None::<Outage>.pack()), None);
    }
}
