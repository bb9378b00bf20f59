use std::fmt;
use std::sync::Arc;

use super::state::QuarantineState;

/// Reads how many fingerprints a [`QuarantineLayer`](super::QuarantineLayer) suspects, and forgets them.
#[derive(Clone)]
pub struct QuarantineHandle {
    state: Arc<QuarantineState>,
}

impl QuarantineHandle {
    pub(super) fn new(state: Arc<QuarantineState>) -> Self {
        Self { state }
    }

    /// How many fingerprints are suspects now, of which one call at a time is sent.
    pub fn suspects(&self) -> usize {
        self.state.counts().0
    }

    /// How many fingerprints are refused now.
    pub fn quarantined(&self) -> usize {
        self.state.counts().1
    }

    /// How many calls wait for their turn now.
    pub fn waiting(&self) -> usize {
        self.state.waiting()
    }

    /// Forgets all suspects and quarantines, and sends the calls that wait: for when the cause has been repaired.
    pub fn reset(&self) {
        self.state.reset()();
    }
}

impl fmt::Debug for QuarantineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuarantineHandle").field(&self.state).finish()
    }
}
