use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::state::QuarantineState;
use super::turn::HeldTurn;
use crate::algorithm::quarantine::{Cleared, Loss};
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
    state: Arc<QuarantineState>,
    /// `None` for a call that is not watched.
    key: Option<K>,
    /// What this call is allowed to do as that of a suspect.
    turn: Option<HeldTurn>,
    /// Where the call was sent last, if a balancer has noted that.
    endpoint: Option<NonZeroU64>,
    /// Where an attempt was lost last, if a balancer has noted that.
    lost_at: Option<NonZeroU64>,
    /// When the call was sent, to the endpoint that was noted last.
    sent: Instant,
    /// The response has begun.
    head: Option<Head>,
    /// A response that lasts outlives restarts of its endpoint: once it has begun, its loss says nothing.
    lasts: bool,
    deadline: CallDeadline,
    /// A call that was never polled has not begun, and is not recorded.
    polled: bool,
    over: bool,
}

/// The head of a response.
#[derive(Debug)]
struct Head {
    /// What it has cleared, and when.
    cleared: Option<(Cleared, Instant)>,
}

impl<K: Hash + fmt::Debug + Send + 'static> CallWatch<K> {
    #[inline]
    pub(super) fn new(
        state: Arc<QuarantineState>,
        key: Option<K>,
        now: Instant,
        deadline: CallDeadline,
        lasts: bool,
    ) -> Self {
        let (turn, endpoint, lost_at, head) = (None, None, None, None);
        Self { state, key, turn, endpoint, lost_at, sent: now, head, lasts, deadline, polled: false, over: false }
    }

    #[inline]
    pub(super) fn deadline(&self) -> CallDeadline {
        self.deadline
    }

    #[inline]
    pub(super) fn layer_id(&self) -> LayerId {
        self.state.instruments.layer_id()
    }

    pub(super) fn state(&self) -> &QuarantineState {
        &self.state
    }

    pub(super) fn polled(&mut self) {
        self.polled = true;
    }

    /// The call is sent at `now`.
    pub(super) fn send(&mut self, turn: Option<HeldTurn>, now: Instant) {
        (self.turn, self.sent) = (turn, now);
    }

    /// A balancer has noted where the call goes. It may have waited in the balancer's queue until `now`.
    #[inline]
    pub(super) fn note(&mut self, endpoint: Option<NonZeroU64>, now: Instant) {
        if endpoint.is_some() {
            (self.endpoint, self.lost_at, self.sent) = (endpoint, None, now);
        }
    }

    /// What a balancer has noted in a poll: where the call was sent, and where an attempt was lost. If the layer is around a retry, there
    /// may be both.
    #[inline]
    pub(super) fn noted(&mut self, endpoint: Option<NonZeroU64>, lost: Option<NonZeroU64>) {
        if endpoint.is_some() || lost.is_some() {
            self.noted_any(endpoint, lost);
        }
    }

    fn noted_any(&mut self, endpoint: Option<NonZeroU64>, lost: Option<NonZeroU64>) {
        let now = time::now();
        if lost.is_none() {
            return self.note(endpoint, now);
        }
        if endpoint == lost {
            // It was lost in the same poll.
            self.note(endpoint, now);
        }
        self.count(lost, None, now);
        (self.lost_at, self.sent) = (lost, now);
        if endpoint != lost {
            // The attempt after that.
            self.note(endpoint, now);
        }
    }

    fn count(&self, endpoint: Option<NonZeroU64>, cleared: Option<Cleared>, now: Instant) {
        if let Some(key) = &self.key {
            let loss = Loss { fingerprint: self.state.hash(key), endpoint, sent: self.sent, at: now };
            self.state.lost(loss, cleared, || format!("{key:?}"));
        }
    }

    /// The layer refuses the call, which is not recorded.
    pub(super) fn refused(&mut self) {
        self.over = true;
    }

    /// The head of the response is there: the request did not kill the instance, as far as that can be told now. The turn ends, since
    /// the response may take any time from here on.
    pub(super) fn head(&mut self, verdict: Verdict) {
        if verdict == Verdict::Lost {
            return;
        }
        if is_answer(verdict) {
            self.state.answered(self.endpoint, self.sent);
        }
        let cleared = self.clear(verdict).map(|cleared| (cleared, time::now()));
        self.head = Some(Head { cleared });
        drop(self.turn.take());
    }

    fn clear(&self, verdict: Verdict) -> Option<Cleared> {
        let key = self.key.as_ref().filter(|_| matches!(verdict, Verdict::Success | Verdict::CallerFault))?;
        let fingerprint = self.turn.as_ref().map(HeldTurn::fingerprint).or_else(|| self.state.tracked(key))?;
        self.state.cleared(fingerprint, self.sent)
    }

    /// The call is lost, in its body if there is a head.
    #[cold]
    fn count_end(&mut self) {
        let now = time::now();
        let cleared = match self.head.take() {
            Some(_) if self.lasts => return,
            Some(head) => head.cleared.filter(|(_, at)| now.since(*at) <= self.state.max_turn()),
            None => None,
        };
        self.count(self.endpoint, cleared.map(|(cleared, _)| cleared), now);
    }

    /// Ends the call.
    pub(super) fn end(&mut self, verdict: Verdict) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        match verdict {
            // Unless it was counted when the balancer noted it.
            Verdict::Lost if self.lost_at.is_none() || self.lost_at != self.endpoint => self.count_end(),
            _ => drop(self.clear(verdict)),
        }
        // After the loss, so that a call that waits finds the quarantine.
        drop(self.turn.take());
        if self.polled && self.state.instruments.named().is_some() {
            observed::record(&self.state.instruments, verdict, time::now().since(self.deadline.start()));
        }
    }
}

/// Whether an answer comes from the endpoint itself. A proxy in front of an instance that has crashed answers, too, but with a failure
/// that is temporary.
fn is_answer(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::CallerFault | Verdict::Unprocessed | Verdict::Failed)
}

impl<K: Hash + fmt::Debug + Send + 'static> SealedGuard for CallWatch<K> {
    fn lasts(&mut self) {
        self.lasts = true;
    }
}

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
