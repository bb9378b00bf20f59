//! Components that are looked at without being owned.
//!
//! The owners of a component are its layers, services and handles: each has an `Arc` of its state. A snapshot, a publication or a
//! [`Component`](super::Component) needs one, too, while it looks, and must not keep the name taken. So the looks are counted, and a
//! component has an owner as long as it has more `Arc`s than looks. Both numbers change together: an `Arc` to look with is made and
//! given up under the registry's lock. If it is the last one, the state is moved out of it there, and dropped unlocked.

use std::any::Any;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::{Inner, Observed};
use crate::ground::sync::foreign;

/// Gives up an `Arc` without dropping what is in it.
pub(crate) trait Release {
    /// What was in it, if it was the last one.
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>>;
}

impl<T: 'static> Release for T {
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>> {
        Arc::into_inner(self).map(|state| Box::new(state) as _)
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
