//! Which endpoints the attempts of a call have tried, so that a retry goes to another one.
//!
//! The retry layer and the balancer do not know each other. The balancer notes the endpoint of an attempt in the call scope. The retry
//! layer takes it from there, and attaches the list to the attempts that follow. A first attempt allocates nothing.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::ground::scope::attachment::{self, Attached, Slot};

/// The endpoints of the attempts so far, by their process-wide number.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptedEndpoints(Vec<NonZeroU64>);

impl AttemptedEndpoints {
    /// The list of the current call, if it is a retry.
    #[inline]
    pub(crate) fn current() -> Option<Arc<Self>> {
        attachment::attached(Slot::AttemptedEndpoints)
    }

    /// Attaches the list to the attempt that is made or polled, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(list: &Arc<Self>) -> Attached {
        attachment::attach(Slot::AttemptedEndpoints, Some(list))
    }

    pub(crate) fn add(&mut self, endpoint: NonZeroU64) {
        if !self.0.contains(&endpoint) {
            self.0.push(endpoint);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, endpoint: NonZeroU64) -> bool {
        self.0.contains(&endpoint)
    }
}
