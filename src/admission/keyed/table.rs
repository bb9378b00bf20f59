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

    /// The key's state, and what had to be forgotten for it (to be dropped by the caller, unlocked). None: there is no
    /// room, and of the entries looked at none is idle.
    #[allow(clippy::type_complexity, reason = "a name for it would say less")]
    pub(super) fn get_or_make(
        &mut self,
        key: Key,
        make: impl FnOnce() -> T,
    ) -> Option<(Arc<T>, Option<(Key, Arc<T>)>)> {
        if let Some(&slot) = self.slots.get(&key) {
            self.touch(slot);
            return Some((Arc::clone(&self.slab[slot].state), None));
        }
        if self.slab.len() < self.max {
            let slot = self.slab.len();
            let state = Arc::new(make());
            self.slots.insert(key.clone(), slot);
            self.slab.push(Entry { key, state: Arc::clone(&state), later: NIL, earlier: NIL });
            self.link_first(slot);
            return Some((state, None));
        }
        let slot = self.find_idle()?;
        let state = Arc::new(make());
        self.slots.remove(&self.slab[slot].key);
        self.slots.insert(key.clone(), slot);
        let entry = &mut self.slab[slot];
        let old_key = std::mem::replace(&mut entry.key, key);
        let old_state = std::mem::replace(&mut entry.state, Arc::clone(&state));
        self.touch(slot);
        Some((state, Some((old_key, old_state))))
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
        let Entry { later, earlier, .. } = self.slab[slot];
        self.slab[later].earlier = earlier;
        match earlier {
            NIL => self.oldest = later,
            _ => self.slab[earlier].later = later,
        }
        self.link_first(slot);
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
