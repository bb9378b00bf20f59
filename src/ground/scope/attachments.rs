//! The values that are attached to the scope of a thread.

use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// The slots of the attachments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttachmentSlot {
    /// The state of the request body of the current attempt.
    RequestBody,
    /// The upload whose call may release its permit while it waits for the client.
    Upload,
    /// The permits that work in the current poll has requested.
    Work,
    /// The report that the caller of a retry has requested.
    Report,
    /// The endpoints that earlier attempts of the call have tried.
    AttemptedEndpoints,
    /// The balancer that follows the stream of endpoints which is polled.
    Follower,
}

const SLOTS: usize = 6;

pub(super) type AttachedValue = Arc<dyn Any + Send + Sync>;

/// The values, by slot. Guards remove what they have attached, so a thread that ends has none left. That is why the scope needs no
/// destructor, which would cost every access to it.
pub(super) struct Attachments(ManuallyDrop<RefCell<[Option<AttachedValue>; SLOTS]>>);

impl Attachments {
    pub(super) const fn new() -> Self {
        Self(ManuallyDrop::new(RefCell::new([const { None }; SLOTS])))
    }

    /// `act` must not run foreign code: the slots are borrowed.
    #[inline]
    pub(super) fn with<T>(&self, slot: AttachmentSlot, act: impl FnOnce(&mut Option<AttachedValue>) -> T) -> T {
        act(&mut self.0.borrow_mut()[slot as usize])
    }
}
