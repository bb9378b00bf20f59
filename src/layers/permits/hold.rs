//! The permit of a call: its owner while the call runs, and the sample that it yields when the call is over.

use std::sync::Arc as Shared;
use std::time::Duration;

use crate::admission::gate::{CallTicket, Gate, Permit};
use crate::algorithm::estimate::Took;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::layers::core::observed;
use crate::layers::permits::upload::Upload;

/// The owner of a call's permit.
#[derive(Debug)]
pub(crate) enum PermitState {
    Own(Permit),
    /// Shared with work that may outlive the call.
    Shared(Arc<Permit>),
    /// Held by the request body, which returns it to the gate while it waits for the client.
    Lent(Arc<Gate>, Shared<Upload>),
    /// The call ended while its permit was returned to the gate.
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

    /// A call without a weight takes no permit, so its time is none that waiting calls wait for.
    fn is_counted(&self) -> bool {
        match self {
            Self::Own(permit) => permit.weight() > 0,
            Self::Shared(permit) => permit.weight() > 0,
            Self::Lent(..) | Self::Away(_) => true,
        }
    }

    fn ticket(&self) -> CallTicket {
        match self {
            Self::Own(permit) => permit.ticket(),
            Self::Shared(permit) => permit.ticket(),
            Self::Lent(..) | Self::Away(_) => CallTicket::default(),
        }
    }

    /// Shares the permit with another owner. If the request body has returned it to the gate, the permit is taken again, over the
    /// limit if necessary. `None` if there is no permit.
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

    /// Takes the permit from the request body, which can no longer return it to the gate. Also returns how long the call had no
    /// permit.
    fn recalled(self, now: Instant) -> (Self, Duration) {
        let Self::Lent(gate, upload) = self else { return (self, Duration::ZERO) };
        let (permit, away) = upload.end(now);
        (permit.map_or(Self::Away(gate), Self::Shared), away)
    }

    fn is_cut(&self) -> bool {
        matches!(self, Self::Lent(_, upload) if upload.cut().is_some())
    }
}

/// An admitted call. If it is dropped, the call was abandoned.
#[derive(Debug)]
pub(crate) struct Serving {
    /// `None` if the layer is disabled, and once the call has its response.
    pub(crate) permit_state: Option<PermitState>,
    since: Instant,
    /// The deadline of the answer.
    deadline: Instant,
    /// A call that was never polled says nothing about the dependency, however long it was kept.
    pub(crate) polled: bool,
}

impl Serving {
    /// Starts at the grant of the permit. With an `upload`, the request body can return the permit for a while.
    #[inline]
    pub(crate) fn new(permit: Permit, now: Instant, deadline: CallDeadline, upload: Option<Shared<Upload>>) -> Self {
        let permit_state = match upload {
            None => PermitState::Own(permit),
            Some(upload) => {
                let gate = Arc::clone(permit.gate());
                upload.lend(permit);
                PermitState::Lent(gate, upload)
            }
        };
        Self { permit_state: Some(permit_state), since: now, deadline: deadline.at(), polled: false }
    }

    /// For a layer that is disabled.
    pub(crate) fn free(now: Instant) -> Self {
        Self { permit_state: None, since: now, deadline: Instant::MAX, polled: false }
    }

    /// The head of the response has arrived. If the body may continue after the deadline, only the time to the head had to fit into
    /// it.
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
                let had = self.deadline.since(self.since).saturating_sub(away);
                record(&permit_state, now, Verdict::Abandoned, held.into(), had);
            }
        }
    }
}

/// Records the end of a call, in the estimate and in the metrics.
#[inline]
fn record(permit_state: &PermitState, now: Instant, verdict: Verdict, took: Took, had: Duration) {
    let gate = permit_state.gate();
    if permit_state.is_counted() {
        gate.record(now, verdict, took, Some(had), permit_state.ticket());
    }
    observed::record(gate.instruments(), verdict, took.held);
}

/// A permit that a response holds until the call is over.
///
/// Public only so that the types of responses can be named.
#[derive(Debug)]
pub struct Hold {
    /// `None` once it is settled.
    permit_state: Option<PermitState>,
    since: Instant,
    /// When the head arrived, if only the head had to fit into the deadline.
    head_at: Option<Instant>,
    deadline: CallDeadline,
    layer_id: LayerId,
    /// The request body was cut: whatever the result of the call, the client caused it.
    is_cut: bool,
}

impl Hold {
    #[inline]
    fn end(&mut self, now: impl FnOnce() -> Instant, verdict: Verdict) {
        if let Some(permit_state) = self.permit_state.take() {
            let (now, verdict) = (now(), if self.is_cut { Verdict::Ignored } else { verdict });
            let held = now.since(self.since);
            let needed = self.head_at.map_or(held, |head_at| head_at.since(self.since));
            let had = self.deadline.at().since(self.since);
            record(&permit_state, now, verdict, Took { held, needed }, had);
        }
    }
}

impl SealedGuard for Hold {}

impl Guard for Hold {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        // An inner layer hands over its clock read for the response.
        self.end(time::call_start, verdict);
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
