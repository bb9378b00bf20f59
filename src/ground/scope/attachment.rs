//! Values with a destructor that travel with a call: see the table of the [module above](super).
//!
use std::any::Any;
use std::mem;
use std::sync::Arc;

use super::SCOPE;
use super::attachments::AttachedValue;
pub(crate) use super::attachments::AttachmentSlot;

impl AttachmentSlot {
    #[inline]
    fn is_empty(self) -> bool {
        self.with(|value| value.is_none())
    }

    fn replace(self, value: Option<AttachedValue>) -> Option<AttachedValue> {
        self.with(|before| mem::replace(before, value))
    }

    #[inline]
    fn with<T>(self, act: impl FnOnce(&mut Option<AttachedValue>) -> T) -> T {
        SCOPE.with(|scope| scope.attachments.with(self, act))
    }
}

/// Attaches `value`, or nothing, until the guard is dropped.
#[inline]
pub(crate) fn attach<T: Any + Send + Sync>(slot: AttachmentSlot, value: Option<&Arc<T>>) -> Attached {
    if value.is_none() && slot.is_empty() {
        return Attached { slot, outer: None, is_changed: false };
    }
    Attached { slot, outer: slot.replace(value.map(|value| Arc::clone(value) as _)), is_changed: true }
}

/// See [`attach`].
#[must_use]
pub(crate) struct Attached {
    slot: AttachmentSlot,
    outer: Option<AttachedValue>,
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
pub(crate) fn attached<T: Any + Send + Sync>(slot: AttachmentSlot) -> Option<Arc<T>> {
    if slot.is_empty() {
        return None;
    }
    slot.with(|value| value.clone())?.downcast().ok()
}

/// The attached value, or a default, which stays attached until it is [taken](take).
pub(crate) fn attached_or_default<T: Any + Default + Send + Sync>(slot: AttachmentSlot) -> Arc<T> {
    attached(slot).unwrap_or_else(|| {
        let value = Arc::<T>::default();
        drop(slot.replace(Some(Arc::clone(&value) as _)));
        value
    })
}

/// Whether a value is attached.
#[inline]
pub(crate) fn is_attached(slot: AttachmentSlot) -> bool {
    !slot.is_empty()
}

/// Takes the attached value, so that inner layers do not find it.
#[inline]
pub(crate) fn take<T: Any + Send + Sync>(slot: AttachmentSlot) -> Option<Arc<T>> {
    if slot.is_empty() { None } else { slot.replace(None)?.downcast().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_nest_and_are_restored() {
        let [outer, inner] = [1, 2].map(Arc::new);
        let seen = || attached::<i32>(AttachmentSlot::Report).map(|value| *value);
        assert_eq!(seen(), None);
        {
            let _outer = attach(AttachmentSlot::Report, Some(&outer));
            {
                let _none = attach::<i32>(AttachmentSlot::Report, None);
                assert_eq!(seen(), None);
                let _inner = attach(AttachmentSlot::Report, Some(&inner));
                assert_eq!((seen(), attached::<i32>(AttachmentSlot::Work)), (Some(2), None));
                assert_eq!(take::<i32>(AttachmentSlot::Report).as_deref(), Some(&2));
                assert_eq!(seen(), None, "taken");
            }
            assert_eq!(seen(), Some(1));
        }
        assert_eq!((seen(), Arc::strong_count(&outer)), (None, 1));
    }
}
