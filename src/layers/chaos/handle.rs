use std::sync::Arc;

use super::state::ChaosState;

/// Shows the faults in progress. Clones show the same layer.
#[derive(Clone, Debug)]
pub struct ChaosHandle {
    state: Arc<ChaosState>,
}

impl ChaosHandle {
    pub(super) fn new(state: Arc<ChaosState>) -> Self {
        Self { state }
    }

    /// How many faults are in progress.
    pub fn active(&self) -> u32 {
        self.state.active()
    }

    /// Whether faults are injected now: the layer is enabled, has rules, and its time is not over.
    pub fn is_on(&self) -> bool {
        self.state.is_on()
    }
}
