//! The table of components, and references to components that do not own them.
//!
//! The owners of a component are its layers, services and handles: each has an `Arc` of its state. A snapshot, a publication or a
//! [`Component`](super::Component) needs an `Arc` too while it reads, and must not keep the name taken. So these references are
//! counted, and a component has an owner as long as it has more `Arc`s than references. Both numbers change together: a reference is
//! made and released under the registry's lock. If it holds the last `Arc`, the state is moved out there and dropped unlocked.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::observed::Observed;
#[cfg(feature = "metrics")]
use super::publications::{Publications, Unpublished};
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};
#[cfg(feature = "metrics")]
use crate::telemetry::Publisher;

/// The state that the handles of a registry share.
#[derive(Default)]
pub(super) struct SharedRegistry {
    pub(super) components: Mutex<BTreeMap<NameAndKind, ComponentEntry>>,
    #[cfg(feature = "metrics")]
    pub(super) publications: Publisher<Publications>,
    #[cfg(feature = "metrics")]
    pub(super) unpublished: Unpublished,
}

pub(super) type NameAndKind = (Arc<str>, LayerKind);

impl SharedRegistry {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<NameAndKind, ComponentEntry>> {
        lock(&self.components)
    }

    /// References to all components that have an owner. Drop them unlocked.
    pub(super) fn live(self: &Arc<Self>) -> Vec<ComponentRef> {
        self.lock().values().filter_map(|entry| entry.get(self)).collect()
    }
}

/// A component in the registry's table. All methods are called under the registry's lock.
pub(super) struct ComponentEntry {
    /// Tells it apart from earlier components of the same name.
    pub(super) token: u64,
    observed: Weak<dyn Observed>,
    refs: Arc<AtomicUsize>,
}

impl ComponentEntry {
    pub(super) fn new(token: u64, observed: &Arc<dyn Observed>) -> Self {
        Self { token, observed: Arc::downgrade(observed), refs: Arc::default() }
    }

    pub(super) fn has_owner(&self) -> bool {
        self.observed.strong_count() > self.refs.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, registry: &Arc<SharedRegistry>) -> Option<ComponentRef> {
        let observed = if self.has_owner() { self.observed.upgrade()? } else { return None };
        Some(ComponentRef::new(observed, Arc::clone(&self.refs), Arc::downgrade(registry)))
    }
}

/// A counted reference to a component. Dropping it locks the registry.
pub(super) struct ComponentRef {
    /// `Some` until it is dropped.
    observed: Option<Arc<dyn Observed>>,
    refs: Arc<AtomicUsize>,
    registry: Weak<SharedRegistry>,
}

impl ComponentRef {
    /// Call this under the registry's lock.
    fn new(observed: Arc<dyn Observed>, refs: Arc<AtomicUsize>, registry: Weak<SharedRegistry>) -> Self {
        refs.fetch_add(1, Ordering::Relaxed);
        Self { observed: Some(observed), refs, registry }
    }
}

impl Deref for ComponentRef {
    type Target = dyn Observed;

    fn deref(&self) -> &Self::Target {
        match &self.observed {
            Some(observed) => &**observed,
            None => unreachable!("taken by drop only"),
        }
    }
}

impl Clone for ComponentRef {
    fn clone(&self) -> Self {
        let registry = self.registry.upgrade();
        let _components = registry.as_ref().map(|registry| registry.lock());
        let observed = self.observed.clone();
        self.refs.fetch_add(1, Ordering::Relaxed);
        Self { observed, refs: Arc::clone(&self.refs), registry: Weak::clone(&self.registry) }
    }
}

impl Drop for ComponentRef {
    fn drop(&mut self) {
        let registry = self.registry.upgrade();
        let last = {
            let _components = registry.as_ref().map(|registry| registry.lock());
            self.refs.fetch_sub(1, Ordering::Relaxed);
            self.observed.take().and_then(|observed| observed.release())
        };
        foreign(|| drop(last));
    }
}
