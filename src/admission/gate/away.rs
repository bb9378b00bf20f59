use super::state::Gate;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::Ordering;

/// A call that has returned its permit for a while; counted until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct AwayGuard {
    gate: Arc<Gate>,
}

impl Gate {
    /// How many calls may be away for each permit. A client can wait at little cost, so this is well above one. Each such call holds
    /// memory and may come back, so it is bounded.
    pub(crate) const MAX_AWAY: u32 = 16;

    /// Counts a call that is about to return its permit for a while. `None` if too many are away.
    pub(crate) fn count_away(gate: &Arc<Self>) -> Option<AwayGuard> {
        let max = gate.limit().saturating_mul(Self::MAX_AWAY);
        let more = |away: u32| (away < max).then(|| away + 1);
        gate.away.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(AwayGuard { gate: Arc::clone(gate) })
    }

    /// How many calls have returned their permits for a while.
    pub(crate) fn away(&self) -> u32 {
        self.away.load(Ordering::Acquire)
    }
}

impl Drop for AwayGuard {
    fn drop(&mut self) {
        self.gate.away.fetch_sub(1, Ordering::AcqRel);
    }
}
