//! A fault in progress.

use std::sync::Arc;

use crate::algorithm::chaos::ActiveFaults;
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};

/// A fault in progress, counted until this is dropped.
#[derive(Debug)]
pub struct ActiveFault {
    active: Arc<ActiveFaults>,
}

impl ActiveFault {
    /// One more fault, unless there are `max`.
    pub(super) fn begin(active: &Arc<ActiveFaults>, max: u32) -> Option<Self> {
        active.try_begin(max).then(|| Self { active: Arc::clone(active) })
    }

    /// In the body of a response, which is cut at `expiry`.
    pub(crate) fn in_body(self, expiry: Expiry) -> ActiveBodyFault {
        ActiveBodyFault { _active: self, expiry }
    }
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.active.end();
    }
}

/// A fault in the body of a response, until the body is over.
#[derive(Debug)]
pub struct ActiveBodyFault {
    _active: ActiveFault,
    expiry: Expiry,
}

impl SealedGuard for ActiveBodyFault {
    /// A damaged body may never end, and would fill the cap for as long as a long-lived response may last.
    const IGNORES_LONG_LIVED: bool = true;
}

impl Guard for ActiveBodyFault {
    fn settle(self, _verdict: Verdict) {}

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}
