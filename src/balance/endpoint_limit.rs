//! The limit of an endpoint that its refusals show. Nearly all answers change nothing, and take no lock.

use crate::algorithm::balance::{RefusalLimit, UNLIMITED};
use crate::ground::sync::atomic::{AtomicU32, Ordering};
use crate::ground::sync::{Mutex, lock};

/// What a choice reads of it.
#[derive(Debug)]
pub(super) struct EndpointLimit(AtomicU32);

/// See the module.
#[derive(Debug)]
pub(super) struct LimitLearning {
    unmoved_up_to: AtomicU32,
    law: Mutex<RefusalLimit>,
}

impl EndpointLimit {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(UNLIMITED))
    }

    #[inline]
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl LimitLearning {
    pub(super) fn new() -> Self {
        Self { unmoved_up_to: AtomicU32::new(0), law: Mutex::new(RefusalLimit::default()) }
    }

    /// See [`RefusalLimit::answered`].
    #[inline]
    pub(super) fn answered(&self, level: u32, limit: &EndpointLimit) {
        if level > self.unmoved_up_to.load(Ordering::Relaxed) {
            self.change(limit, |law| law.answered(level));
        }
    }

    /// See [`RefusalLimit::refused`].
    #[cold]
    pub(super) fn refused(&self, level: u32, limit: &EndpointLimit) -> bool {
        self.change(limit, |law| law.refused(level))
    }

    #[cold]
    fn change<T>(&self, limit: &EndpointLimit, change: impl FnOnce(&mut RefusalLimit) -> T) -> T {
        let mut law = lock(&self.law);
        let output = change(&mut law);
        // Under the lock, so that the later of two changes stays.
        limit.0.store(law.limit(), Ordering::Relaxed);
        self.unmoved_up_to.store(law.unmoved_up_to(), Ordering::Relaxed);
        output
    }
}
