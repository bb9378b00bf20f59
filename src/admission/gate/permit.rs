use super::state::Gate;
use crate::ground::sync::Arc;

/// As many permits as a call weighs, released on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) gate: Arc<Gate>,
    pub(super) weight: u32,
}

impl Permit {
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.weight > 0 {
            self.gate.release(self.weight);
        }
    }
}
