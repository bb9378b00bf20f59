//! The trait of what the reaper visits.

use crate::ground::time::Instant;

/// An object that must not be kept without bound.
pub(crate) trait Parked: Send + Sync {
    /// Releases what is kept if its deadline has passed at `now`. Called when it is due; it must not block.
    fn visit(&self, now: Instant) -> Visit;
}

/// The result of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// There is nothing left to cut.
    Done,
    /// Visit it again at this time.
    Again(Instant),
}
