//! Calls of lower priority that are served out of turn, so that none starves.

/// Each permit that a waiting call gets earns a share of one that is given out of turn: to the first waiting call of the next lower
/// priority, or to a new one, which then waits at the head.
#[derive(Debug, Default)]
pub(super) struct OutOfTurn {
    earned: f64,
}

impl OutOfTurn {
    /// Whether the next call of lower priority is served out of turn.
    pub(super) fn is_due(&self) -> bool {
        self.earned >= 1.0
    }

    /// A waiting call got its permit, and earns this share.
    pub(super) fn granted(&mut self, share: f64) {
        // Not more than one at a time: no burst of such calls.
        self.earned = (self.earned + share).min(1.0);
    }

    /// A call is served out of turn.
    pub(super) fn take(&mut self) {
        self.earned = 0.0;
    }
}
