//! The entries of a reaper, by due time.
//!
//! # Why not `tokio_util::time::DelayQueue`
//! In which order it returns entries that are due together depends on how far ahead they were inserted (tokio-util 0.7.20: the
//! youngest first at 10 ms, the oldest first at 1 s); here the youngest is always first, as the [module](super) says. It panics if
//! an entry is due in more than 2^36 ms, about two years, and a deadline may be ten years ahead. It clones and wakes the task's
//! waker in methods that would run under the schedule's lock. It reuses keys, so the slab and the entry numbers would still be needed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::parked::Parked;
use crate::ground::time::{self, Instant};

/// How late a cut may be.
pub(crate) const GRAIN: Duration = Duration::from_millis(10);

/// An entry of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryId {
    index: usize,
    /// Tells the entry apart from earlier ones with the same index.
    number: u64,
}

/// The entries by due time. Each operation takes logarithmic time, and none is deferred: a later sweep would hold the lock while all
/// others wait for it. A removal among 2^18 entries compares at most 128 keys, however many were removed before, which
/// `removal_cost_is_independent_of_earlier_removals` holds. Removal in constant time (a timer wheel, or tombstones in a heap) would have
/// to be swept.
#[derive(Default)]
pub(super) struct Schedule {
    watched: Slab<WatchedEntry>,
    /// The entries that wait to become due.
    order: BTreeMap<DueOrder, usize>,
    entered: u64,
}

struct WatchedEntry {
    parked: Arc<dyn Parked>,
    number: u64,
    /// When it is due, rounded up. `None` while it is being visited.
    due: Option<Instant>,
}

/// The earliest comes first; of the same time, the youngest.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), derive(PartialOrd, Ord))]
pub(super) struct DueOrder {
    due: Instant,
    number: Reverse<u64>,
}

impl Schedule {
    pub(super) fn insert(&mut self, parked: Arc<dyn Parked>, due: Instant) -> EntryId {
        self.entered += 1;
        let (number, due) = (self.entered, rounded_up(due));
        let index = self.watched.insert(WatchedEntry { parked, number, due: Some(due) });
        self.order.insert(DueOrder { due, number: Reverse(number) }, index);
        EntryId { index, number }
    }

    /// Removes an entry. The caller drops what is returned, unlocked.
    #[must_use]
    pub(super) fn remove(&mut self, entry: EntryId) -> Option<Arc<dyn Parked>> {
        self.watched.get(entry.index).filter(|watched| watched.number == entry.number)?;
        let removed = self.watched.try_remove(entry.index)?;
        if let Some(due) = removed.due {
            self.order.remove(&DueOrder { due, number: Reverse(removed.number) });
        }
        Some(removed.parked)
    }

    /// The next entry that is due at `now`. It stays in the schedule without a due time, until [`again`](Self::again).
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(EntryId, Arc<dyn Parked>)> {
        let (key, index) = self.order.first_key_value().map(|(key, index)| (*key, *index))?;
        if key.due > now {
            return None;
        }
        self.order.pop_first();
        let watched = self.watched.get_mut(index)?;
        watched.due = None;
        Some((EntryId { index, number: watched.number }, Arc::clone(&watched.parked)))
    }

    /// Sets a new due time, unless the entry was removed meanwhile.
    pub(super) fn again(&mut self, entry: EntryId, due: Instant) {
        if let Some(watched) = self.watched.get_mut(entry.index).filter(|watched| watched.number == entry.number) {
            let due = rounded_up(due);
            watched.due = Some(due);
            self.order.insert(DueOrder { due, number: Reverse(entry.number) }, entry.index);
        }
    }

    #[cfg(all(test, feature = "http", not(seawall_loom)))]
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// When the next entry is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first_key_value().map(|(key, _)| key.due)
    }
}

/// When an entry that is due at `due` is visited.
pub(crate) fn rounded_up(due: Instant) -> Instant {
    let grain = time::nanos(GRAIN);
    Instant::from_nanos(due.as_nanos().div_ceil(grain).saturating_mul(grain))
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod compared {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::DueOrder;

    thread_local! {
        /// How many keys have been compared: the cost of an operation.
        pub(in crate::admission::reaper) static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    impl Ord for DueOrder {
        fn cmp(&self, other: &Self) -> Ordering {
            COUNT.set(COUNT.get() + 1);
            (self.due, self.number).cmp(&(other.due, other.number))
        }
    }

    impl PartialOrd for DueOrder {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
}
