//! A bounded map from the hashes of keys to states. It runs no code of the keys: the [module](super) compares them.
//!
//! # Why not `hashlink` or `lru`
//! Their caches remove the least recently used entry, whatever it holds. This table may forget only an entry that is as good as new
//! and not in use, so the search for one would stay, and so would the comparison of keys outside of the lock.
//! The search, [`batch`](Table::batch) and [`next`](Table::next) continue after a position whose entry may be gone meanwhile: a range
//! in an ordered map, which neither has. And a hash map that grows moves all entries in one step, under the lock.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};

use super::forgettable::Forgettable;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::{Ordering, fence};
use crate::ground::time::Instant;

/// How many states there are for keys without a state of their own. One bad key among them affects one in 128 of the others.
pub(crate) const SHARED: u64 = 128;

pub(super) struct Table<Key, T> {
    own: BTreeMap<EntryPosition, OwnEntry<Key, T>>,
    /// At most [`SHARED`], made on first use. Indexed by the low bits of hashes; the order of the map follows the high bits.
    shared: BTreeMap<u64, Arc<T>>,
    max: usize,
    /// Where the search for an entry to forget has stopped, as in the CLOCK algorithm. The order is that of hashes, so no caller can
    /// choose which entries are checked.
    clock_hand: EntryPosition,
    last_number: u64,
}

struct OwnEntry<Key, T> {
    key: Arc<Key>,
    state: Arc<T>,
    /// Whether it was used since the search last passed it.
    used: bool,
}

/// The hash of a key, and a number that tells apart the keys with that hash: a later insertion has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryPosition {
    hash: u64,
    number: u64,
}

impl EntryPosition {
    /// Before all others: numbers start at 1.
    pub(super) const BEGIN: Self = Self { hash: 0, number: 0 };
}

/// An entry of the table, with its `Arc`s cloned.
pub(super) struct TableEntry<Key, T> {
    pub(super) key: Arc<Key>,
    pub(super) state: Arc<T>,
    pub(super) number: u64,
}

/// The result of an insertion.
pub(super) enum Insertion<Key, T> {
    /// The state of the key.
    At(Arc<T>),
    /// This entry has the same hash and has not been compared.
    CompareFirst(TableEntry<Key, T>),
    /// This entry was forgotten to make room. Drop it unlocked, then try again.
    Forgot(TableEntry<Key, T>),
}

impl<Key, T> Table<Key, T> {
    pub(super) fn new(max: usize) -> Self {
        Self { own: BTreeMap::new(), shared: BTreeMap::new(), max, clock_hand: EntryPosition::BEGIN, last_number: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The entry with this hash that was inserted next after the one with this number.
    pub(super) fn next(&mut self, hash: u64, after: u64) -> Option<TableEntry<Key, T>> {
        let behind = (Excluded(EntryPosition { hash, number: after }), Unbounded);
        let (position, own) = self.own.range_mut(behind).next().filter(|(position, _)| position.hash == hash)?;
        own.used = true;
        Some(TableEntry { key: Arc::clone(&own.key), state: Arc::clone(&own.state), number: position.number })
    }

    pub(super) fn shared(&self) -> Vec<Arc<T>> {
        self.shared.values().cloned().collect()
    }

    /// At most `count` states after a position, and the position of the last of them if there may be more.
    pub(super) fn batch(&self, count: usize, after: EntryPosition) -> (Vec<Arc<T>>, Option<EntryPosition>) {
        let mut last = None;
        let entries = self.own.range((Excluded(after), Unbounded)).take(count);
        let states: Vec<_> = entries
            .map(|(position, own)| {
                last = Some(*position);
                Arc::clone(&own.state)
            })
            .collect();
        let is_full = states.len() == count;
        (states, last.filter(|_| is_full))
    }
}

impl<Key, T: Forgettable> Table<Key, T> {
    /// Returns a state for a key that has been compared with all entries of its hash up to the number `after`. `checks_left` is how
    /// many entries may still be checked to make room.
    pub(super) fn enter(
        &mut self,
        key: &Arc<Key>,
        hash: u64,
        after: u64,
        checks_left: &mut usize,
        now: Instant,
        make: impl Fn() -> T,
    ) -> Insertion<Key, T> {
        if let Some(known) = self.next(hash, after) {
            return Insertion::CompareFirst(known);
        }
        let share = hash % SHARED;
        if self.own.len() >= self.max {
            return match self.forget_one(now, checks_left, true) {
                Some(forgotten) => Insertion::Forgot(forgotten),
                None => Insertion::At(Arc::clone(self.shared.entry(share).or_insert_with(|| Arc::new(make())))),
            };
        }
        let state = Arc::new(make());
        if let Some(shared) = self.shared.get(&share).filter(|shared| !shared.is_as_good_as_new(now)) {
            state.inherit(shared, now);
        }
        self.last_number += 1;
        let position = EntryPosition { hash, number: self.last_number };
        self.own.insert(position, OwnEntry { key: Arc::clone(key), state: Arc::clone(&state), used: false });
        Insertion::At(state)
    }

    /// Removes one entry that is as good as new and not in use, if there are more than the bound allows.
    pub(super) fn forget_one_over_max(&mut self, now: Instant, checks_left: &mut usize) -> Option<TableEntry<Key, T>> {
        if self.own.len() > self.max { self.forget_one(now, checks_left, false) } else { None }
    }

    /// Prefers entries that were not used lately: a used entry is as good as new, too, but its estimates are of value.
    fn forget_one(&mut self, now: Instant, checks_left: &mut usize, spare_used: bool) -> Option<TableEntry<Key, T>> {
        let (mut spared, mut found) = (None, None);
        while *checks_left > 0 && found.is_none() && !self.own.is_empty() {
            for (position, own) in self.own.range_mut((Excluded(self.clock_hand), Unbounded)).take(*checks_left) {
                *checks_left -= 1;
                self.clock_hand = *position;
                if is_in_use(&own.state) || !own.state.is_as_good_as_new(now) {
                    continue;
                }
                if !(spare_used && mem::take(&mut own.used)) {
                    found = Some(*position);
                    break;
                }
                spared = spared.or(Some(*position));
            }
            if *checks_left > 0 && found.is_none() {
                // The end was reached: continue from the beginning.
                self.clock_hand = EntryPosition::BEGIN;
            }
        }
        self.remove(found.or(spared)?)
    }

    fn remove(&mut self, position: EntryPosition) -> Option<TableEntry<Key, T>> {
        let OwnEntry { key, state, .. } = self.own.remove(&position)?;
        Some(TableEntry { key, state, number: position.number })
    }
}

/// Whether a call holds the state. If none does, no call can acquire it while the table is locked. (A `Weak` does not count: no call
/// uses one.)
fn is_in_use<T>(state: &Arc<T>) -> bool {
    let in_use = Arc::strong_count(state) > 1;
    // Makes visible what the last call did to the state before it released it.
    fence(Ordering::Acquire);
    in_use
}
