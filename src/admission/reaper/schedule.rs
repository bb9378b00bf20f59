use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::{GRAIN, Parked};
use crate::ground::time::{self, Instant};

/// Where something stands in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    index: usize,
    /// Tells the entry from others that have had its place.
    number: u64,
}

/// What is due when.
#[derive(Default)]
pub(super) struct Schedule {
    watched: Slab<Watched>,
    /// Those that wait for their time: the earliest first, and of the same time the youngest.
    order: BTreeSet<(Instant, Reverse<u64>, usize)>,
    entered: u64,
}

struct Watched {
    parked: Arc<dyn Parked>,
    number: u64,
    due: Instant,
}

impl Schedule {
    pub(super) fn enter(&mut self, parked: Arc<dyn Parked>, due: Instant) -> Entry {
        self.entered += 1;
        let (number, due) = (self.entered, rounded_up(due));
        let index = self.watched.insert(Watched { parked, number, due });
        self.order.insert((due, Reverse(number), index));
        Entry { index, number }
    }

    /// The caller drops what is returned, unlocked.
    #[must_use]
    pub(super) fn leave(&mut self, entry: Entry) -> Option<Arc<dyn Parked>> {
        let watched = self.watched.get(entry.index).filter(|watched| watched.number == entry.number)?;
        self.order.remove(&(watched.due, Reverse(entry.number), entry.index));
        self.watched.try_remove(entry.index).map(|watched| watched.parked)
    }

    /// The next one that is due at `now`. It stays, but is not due any more, until it is told to come [`again`](Self::again).
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Entry, Arc<dyn Parked>)> {
        let &(due, Reverse(number), index) = self.order.first().filter(|(due, ..)| *due <= now)?;
        self.order.remove(&(due, Reverse(number), index));
        let parked = Arc::clone(&self.watched.get(index)?.parked);
        Some((Entry { index, number }, parked))
    }

    /// Unless it has left meanwhile.
    pub(super) fn again(&mut self, entry: Entry, due: Instant) {
        if let Some(watched) = self.watched.get_mut(entry.index).filter(|watched| watched.number == entry.number) {
            watched.due = rounded_up(due);
            self.order.insert((watched.due, Reverse(entry.number), entry.index));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, ..)| *due)
    }
}

fn rounded_up(due: Instant) -> Instant {
    let grain = time::nanos(GRAIN);
    Instant::from_nanos(due.as_nanos().div_ceil(grain).saturating_mul(grain))
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("watched", &self.watched.len())
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}
