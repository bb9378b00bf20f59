//! A permit at work: where it is while the call goes on, and what its time says when the call is over.

use std::sync::Arc as Shared;
use std::time::Duration;

use crate::admission::gate::{Gate, Permit};
use crate::algorithm::estimate::Took;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, Verdict};
use crate::layers::core::observed;
use crate::layers::permits::upload::Upload;

/// Where the permit of a call is.
#[derive(Debug)]
pub(crate) enum PermitState {
    Own(Permit),
    /// Work that may outlive the call holds it as well.
    Shared(Arc<Permit>),
    /// The request body gives it back while it waits for the client.
    Lent(Arc<Gate>, Shared<Upload>),
    /// The call ended while its permit was given back.
    Away(Arc<Gate>),
}

impl PermitState {
    pub(crate) fn gate(&self) -> &Gate {
        match self {
            Self::Own(permit) => permit.gate(),
            Self::Shared(permit) => permit.gate(),
            Self::Lent(gate, _) | Self::Away(gate) => gate,
        }
    }

    /// Another holder of the permit, which is taken over the limit while it is lent and away. `None` if there is none to hold.
    pub(crate) fn share(permit_state: &mut Option<Self>) -> Option<Arc<Permit>> {
        let shared = match permit_state.take()? {
            Self::Own(permit) => Arc::new(permit),
            Self::Shared(permit) => permit,
            other => {
                let shared = if let Self::Lent(_, upload) = &other { upload.share() } else { None };
                *permit_state = Some(other);
                return shared;
            }
        };
        *permit_state = Some(Self::Shared(Arc::clone(&shared)));
        Some(shared)
    }

    /// The same without the request body, which can no longer give the permit back; and how long the call has been without.
    fn recalled(self, now: Instant) -> (Self, Duration) {
        let Self::Lent(gate, upload) = self else { return (self, Duration::ZERO) };
        let (permit, away) = upload.end(now);
        (permit.map_or(Self::Away(gate), Self::Shared), away)
    }

    fn is_cut(&self) -> bool {
        matches!(self, Self::Lent(_, upload) if upload.cut().is_some())
    }
}

/// A call that has been admitted. Dropped, the call was abandoned.
#[derive(Debug)]
pub(crate) struct Serving {
    /// None where the layer is switched off, and once the call has its answer.
    pub(crate) permit_state: Option<PermitState>,
    since: Instant,
    /// A call that nobody has ever polled says nothing about the callee, however long it was kept.
    pub(crate) polled: bool,
}

impl Serving {
    /// From the grant on; with an `upload` the request body can give the permit back for a while.
    #[inline]
    pub(crate) fn new(permit: Permit, now: Instant, upload: Option<Shared<Upload>>) -> Self {
        let permit_state = match upload {
            None => PermitState::Own(permit),
            Some(upload) => {
                let gate = Arc::clone(permit.gate());
                upload.lend(permit);
                PermitState::Lent(gate, upload)
            }
        };
        Self { permit_state: Some(permit_state), since: now, polled: false }
    }

    /// Of a layer that is switched off.
    pub(crate) fn free(now: Instant) -> Self {
        Self { permit_state: None, since: now, polled: false }
    }

    /// The head of the answer is there. If the rest may go on beyond the deadline, only the time to the head had to fit into it.
    #[inline]
    pub(crate) fn answered(mut self, now: Instant, deadline: CallDeadline, layer_id: LayerId) -> Hold {
        let (mut permit_state, mut since, mut is_cut) = (self.permit_state.take(), self.since, false);
        if matches!(permit_state, Some(PermitState::Lent(..))) {
            is_cut = permit_state.as_ref().is_some_and(PermitState::is_cut);
            let recalled = permit_state.take().map(|permit_state| permit_state.recalled(now));
            since = since + recalled.as_ref().map_or(Duration::ZERO, |(_, away)| *away);
            permit_state = recalled.map(|(permit_state, _)| permit_state);
        }
        let head_at = deadline.has_end().then_some(now);
        Hold { permit_state, since, head_at, deadline, layer_id, is_cut }
    }
}

impl Drop for Serving {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit_state) = self.permit_state.take() {
            let now = time::now();
            let (permit_state, away) = permit_state.recalled(now);
            if self.polled {
                let held = now.since(self.since).saturating_sub(away);
                record(&permit_state, now, Verdict::Abandoned, held.into());
            }
        }
    }
}

/// A call has ended: what it says is learned, and told.
#[inline]
fn record(permit_state: &PermitState, now: Instant, verdict: Verdict, took: Took) {
    let gate = permit_state.gate();
    gate.record(now, verdict, took);
    observed::record(gate.instruments(), verdict, took.held);
}

/// A permit that lives in a response until the call is over.
#[derive(Debug)]
pub struct Hold {
    /// Gone once it is settled.
    permit_state: Option<PermitState>,
    since: Instant,
    /// When the head was there, if only that had to fit into the deadline.
    head_at: Option<Instant>,
    deadline: CallDeadline,
    layer_id: LayerId,
    /// The request's body was cut: whatever came of the call, it was the client's doing.
    is_cut: bool,
}

impl Hold {
    #[inline]
    fn end(&mut self, now: impl FnOnce() -> Instant, verdict: Verdict) {
        if let Some(permit_state) = self.permit_state.take() {
            let (now, verdict) = (now(), if self.is_cut { Verdict::Ignored } else { verdict });
            let held = now.since(self.since);
            let needed = self.head_at.map_or(held, |head_at| head_at.since(self.since));
            record(&permit_state, now, verdict, Took { held, needed });
        }
    }
}

impl Guard for Hold {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        // In the moment of the answer its reading is handed over to us.
        self.end(scope::call_start, verdict);
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.layer_id, &self.deadline)
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        self.end(time::now, Verdict::Abandoned);
    }
}
