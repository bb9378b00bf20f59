//! The table of components, and components that are looked at without being owned.
//!
//! The owners of a component are its layers, services and handles: each has an `Arc` of its state. A snapshot, a publication or a
//! [`Component`](super::Component) needs one, too, while it looks, and must not keep the name taken. So the looks are counted, and a
//! component has an owner as long as it has more `Arc`s than looks. Both numbers change together: an `Arc` to look with is made and
//! given up under the registry's lock. If it is the last one, the state is moved out of it there, and dropped unlocked.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::observed::Observed;
#[cfg(feature = "metrics")]
use super::publications::Publications;
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};
#[cfg(feature = "metrics")]
use crate::telemetry::Publisher;

/// What the handles of a registry share.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) components: Mutex<BTreeMap<Key, Entry>>,
    #[cfg(feature = "metrics")]
    pub(super) publications: Publisher<Publications>,
}

pub(super) type Key = (Arc<str>, LayerKind);

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        lock(&self.components)
    }

    /// Those that are there. To be dropped unlocked.
    pub(super) fn look(self: &Arc<Self>) -> Vec<Held> {
        self.lock().values().filter_map(|entry| entry.look(self)).collect()
    }
}

/// A component in the registry's table. All methods are called under the registry's lock.
pub(super) struct Entry {
    /// Tells it from others that have had the name.
    pub(super) token: u64,
    observed: Weak<dyn Observed>,
    looks: Arc<AtomicUsize>,
}

impl Entry {
    pub(super) fn new(token: u64, observed: &Arc<dyn Observed>) -> Self {
        Self { token, observed: Arc::downgrade(observed), looks: Arc::default() }
    }

    pub(super) fn has_owner(&self) -> bool {
        self.observed.strong_count() > self.looks.load(Ordering::Relaxed)
    }

    pub(super) fn look(&self, registry: &Arc<Inner>) -> Option<Held> {
        let observed = if self.has_owner() { self.observed.upgrade()? } else { return None };
        Some(Held::new(observed, Arc::clone(&self.looks), Arc::downgrade(registry)))
    }
}

/// A component to look at. Dropping it locks the registry.
pub(super) struct Held {
    /// `Some` until it is dropped.
    observed: Option<Arc<dyn Observed>>,
    looks: Arc<AtomicUsize>,
    registry: Weak<Inner>,
}

impl Held {
    /// Under the registry's lock.
    fn new(observed: Arc<dyn Observed>, looks: Arc<AtomicUsize>, registry: Weak<Inner>) -> Self {
        looks.fetch_add(1, Ordering::Relaxed);
        Self { observed: Some(observed), looks, registry }
    }
}

impl Deref for Held {
    type Target = dyn Observed;

    fn deref(&self) -> &Self::Target {
        match &self.observed {
            Some(observed) => &**observed,
            None => unreachable!("taken by drop only"),
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        let registry = self.registry.upgrade();
        let _components = registry.as_ref().map(|registry| registry.lock());
        let observed = self.observed.clone();
        self.looks.fetch_add(1, Ordering::Relaxed);
        Self { observed, looks: Arc::clone(&self.looks), registry: Weak::clone(&self.registry) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let registry = self.registry.upgrade();
        let last = {
            let _components = registry.as_ref().map(|registry| registry.lock());
            self.looks.fetch_sub(1, Ordering::Relaxed);
            self.observed.take().and_then(|observed| observed.release())
        };
        foreign(|| drop(last));
    }
}
