use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::call::End;
use super::carried::CarriedBody;
use super::judge::Judge;
use super::layers::{Outer, Reached};
use crate::admission::reaper::{self, Parked, Visit};
use crate::ground::error::Rejected;
use crate::ground::scope;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard};
use crate::http::MethodAndPathKey;
use crate::layers::core::observed;
use crate::telemetry;

/// Keeps a body while it is not being polled, so that its owner and the reaper can both take it out.
///
/// Whichever takes the body out has it alone: to poll it, to query it, or to cut it. Afterwards it puts the body back
/// or drops it. So the lock is held only to move the body, and no foreign code runs under it.
pub(super) struct Slot<B, G: Guard, J: Judge> {
    state: Mutex<SlotState<B, G, J>>,
    /// When something came for a waiting reader, in nanoseconds; 0 until then. From that time on the reader is not
    /// waiting for the dependency, even if it is busy elsewhere.
    came_at: AtomicU64,
    /// When the head of the response came.
    since: Instant,
}

type PinnedBody<B, G, J> = Pin<Box<CarriedBody<B, G, J>>>;

enum SlotState<B, G: Guard, J: Judge> {
    /// `waker` is that of the last poll, unless it has been woken since => Taken | Cut | Over
    Kept { carried: PinnedBody<B, G, J>, waker: Option<Waker> },
    /// Its owner is polling or querying it => Kept | Cut | Over. `visited` is when the reaper came meanwhile: a body
    /// that is polled all the time would otherwise never be cut.
    Taken { waker: Option<Waker>, visited: Option<Instant> },
    /// The reaper has cut it, and its owner has not noticed yet => Over
    Cut(Rejected),
    /// Nothing more will come.
    Over,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Whether the call's resources have been released.
type IsSettled = bool;

impl<B, G: Guard, J: Judge> Slot<B, G, J> {
    /// Drop the previous state without holding the lock.
    #[must_use]
    fn replace(&self, state: SlotState<B, G, J>) -> SlotState<B, G, J> {
        std::mem::replace(&mut *lock(&self.state), state)
    }
}

impl<B, G, J> Slot<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    pub(super) fn new(carried: CarriedBody<B, G, J>, since: Instant) -> Self {
        let state = SlotState::Kept { carried: Box::pin(carried), waker: None };
        Self { state: Mutex::new(state), came_at: AtomicU64::new(0), since }
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether an outer layer may join. While a reader waits, its wait belongs to the layers that are there already.
    pub(super) fn admits(&self, expiry: &Expiry) -> bool {
        match &*lock(&self.state) {
            SlotState::Kept { carried, .. } => carried.waiting_since().is_none() && carried.layers().admits(expiry),
            SlotState::Cut(_) => true,
            SlotState::Taken { .. } | SlotState::Over => false,
        }
    }

    /// Adds the call of an outer layer. If the body has been cut, that call ends, too.
    pub(super) fn join(&self, outer: Outer, mut named: Option<MethodAndPathKey>) {
        let (late, cut) = match &mut *lock(&self.state) {
            SlotState::Kept { carried, .. } => (carried.as_mut().join(outer, &mut named), None),
            SlotState::Cut(rejected) => (Some(outer), Some(rejected.verdict())),
            SlotState::Taken { .. } | SlotState::Over => (Some(outer), None),
        };
        foreign(|| match (late, cut) {
            (Some(late), Some(verdict)) => late.end(None, End::CutFurtherIn(verdict)),
            (late, _) => drop((late, named)),
        });
    }

    /// When something came for a waiting reader, if it has. Reports each arrival once.
    fn came(&self) -> Option<Instant> {
        match self.came_at.swap(0, Ordering::AcqRel) {
            0 => None,
            nanos => Some(Instant::from_nanos(nanos)),
        }
    }

    /// Polls the body. Only its owner may do so. Once the call is settled, nothing is left that must be cut.
    pub(super) fn poll_frame(self: &Arc<Self>, cx: &mut Context<'_>) -> (Polled, IsSettled) {
        // The stored waker is usually the same, but comparing them would run foreign code, too.
        let mut reader = Some(foreign(|| cx.waker().clone()));
        let taken = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, SlotState::Over) {
                SlotState::Kept { carried, waker } => {
                    *state = SlotState::Taken { waker: std::mem::replace(&mut reader, waker), visited: None };
                    Ok(carried)
                }
                absent => Err(absent),
            }
        };
        let mut carried = match taken {
            Ok(carried) => carried,
            Err(SlotState::Cut(rejected)) => return (Poll::Ready(Some(Err(rejected.into()))), true),
            Err(_) => return (Poll::Ready(None), true),
        };
        foreign(|| drop(reader));
        carried.as_mut().came(self.came());
        let unwinding = Unwinding(self);
        let frame = foreign(|| {
            let slot_waker = Waker::from(Arc::clone(self));
            let _enforcing = scope::enforce(&slot_waker);
            carried.as_mut().poll_frame(&mut Context::from_waker(&slot_waker))
        });
        std::mem::forget(unwinding);
        // If a frame has settled the call, `is_end_stream` has said that this frame was the last.
        if carried.is_settled() || matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            let before = self.replace(SlotState::Over);
            foreign(|| drop((before, carried)));
            return (frame, true);
        }
        // The frame that was ready is handed on. The next poll yields the refusal.
        if let Some(carried) = self.put_back(carried, frame.is_ready()) {
            let (end, now) = (carried.layers().first_end(), time::now());
            let rejected = end.rejected(now).while_paused(true);
            let before = self.replace(SlotState::Cut(rejected.clone()));
            foreign(|| drop(before));
            self.cut(carried, end, &rejected, now);
        }
        (frame, false)
    }

    /// Puts the body back after its owner has used it. Returns it instead if its time is over and there is a frame to
    /// hand on. In that case no reader is waiting, and the caller must cut the body.
    fn put_back(&self, carried: PinnedBody<B, G, J>, hands_on: bool) -> Option<PinnedBody<B, G, J>> {
        let mut state = lock(&self.state);
        match &mut *state {
            SlotState::Taken { waker, visited }
                if !(hands_on && visited.is_some_and(|at| carried.layers().is_over(at))) =>
            {
                let waker = waker.take();
                *state = SlotState::Kept { carried, waker };
                None
            }
            // While the owner has the body, the state stays `Taken`: the other three states do not occur.
            SlotState::Taken { .. } | SlotState::Kept { .. } | SlotState::Cut(_) | SlotState::Over => Some(carried),
        }
    }

    fn cut(&self, mut carried: PinnedBody<B, G, J>, reached: Reached, rejected: &Rejected, now: Instant) {
        carried.as_mut().came(self.came());
        foreign(|| {
            let age = now.since(self.since);
            let request = carried.named().map(|named| (named.method(), named.path()));
            telemetry::body_cut(rejected, carried.is_parked(now, age), age, request);
            observed::request_publication();
            carried.as_mut().cut(now, reached, rejected);
        });
    }

    /// Drops the body, if it is still there. For the owner's drop.
    pub(super) fn clear(&self) {
        let mut before = self.replace(SlotState::Over);
        foreign(|| {
            if let SlotState::Kept { carried, .. } = &mut before {
                carried.as_mut().came(self.came());
            }
            drop(before);
        });
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.ask(|carried| carried.size_hint(), SizeHint::with_exact(0), SizeHint::default())
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ask(|carried| carried.is_end_stream(), true, false)
    }

    /// Queries the body, unlocked. The answer is `over` if the body has ended, and `unknown` if it is taken or cut.
    fn ask<T>(&self, question: impl FnOnce(&CarriedBody<B, G, J>) -> T, over: T, unknown: T) -> T {
        let carried = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, SlotState::Over) {
                SlotState::Kept { carried, waker } => {
                    *state = SlotState::Taken { waker, visited: None };
                    carried
                }
                SlotState::Over => return over,
                absent => {
                    *state = absent;
                    return unknown;
                }
            }
        };
        let unwinding = Unwinding(self);
        let answer = foreign(|| question(&carried));
        std::mem::forget(unwinding);
        // If the body is due by now, the reaper visits it again.
        let left = self.put_back(carried, false);
        foreign(|| drop(left));
        answer
    }
}

/// Empties the slot if the body panics: nothing is left to poll or to cut.
struct Unwinding<'a, B, G: Guard, J: Judge>(&'a Slot<B, G, J>);

impl<B, G: Guard, J: Judge> Drop for Unwinding<'_, B, G, J> {
    fn drop(&mut self) {
        let before = self.0.replace(SlotState::Over);
        foreign(|| drop(before));
    }
}

impl<B, G, J> Parked for Slot<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn visit(&self, now: Instant) -> Visit {
        // The refusal is built without the lock. So the body is checked again afterwards: a layer may have joined, or
        // the reader may have polled.
        let mut made: Option<(Reached, Rejected)> = None;
        let (carried, waker, reached, rejected) = loop {
            let mut state = lock(&self.state);
            let (reached, waits) = match &mut *state {
                SlotState::Kept { carried, .. } => {
                    let waiting_since = carried.waiting_since().filter(|_| self.came_at.load(Ordering::Acquire) == 0);
                    match carried.layers().look(now, waiting_since) {
                        Ok(reached) => (reached, waiting_since.is_some()),
                        Err(later) => return Visit::Again(later),
                    }
                }
                SlotState::Taken { visited, .. } => {
                    *visited = Some(now);
                    // The owner is using it now, and may not be at the next visit.
                    return Visit::Again(now + reaper::GRAIN);
                }
                SlotState::Cut(_) | SlotState::Over => return Visit::Done,
            };
            let Some((_, rejected)) = made.take_if(|(seen, _)| *seen == reached) else {
                drop(state);
                made = Some((reached, reached.rejected(now)));
                continue;
            };
            let rejected = rejected.while_paused(!waits);
            match std::mem::replace(&mut *state, SlotState::Cut(rejected.clone())) {
                SlotState::Kept { carried, waker } => break (carried, waker, reached, rejected),
                _ => return Visit::Done,
            }
        };
        // If the body panics while it is dropped, its reader must still be woken, or it would wait for ever.
        let cut = catch_unwind(AssertUnwindSafe(|| self.cut(carried, reached, &rejected, now)));
        if let Some(waker) = waker {
            foreign(|| waker.wake());
        }
        if let Err(panic) = cut {
            resume_unwind(panic);
        }
        Visit::Done
    }
}

/// Called when something came, or may have come: wakes the waiting reader.
impl<B, G, J> Wake for Slot<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = time::call_start();
        let _ = self.came_at.compare_exchange(0, now.as_nanos(), Ordering::AcqRel, Ordering::Relaxed);
        // Moved out, not cloned: a woken reader polls again and stores its waker then.
        let waker = match &mut *lock(&self.state) {
            SlotState::Kept { waker, .. } | SlotState::Taken { waker, .. } => waker.take(),
            SlotState::Cut(_) | SlotState::Over => None,
        };
        if let Some(waker) = waker {
            // The waker may be that of an outer layer's slot, which then needs no clock reading of its own.
            foreign(|| time::with_start(now, || waker.wake()));
        }
    }
}
