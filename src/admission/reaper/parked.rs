//! What the reaper visits.

use crate::ground::time::Instant;

/// Something that must not be kept for ever.
pub(crate) trait Parked: Send + Sync {
    /// Lets go of what is kept if its time is over at `now`. Asked when it is due; it must not block.
    fn visit(&self, now: Instant) -> Visit;
}

/// What follows on a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// There is nothing left to cut.
    Done,
    /// It is to be visited again at this time.
    Again(Instant),
}
