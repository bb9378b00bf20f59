//! A request body that waits for its client, and the permit of its call.
//!
//! A client that does not send what it has announced must not hold a place that others need. So a call whose handler waits for more
//! of the request body gives its permit back, and gets one again before the last of the body is handed on. Where no permit is
//! free, the call waits for one before all newcomers, but no longer than [`RESUME_WITHIN`]: then it takes one over the limit. It is
//! refused only if its deadline passes before that.
//!
//! - What comes before the end of the body is handed on with or without a permit. Otherwise an upload in many pieces would wait
//!   for a permit at each of them.
//! - A body that is dropped before its end, or fails, takes a permit at once, over the limit if need be: a drop cannot wait, and
//!   the handler goes on.
//! - A permit that work holds as well (see [`work`](crate::layers::permits::work)) is not given back: it would not come free, and the work
//!   may wait for the rest of the body, for which the call would wait for a second one. Work that asks for the permit while it is
//!   away has it taken at once.
//! - No more than [`Gate::MAX_AWAY`] calls for each permit are without one at a time: each of them holds memory, and may come back.
//!   Those beyond keep theirs while they wait.
//! - Time without a permit is no sample: it is the client's.
//!
//! The body and the gate do not know each other: [`Upload::offer`] hands the state from the service that wraps the body to the layer that is
//! called next, as an [attachment] of the call.

use std::sync::Arc as Shared;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::admission::gate::{Admitted, AwayGuard, Gate, Permit, PermitRequest, Waiter};
use crate::ground::error::Rejected;
use crate::ground::scope;
use crate::ground::scope::attachment::{self, Slot};
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::{self, Instant};
use crate::telemetry::Unreported;

/// How long a call whose body has come waits for a permit. It has begun, and may hold what those who have the permits wait for, such as a
/// connection of a pool: it must not wait for them for ever. And it is short beside the time that the upload has taken, yet long
/// enough for most permits to come free.
pub(crate) const RESUME_WITHIN: Duration = Duration::from_millis(50);

/// What a request body and the layer that admits its call share.
#[derive(Debug)]
pub(crate) struct Upload {
    wanted: PermitRequest,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None until the call is admitted, and where nothing admits calls.
    gate: Option<Arc<Gate>>,
    permit: Option<Arc<Permit>>,
    /// While the permit is given back.
    away: Option<Away>,
    was_away: Duration,
    weight: u32,
    /// The head of the answer is there, or the call was given up.
    is_over: bool,
    cut: Option<Rejected>,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    _counted: AwayGuard,
}

impl State {
    fn end_absence(&mut self, now: Instant) {
        if let Some(away) = self.away.take() {
            self.was_away += now.since(away.since);
        }
    }
}

impl Upload {
    /// Of a call that begins in the current context.
    pub(crate) fn new() -> Shared<Self> {
        let context = scope::current();
        let wanted =
            PermitRequest { weight: 0, priority: context.priority(), deadline: context.deadline, returning: true };
        Shared::new(Self { wanted, state: Mutex::new(State::default()) })
    }

    /// Runs `call`, which calls the next layer in, and offers it the permit's way through the body.
    pub(crate) fn offer<T>(upload: Shared<Self>, call: impl FnOnce() -> T) -> T {
        let _attached = attachment::attach(Slot::Upload, Some(&upload));
        call()
    }

    /// What the layer around us offers, if it does.
    #[inline]
    pub(crate) fn offered() -> Option<Shared<Self>> {
        attachment::take(Slot::Upload)
    }

    /// The call is admitted.
    pub(crate) fn lend(&self, permit: Permit) {
        let (gate, weight) = (Arc::clone(permit.gate()), permit.weight());
        let mut state = lock(&self.state);
        (state.gate, state.weight) = (Some(gate), weight);
        let before = state.permit.replace(Arc::new(permit));
        drop(state);
        drop(before);
    }

    /// Another holder of the permit, which is taken over the limit if it is away.
    pub(crate) fn share(&self) -> Option<Arc<Permit>> {
        self.resume_anyway();
        lock(&self.state).permit.clone()
    }

    /// The handler waits for the client. The permit stays if work holds it as well, or if too many calls are without.
    pub(crate) fn pause(&self) {
        let now = time::now();
        let mut state = lock(&self.state);
        if state.is_over {
            return;
        }
        // It is shared under this lock only.
        let Some(permit) = state.permit.take_if(|permit| Arc::strong_count(permit) == 1) else { return };
        let Some(away_guard) = Gate::count_away(permit.gate()) else {
            state.permit = Some(permit);
            return;
        };
        state.away = Some(Away { since: now, _counted: away_guard });
        drop(state);
        // It wakes those that wait for it.
        drop(permit);
    }

    /// A permit for what follows, at once or after a wait in `waiter`. Ready too where none is needed.
    ///
    /// # Errors
    /// If too little time is left; the call is cut.
    pub(crate) fn poll_resume(
        &self,
        waiter: &mut Option<Waiter>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unreported>> {
        let Some((gate, wanted)) = self.needs() else {
            // The call may be over by now: its place in the queue is another's.
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

    /// A permit for what follows, if one is free.
    pub(crate) fn try_resume(&self) {
        if let Some((gate, wanted)) = self.needs() {
            if let Some(permit) = Gate::try_acquire(&gate, wanted.weight) {
                self.resume(permit);
            }
        }
    }

    /// A permit for what follows, over the limit if need be.
    pub(crate) fn resume_anyway(&self) {
        if let Some((gate, wanted)) = self.needs() {
            self.resume(Gate::acquire_anyway(&gate, wanted.weight));
        }
    }

    /// The gate to ask for a permit, if the call is without.
    fn needs(&self) -> Option<(Arc<Gate>, PermitRequest)> {
        let state = lock(&self.state);
        state.away.as_ref()?;
        Some((Arc::clone(state.gate.as_ref()?), PermitRequest { weight: state.weight, ..self.wanted }))
    }

    fn resume(&self, permit: Permit) {
        let now = time::now();
        let mut permit = Some(Arc::new(permit));
        let mut state = lock(&self.state);
        if state.away.is_some() {
            state.end_absence(now);
            std::mem::swap(&mut state.permit, &mut permit);
        }
        drop(state);
        // A call that is over, or has one by now, needs none; to give it back wakes those that wait for it.
        drop(permit);
    }

    fn refuse(&self, refusal: Unreported) -> Unreported {
        self.cut_with(refusal.rejected().clone());
        refusal
    }

    /// The body has failed the call, and this is what the client is told, whatever the handler makes of it.
    pub(crate) fn cut_with(&self, rejected: Rejected) {
        lock(&self.state).cut.get_or_insert(rejected);
    }

    pub(crate) fn cut(&self) -> Option<Rejected> {
        lock(&self.state).cut.clone()
    }

    /// The call is over: from now on a wait for the client is nobody's. Returns the permit, if it is here, and how long it was
    /// away.
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
