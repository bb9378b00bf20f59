//! Returns a call's permit to the gate while its request body waits for the client.
//!
//! A client that does not send what it has announced must not hold a permit that other calls need. So a call whose handler waits for
//! more of the request body returns its permit, and gets one again before the last of the body is handed on. If no permit is free,
//! the call waits for one before all new calls, but no longer than [`RESUME_WITHIN`]: then it takes one over the limit. It is
//! refused only if its deadline passes before that.
//!
//! - Data before the end of the body is handed on with or without a permit. Otherwise an upload in many frames would wait for a permit
//!   at each frame.
//! - A body that is dropped before its end, or fails, takes a permit at once, over the limit if necessary: a drop cannot wait, and the
//!   handler continues.
//! - A permit that is shared with work (see [`work`](crate::layers::permits::work)) is not returned: it would not become free, and the
//!   work may wait for the rest of the body, for which the call would need a second permit. If work asks for a permit that is
//!   returned, the permit is taken again at once.
//! - At most [`Gate::MAX_AWAY`] calls for each permit are without one at a time: each of them holds memory, and may come back. Calls
//!   beyond that keep their permits while they wait.
//! - Time without a permit is not sampled: it is the client's.
//!
//! The body and the gate do not know each other: [`Upload::offer`] passes the state from the service that wraps the body to the next
//! inner layer, as an [attachment] of the call.

use std::sync::Arc as Shared;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::admission::gate::{Admitted, AwayGuard, CallTicket, Gate, Permit, PermitRequest, Waiter};
use crate::ground::error::Rejected;
use crate::ground::scope;
use crate::ground::scope::attachment::{self, AttachmentSlot};
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::{self, Instant};
use crate::telemetry::Unreported;

/// How long a call whose body has arrived waits for a permit. The call has begun, and may hold what running calls wait for, such as
/// a pooled connection, so it must not wait for them without bound. The wait is short compared to an upload, yet long enough for
/// most permits to become free.
pub(crate) const RESUME_WITHIN: Duration = Duration::from_millis(50);

/// The state shared by a request body and the layer that admits its call.
#[derive(Debug)]
pub(crate) struct Upload {
    wanted: PermitRequest,
    state: Mutex<UploadState>,
}

#[derive(Debug, Default)]
struct UploadState {
    /// `None` until the call is admitted, and if no layer admits calls.
    gate: Option<Arc<Gate>>,
    permit: Option<Arc<Permit>>,
    /// `Some` while the permit is returned to the gate.
    away: Option<Absence>,
    was_away: Duration,
    weight: u32,
    /// Of the first permit: the time of the whole call is known, without its absences.
    ticket: CallTicket,
    /// The head of the response has arrived, or the call was dropped.
    is_over: bool,
    cut: Option<Rejected>,
}

#[derive(Debug)]
struct Absence {
    since: Instant,
    _counted: AwayGuard,
}

impl UploadState {
    fn end_absence(&mut self, now: Instant) {
        if let Some(away) = self.away.take() {
            self.was_away += now.since(away.since);
        }
    }
}

impl Upload {
    /// For a call that starts in the current context.
    pub(crate) fn new() -> Shared<Self> {
        let wanted = PermitRequest { returning: true, ..PermitRequest::new(0, &scope::current()) };
        Shared::new(Self { wanted, state: Mutex::new(UploadState::default()) })
    }

    /// Runs `call`, which calls the next inner layer, and offers the upload to that layer.
    pub(crate) fn offer<T>(upload: Shared<Self>, call: impl FnOnce() -> T) -> T {
        let _attached = attachment::attach(AttachmentSlot::Upload, Some(&upload));
        call()
    }

    /// Takes the upload that an outer service offers, if there is one.
    #[inline]
    pub(crate) fn offered() -> Option<Shared<Self>> {
        attachment::take(AttachmentSlot::Upload)
    }

    /// Stores the permit: the call is admitted.
    pub(crate) fn lend(&self, permit: Permit) {
        let (gate, weight, ticket) = (Arc::clone(permit.gate()), permit.weight(), permit.ticket());
        let mut state = lock(&self.state);
        (state.gate, state.weight, state.ticket) = (Some(gate), weight, ticket);
        let before = state.permit.replace(Arc::new(permit));
        drop(state);
        drop(before);
    }

    /// Shares the permit with another owner. If it is returned to the gate, it is taken again, over the limit if necessary.
    pub(crate) fn share(&self) -> Option<Arc<Permit>> {
        loop {
            {
                let state = lock(&self.state);
                if let Some(permit) = &state.permit {
                    return Some(Arc::clone(permit));
                }
                state.away.as_ref()?;
            }
            // The body may pause again before the lock is taken, and return the permit that was just taken: then it is taken again.
            self.resume_over_limit();
        }
    }

    /// The handler waits for the client. The permit stays if it is shared with work, or if too many calls are without one.
    pub(crate) fn pause(&self) {
        let now = time::now();
        let mut state = lock(&self.state);
        if state.is_over {
            return;
        }
        // The permit is shared under this lock only, so the count cannot rise meanwhile.
        let Some(permit) = state.permit.take_if(|permit| Arc::strong_count(permit) == 1) else { return };
        let Some(away_guard) = Gate::count_away(permit.gate()) else {
            state.permit = Some(permit);
            return;
        };
        state.away = Some(Absence { since: now, _counted: away_guard });
        drop(state);
        // Dropping it wakes waiting calls, so it happens unlocked.
        drop(permit);
    }

    /// Takes a permit again, at once or after a wait in `waiter`. Also ready if no permit is needed.
    ///
    /// # Errors
    /// If the deadline leaves too little time; the call is cut.
    pub(crate) fn poll_resume(
        &self,
        waiter: &mut Option<Waiter>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unreported>> {
        let Some((gate, wanted)) = self.missing_permit() else {
            // The call may be over by now: release its position in the queue.
            *waiter = None;
            return Poll::Ready(Ok(()));
        };
        if waiter.is_none() {
            match Gate::readmit(&gate, wanted) {
                Ok(Admitted::Now(permit)) => {
                    self.resume(permit);
                    return Poll::Ready(Ok(()));
                }
                Ok(Admitted::Later(later)) => *waiter = Some(later),
                Err(refusal) => return Poll::Ready(Err(self.refuse(refusal.by(gate.instruments())))),
            }
        }
        let Some(waiting) = waiter else { return Poll::Ready(Ok(())) };
        let result = ready!(waiting.poll(cx));
        *waiter = None;
        Poll::Ready(match result {
            Ok(permit) => {
                self.resume(permit);
                Ok(())
            }
            Err(reason) => Err(self.refuse(gate.refuse(reason, wanted.deadline).by(gate.instruments()))),
        })
    }

    /// Takes a permit again, if one is free.
    pub(crate) fn try_resume(&self) {
        if let Some((gate, wanted)) = self.missing_permit() {
            if let Some(permit) = Gate::try_acquire(&gate, wanted.weight) {
                self.resume(permit);
            }
        }
    }

    /// Takes a permit again, over the limit if necessary.
    pub(crate) fn resume_over_limit(&self) {
        if let Some((gate, wanted)) = self.missing_permit() {
            self.resume(Gate::acquire_over_limit(&gate, wanted.weight));
        }
    }

    /// The gate and the request, if the call has no permit.
    fn missing_permit(&self) -> Option<(Arc<Gate>, PermitRequest)> {
        let state = lock(&self.state);
        state.away.as_ref()?;
        Some((Arc::clone(state.gate.as_ref()?), PermitRequest { weight: state.weight, ..self.wanted }))
    }

    fn resume(&self, permit: Permit) {
        let now = time::now();
        let mut permit = Some(permit);
        let mut state = lock(&self.state);
        if state.away.is_some() {
            state.end_absence(now);
            let ticket = state.ticket;
            state.permit = permit.take().map(|permit| Arc::new(permit.with_ticket(ticket)));
        }
        drop(state);
        // A call that is over, or has a permit by now, does not need this one. Dropping it wakes waiting calls, so it happens
        // unlocked.
        drop(permit);
    }

    fn refuse(&self, refusal: Unreported) -> Unreported {
        self.cut_with(refusal.rejected().clone());
        refusal
    }

    /// The body has failed the call. The client gets this refusal, whatever the handler returns.
    pub(crate) fn cut_with(&self, rejected: Rejected) {
        lock(&self.state).cut.get_or_insert(rejected);
    }

    pub(crate) fn cut(&self) -> Option<Rejected> {
        lock(&self.state).cut.clone()
    }

    /// Ends the upload: later waits for the client are ignored. Returns the permit, if it is not returned to the gate, and how long
    /// the call was without one.
    pub(crate) fn end(&self, now: Instant) -> (Option<Arc<Permit>>, Duration) {
        let mut state = lock(&self.state);
        state.is_over = true;
        state.end_absence(now);
        (state.permit.take(), state.was_away)
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::admission::gate::Order;
    use crate::algorithm::limit::Law;
    use crate::ground::layer_id::LayerKind;
    use crate::telemetry::Instruments;

    /// The body may be read by another task than the one that asks for the permit.
    #[test]
    fn shared_permit_is_there_however_often_the_body_pauses() {
        let gate = Arc::new(Gate::new(1, Order::Fifo));
        let upload = Upload::new();
        upload.lend(Gate::acquire_over_limit(&gate, 1));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    upload.pause();
                }
            });
            let missing = (0..100_000).filter(|_| upload.share().is_none()).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(missing, 0);
        });
    }

    /// Otherwise a service whose calls wait for their bodies would learn nothing.
    #[test]
    fn paused_call_keeps_its_ticket() {
        let law = Law::TwoPoint { objective: None };
        let gate = Gate::observed(law, 4, Order::Fifo.into(), Instruments::nameless(LayerKind::LoadShed));
        let wanted = PermitRequest::new(1, &scope::Context::NONE);
        let admitted = Gate::admit(Arc::new(gate), time::now(), wanted, 0, Duration::ZERO);
        let Ok(Admitted::Now(permit)) = admitted else { panic!("it is idle") };
        let ticket = permit.ticket();
        let upload = Upload::new();
        upload.lend(permit);
        upload.pause();
        assert!(upload.missing_permit().is_some());
        upload.try_resume();
        let (permit, _) = upload.end(time::now());
        assert!(ticket != CallTicket::default() && permit.is_some_and(|permit| permit.ticket() == ticket));
    }
}
