use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::state::State;
use super::turn::HeldTurn;
use crate::algorithm::quarantine::Loss;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::layers::core::observed;

/// Watches a call until it is over: whether it was lost, and where. It is settled once, with the verdict on the call; if it is dropped
/// instead, the call was abandoned.
///
/// Public only so that the types of responses can be named.
pub struct CallWatch<K: Hash + fmt::Debug + Send + 'static> {
    state: Arc<State>,
    /// `None` for a call that is not watched.
    key: Option<K>,
    /// What this call is allowed to do as that of a suspect.
    turn: Option<HeldTurn>,
    /// Where the call was sent last, if a balancer has noted that.
    endpoint: Option<NonZeroU64>,
    /// Where an attempt was lost last, if a balancer has noted that.
    lost_at: Option<NonZeroU64>,
    /// When the call was sent, or sent again after a loss.
    sent: Instant,
    deadline: CallDeadline,
    /// A call that was never polled has not begun, and is not recorded.
    polled: bool,
    over: bool,
}

impl<K: Hash + fmt::Debug + Send + 'static> CallWatch<K> {
    #[inline]
    pub(super) fn new(state: Arc<State>, key: Option<K>, now: Instant, deadline: CallDeadline) -> Self {
        Self { state, key, turn: None, endpoint: None, lost_at: None, sent: now, deadline, polled: false, over: false }
    }

    #[inline]
    pub(super) fn deadline(&self) -> CallDeadline {
        self.deadline
    }

    #[inline]
    pub(super) fn layer_id(&self) -> LayerId {
        self.state.instruments.layer_id()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn polled(&mut self) {
        self.polled = true;
    }

    /// The call is sent at `now`.
    pub(super) fn send(&mut self, turn: Option<HeldTurn>, now: Instant) {
        (self.turn, self.sent) = (turn, now);
    }

    /// A balancer has noted where the call goes.
    #[inline]
    pub(super) fn note(&mut self, endpoint: Option<NonZeroU64>) {
        if endpoint.is_some() {
            (self.endpoint, self.lost_at) = (endpoint, None);
        }
    }

    /// A balancer has noted that an attempt was lost. If the layer is around a retry, another attempt may follow.
    #[cold]
    pub(super) fn lost(&mut self, endpoint: Option<NonZeroU64>) {
        let now = time::now();
        self.count(endpoint, now);
        (self.lost_at, self.sent) = (endpoint, now);
    }

    fn count(&self, endpoint: Option<NonZeroU64>, now: Instant) {
        if let Some(key) = &self.key {
            let loss = Loss { fingerprint: self.state.hash(key), endpoint, sent: self.sent, at: now };
            self.state.lost(loss, || format!("{key:?}"));
        }
    }

    /// The layer refuses the call, which is not recorded.
    pub(super) fn refused(&mut self) {
        self.over = true;
    }

    /// Ends the call.
    pub(super) fn end(&mut self, verdict: Verdict) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let turn = self.turn.take();
        match (verdict, &self.key) {
            // Unless it was counted when the balancer noted it.
            (Verdict::Lost, Some(_)) if self.lost_at.is_none() || self.lost_at != self.endpoint => {
                self.count(self.endpoint, time::now());
            }
            (Verdict::Success | Verdict::CallerFault, Some(key)) => {
                let fingerprint = turn.as_ref().map(HeldTurn::fingerprint).or_else(|| self.state.tracked(key));
                if let Some(fingerprint) = fingerprint {
                    self.state.cleared(fingerprint);
                }
            }
            _ => {}
        }
        // After the loss, so that a call that waits finds the quarantine.
        drop(turn);
        if self.polled && self.state.instruments.named().is_some() {
            observed::record(&self.state.instruments, verdict, time::now().since(self.deadline.start()));
        }
    }
}

impl<K: Hash + fmt::Debug + Send + 'static> SealedGuard for CallWatch<K> {}

impl<K: Hash + fmt::Debug + Send + 'static> Guard for CallWatch<K> {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        self.end(verdict);
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.layer_id(), &self.deadline)
    }
}

impl<K: Hash + fmt::Debug + Send + 'static> Drop for CallWatch<K> {
    #[inline]
    fn drop(&mut self) {
        self.end(Verdict::Abandoned);
    }
}

impl<K: Hash + fmt::Debug + Send + 'static> fmt::Debug for CallWatch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { turn, endpoint, .. } = self;
        f.debug_struct("CallWatch").field("turn", turn).field("endpoint", endpoint).finish_non_exhaustive()
    }
}
