use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::{GRAIN, Parked};
use crate::ground::time::{self, Instant};

/// So many that have left are not worth a sweep.
const SWEPT_FROM: usize = 64;

/// Where something stands in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    index: usize,
    /// Tells the entry from others that have had its place.
    number: u64,
}

/// What is due when.
///
/// Who leaves is not looked for in the order, which would cost more than to come across what is left of him: such
/// remains are swept when they outnumber the living.
#[derive(Default)]
pub(super) struct Schedule {
    watched: Slab<Watched>,
    /// Those that wait for their time: the earliest first, and of the same time the youngest.
    order: BinaryHeap<Reverse<(Instant, Reverse<u64>, usize)>>,
    entered: u64,
    /// How many in the order have left.
    gone: usize,
}

struct Watched {
    parked: Arc<dyn Parked>,
    number: u64,
    /// Whether it waits for its time, and is not being visited.
    waits: bool,
}

impl Schedule {
    pub(super) fn enter(&mut self, parked: Arc<dyn Parked>, due: Instant) -> Entry {
        self.entered += 1;
        let number = self.entered;
        let index = self.watched.insert(Watched { parked, number, waits: true });
        self.order.push(Reverse((rounded_up(due), Reverse(number), index)));
        Entry { index, number }
    }

    /// The caller drops what is returned, unlocked.
    #[must_use]
    pub(super) fn leave(&mut self, entry: Entry) -> Option<Arc<dyn Parked>> {
        self.watched.get(entry.index).filter(|watched| watched.number == entry.number)?;
        let left = self.watched.try_remove(entry.index)?;
        self.gone += usize::from(left.waits);
        if self.gone > self.watched.len() + SWEPT_FROM {
            let Self { watched, order, .. } = self;
            order.retain(|Reverse((_, Reverse(number), index))| is_there(watched, *index, *number));
            self.gone = 0;
        }
        Some(left.parked)
    }

    /// The next one that is due at `now`. It stays, but is not due any more, until it is told to come [`again`](Self::again).
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Entry, Arc<dyn Parked>)> {
        while let Some(Reverse((_, Reverse(number), index))) = self.pop_due(now) {
            match self.watched.get_mut(index).filter(|watched| watched.number == number) {
                Some(watched) => {
                    watched.waits = false;
                    return Some((Entry { index, number }, Arc::clone(&watched.parked)));
                }
                None => self.gone -= 1,
            }
        }
        None
    }

    fn pop_due(&mut self, now: Instant) -> Option<Reverse<(Instant, Reverse<u64>, usize)>> {
        if self.order.peek().is_some_and(|Reverse((due, ..))| *due <= now) { self.order.pop() } else { None }
    }

    /// Unless it has left meanwhile.
    pub(super) fn again(&mut self, entry: Entry, due: Instant) {
        if let Some(watched) = self.watched.get_mut(entry.index).filter(|watched| watched.number == entry.number) {
            watched.waits = true;
            self.order.push(Reverse((rounded_up(due), Reverse(entry.number), entry.index)));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(&Reverse((due, Reverse(number), index))) = self.order.peek() {
            if is_there(&self.watched, index, number) {
                return Some(due);
            }
            self.order.pop();
            self.gone -= 1;
        }
        None
    }
}

fn is_there(watched: &Slab<Watched>, index: usize, number: u64) -> bool {
    watched.get(index).is_some_and(|watched| watched.number == number)
}

fn rounded_up(due: Instant) -> Instant {
    let grain = time::nanos(GRAIN);
    Instant::from_nanos(due.as_nanos().div_ceil(grain).saturating_mul(grain))
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("watched", &self.watched.len())
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}
