//! The turn of a suspect, and the wait for it. Both are given back on drop.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use super::state::{NotSent, QuarantineState};
use super::waiting::WaitingPosition;
use crate::algorithm::quarantine::Turn;
use crate::ground::time::Instant;

/// The turn that a call has.
pub(super) struct HeldTurn {
    state: Arc<QuarantineState>,
    fingerprint: u64,
    turn: Turn,
}

impl HeldTurn {
    pub(super) fn new(state: Arc<QuarantineState>, fingerprint: u64, turn: Turn) -> Self {
        Self { state, fingerprint, turn }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        self.state.pass_on(self.fingerprint, self.turn);
    }
}

impl fmt::Debug for HeldTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldTurn").field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// A call that waits for the turn.
pub(super) struct WaitingForTurn {
    state: Arc<QuarantineState>,
    fingerprint: u64,
    position: WaitingPosition,
}

impl WaitingForTurn {
    /// `None` if too many calls wait.
    pub(super) fn new(state: &Arc<QuarantineState>, fingerprint: u64) -> Option<Self> {
        let position = state.enter(fingerprint)?;
        Some(Self { state: Arc::clone(state), fingerprint, position })
    }

    /// See [`QuarantineState::ask`].
    pub(super) fn ask(&self, waker: Waker, now: Instant) -> Result<Option<HeldTurn>, NotSent> {
        let turn = self.state.ask(self.fingerprint, self.position, waker, now)?;
        Ok(turn.map(|turn| HeldTurn::new(Arc::clone(&self.state), self.fingerprint, turn)))
    }
}

impl Drop for WaitingForTurn {
    fn drop(&mut self) {
        self.state.leave(self.fingerprint, self.position);
    }
}

impl fmt::Debug for WaitingForTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingForTurn").field("position", &self.position).finish_non_exhaustive()
    }
}
