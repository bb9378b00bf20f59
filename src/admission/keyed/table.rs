//! A bounded map that knows which entry has been idle the longest: a hash map into a slab whose entries form a list,
//! the latest used first.

use std::collections::HashMap;
use std::hash::Hash;

use crate::ground::sync::Arc;

/// How many entries are looked at for one that is idle, so that a new key costs the same however many are in use. What is
/// found in use goes to the front (it has not been idle yet), so that the next new key looks at others.
const LOOKED_AT: usize = 32;

/// The end of the list.
const NIL: usize = usize::MAX;

pub(super) struct Table<Key, T> {
    slots: HashMap<Key, usize>,
    slab: Vec<Entry<Key, T>>,
    latest: usize,
    oldest: usize,
    max: usize,
}

struct Entry<Key, T> {
    key: Key,
    state: Arc<T>,
    later: usize,
    earlier: usize,
}

impl<Key: Hash + Eq + Clone, T> Table<Key, T> {
    pub(super) fn new(max: usize) -> Self {
        Self { slots: HashMap::new(), slab: Vec::new(), latest: NIL, oldest: NIL, max: max.min(NIL - 1) }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &Arc<T>> {
        self.slab.iter().map(|entry| &entry.state)
    }

    /// Makes room for `max` entries. What is idle and beyond them is forgotten, the longest idle first, and returned (to be
    /// dropped by the caller, unlocked); what is in use goes with later calls of [`get_or_make`](Self::get_or_make).
    pub(super) fn set_max(&mut self, max: usize) -> Vec<(Key, Arc<T>)> {
        self.max = max.min(NIL - 1);
        let mut forgotten = Vec::new();
        let mut slot = self.oldest;
        while self.slab.len() > self.max && slot != NIL {
            let next = self.slab[slot].later;
            if Arc::strong_count(&self.slab[slot].state) == 1 {
                // The last entry moves into the place that is free.
                let last = self.slab.len() - 1;
                forgotten.push(self.remove(slot));
                slot = if next == last { slot } else { next };
            } else {
                slot = next;
            }
        }
        forgotten
    }

    /// The key's state; None: there is no room, and of the entries looked at none is idle. With it, what had to be forgotten
    /// (to be dropped by the caller, unlocked).
    #[allow(clippy::type_complexity, reason = "a name for it would say less")]
    pub(super) fn get_or_make(&mut self, key: Key, make: impl FnOnce() -> T) -> (Option<Arc<T>>, Vec<(Key, Arc<T>)>) {
        let mut forgotten = Vec::new();
        if self.slab.len() > self.max {
            // There was room for more, and it was in use. The key's own state is in use now, too.
            let _ours = self.slots.get(&key).map(|&slot| Arc::clone(&self.slab[slot].state));
            while self.slab.len() > self.max {
                let Some(slot) = self.find_idle() else { break };
                forgotten.push(self.remove(slot));
            }
        }
        if let Some(&slot) = self.slots.get(&key) {
            self.touch(slot);
            return (Some(Arc::clone(&self.slab[slot].state)), forgotten);
        }
        if self.slab.len() < self.max {
            let slot = self.slab.len();
            let state = Arc::new(make());
            self.slots.insert(key.clone(), slot);
            self.slab.push(Entry { key, state: Arc::clone(&state), later: NIL, earlier: NIL });
            self.link_first(slot);
            return (Some(state), forgotten);
        }
        let idle = if self.slab.len() == self.max { self.find_idle() } else { None };
        let Some(slot) = idle else { return (None, forgotten) };
        let state = Arc::new(make());
        self.slots.remove(&self.slab[slot].key);
        self.slots.insert(key.clone(), slot);
        let entry = &mut self.slab[slot];
        let old_key = std::mem::replace(&mut entry.key, key);
        let old_state = std::mem::replace(&mut entry.state, Arc::clone(&state));
        self.touch(slot);
        forgotten.push((old_key, old_state));
        (Some(state), forgotten)
    }

    fn remove(&mut self, slot: usize) -> (Key, Arc<T>) {
        self.unlink(slot);
        let Entry { key, state, .. } = self.slab.swap_remove(slot);
        self.slots.remove(&key);
        if let Some(moved) = self.slab.get(slot) {
            let Entry { later, earlier, .. } = *moved;
            self.slots.insert(moved.key.clone(), slot);
            match later {
                NIL => self.latest = slot,
                _ => self.slab[later].earlier = slot,
            }
            match earlier {
                NIL => self.oldest = slot,
                _ => self.slab[earlier].later = slot,
            }
        }
        (key, state)
    }

    fn find_idle(&mut self) -> Option<usize> {
        for _ in 0..LOOKED_AT.min(self.slab.len()) {
            let slot = self.oldest;
            // Ours is the only one, and under the lock nobody can get another from us.
            if Arc::strong_count(&self.slab[slot].state) == 1 {
                return Some(slot);
            }
            self.touch(slot);
        }
        None
    }

    fn touch(&mut self, slot: usize) {
        if self.latest == slot {
            return;
        }
        self.unlink(slot);
        self.link_first(slot);
    }

    fn unlink(&mut self, slot: usize) {
        let Entry { later, earlier, .. } = self.slab[slot];
        match later {
            NIL => self.latest = earlier,
            _ => self.slab[later].earlier = earlier,
        }
        match earlier {
            NIL => self.oldest = later,
            _ => self.slab[earlier].later = later,
        }
    }

    fn link_first(&mut self, slot: usize) {
        let second = std::mem::replace(&mut self.latest, slot);
        let entry = &mut self.slab[slot];
        entry.later = NIL;
        entry.earlier = second;
        match second {
            NIL => self.oldest = slot,
            _ => self.slab[second].later = slot,
        }
    }
}
