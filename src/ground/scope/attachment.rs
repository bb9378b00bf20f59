//! Values with a destructor that travel with a call: see the table of the [module above](super).
//!
//! They are separate from the scope, so that a call without them touches no thread-local that needs a destructor: a word of the
//! scope has a bit for each.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use super::SCOPE;

/// The slots of the attachments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    /// The state of the request body of the current attempt.
    RequestBody,
    /// The upload whose call may release its permit while it waits for the client.
    Upload,
    /// The permits that work in the current poll has requested.
    Work,
    /// The report that the caller of a retry has requested.
    Report,
}

const SLOTS: usize = 4;

type Value = Arc<dyn Any + Send + Sync>;

thread_local! {
    static VALUES: RefCell<[Option<Value>; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

impl Slot {
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    #[inline]
    fn is_empty(self) -> bool {
        SCOPE.with(|scope| scope.attached.get()) & self.bit() == 0
    }

    fn replace(self, value: Option<Value>) -> Option<Value> {
        SCOPE.with(|scope| {
            let others = scope.attached.get() & !self.bit();
            scope.attached.set(if value.is_some() { others | self.bit() } else { others });
        });
        // While a thread ends there are no attachments.
        VALUES.try_with(|values| std::mem::replace(&mut values.borrow_mut()[self as usize], value)).ok().flatten()
    }
}

/// Attaches `value`, or nothing, until the guard is dropped.
#[inline]
pub(crate) fn attach<T: Any + Send + Sync>(slot: Slot, value: Option<&Arc<T>>) -> Attached {
    if value.is_none() && slot.is_empty() {
        return Attached { slot, outer: None, is_changed: false };
    }
    Attached { slot, outer: slot.replace(value.map(|value| Arc::clone(value) as _)), is_changed: true }
}

/// See [`attach`].
#[must_use]
pub(crate) struct Attached {
    slot: Slot,
    outer: Option<Value>,
    is_changed: bool,
}

impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        if self.is_changed {
            drop(self.slot.replace(self.outer.take()));
        }
    }
}

/// The attached value.
#[inline]
pub(crate) fn attached<T: Any + Send + Sync>(slot: Slot) -> Option<Arc<T>> {
    if slot.is_empty() {
        return None;
    }
    VALUES.try_with(|values| values.borrow()[slot as usize].clone()).ok().flatten()?.downcast().ok()
}

/// The attached value, or a default, which stays attached until it is [taken](take).
pub(crate) fn attached_or_default<T: Any + Default + Send + Sync>(slot: Slot) -> Arc<T> {
    attached(slot).unwrap_or_else(|| {
        let value = Arc::<T>::default();
        drop(slot.replace(Some(Arc::clone(&value) as _)));
        value
    })
}

/// Whether a value is attached.
#[inline]
pub(crate) fn is_attached(slot: Slot) -> bool {
    !slot.is_empty()
}

/// Takes the attached value, so that inner layers do not find it.
#[inline]
pub(crate) fn take<T: Any + Send + Sync>(slot: Slot) -> Option<Arc<T>> {
    if slot.is_empty() { None } else { slot.replace(None)?.downcast().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_nest_and_are_restored() {
        let [outer, inner] = [1, 2].map(Arc::new);
        let seen = || attached::<i32>(Slot::Report).map(|value| *value);
        assert_eq!(seen(), None);
        {
            let _outer = attach(Slot::Report, Some(&outer));
            {
                let _none = attach::<i32>(Slot::Report, None);
                assert_eq!(seen(), None);
                let _inner = attach(Slot::Report, Some(&inner));
                assert_eq!((seen(), attached::<i32>(Slot::Work)), (Some(2), None));
                assert_eq!(take::<i32>(Slot::Report).as_deref(), Some(&2));
                assert_eq!(seen(), None, "taken");
            }
            assert_eq!(seen(), Some(1));
        }
        assert_eq!((seen(), Arc::strong_count(&outer)), (None, 1));
    }
}
