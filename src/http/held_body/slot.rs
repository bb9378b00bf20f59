use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::call::End;
use super::carried::Carried;
use super::judge::Judge;
use super::layers::{Outer, Reached};
use crate::admission::reaper::{self, Parked, Visit};
use crate::ground::error::Rejected;
use crate::ground::scope;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard};
use crate::layers::core::observed;
use crate::telemetry;

/// Where a body is kept while nobody polls it, so that its owner and the reaper can both take it out.
///
/// Whoever takes it out has it alone, and puts it back, or not: to poll it, to ask it something, or to cut it. So the lock is
/// held only to move it, and no foreign code runs under it.
pub(super) struct Slot<B, G: Guard, J: Judge> {
    state: Mutex<State<B, G, J>>,
    /// When something came for a reader that waits, in nanoseconds; 0 until it does. The reader may be busy with other things
    /// then, and the rest of the time is its own.
    came_at: AtomicU64,
    /// When the head of the response was there.
    since: Instant,
}

type Parcel<B, G, J> = Pin<Box<Carried<B, G, J>>>;

enum State<B, G: Guard, J: Judge> {
    /// `waker` is that of the last poll, unless it has been woken since => Taken | Cut | Over
    Kept { carried: Parcel<B, G, J>, waker: Option<Waker> },
    /// Its owner polls it, or asks it something => Kept | Cut | Over. `visited` is when the reaper came meanwhile, as it may each
    /// time where a body is always being polled.
    Taken { waker: Option<Waker>, visited: Option<Instant> },
    /// The reaper has taken it, and its owner does not know yet => Over
    Cut(Rejected),
    /// There is nothing more to come.
    Over,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Whether what the call holds has been given back.
type Settled = bool;

impl<B, G: Guard, J: Judge> Slot<B, G, J> {
    /// What was there before is to be dropped unlocked.
    #[must_use]
    fn replace(&self, state: State<B, G, J>) -> State<B, G, J> {
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
    pub(super) fn new(carried: Carried<B, G, J>, since: Instant) -> Self {
        let state = State::Kept { carried: Box::pin(carried), waker: None };
        Self { state: Mutex::new(state), came_at: AtomicU64::new(0), since }
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether a layer further out may join: while a reader waits, it waits for the layers that are there already.
    pub(super) fn admits(&self, expiry: &Expiry) -> bool {
        match &*lock(&self.state) {
            State::Kept { carried, .. } => carried.waiting_since().is_none() && carried.layers().admits(expiry),
            State::Cut(_) => true,
            State::Taken { .. } | State::Over => false,
        }
    }

    /// Adds the call of a layer further out. If the body has been cut, that call is over, too.
    pub(super) fn join(&self, outer: Outer) {
        let (late, cut) = match &mut *lock(&self.state) {
            State::Kept { carried, .. } => (carried.as_mut().join(outer), None),
            State::Cut(rejected) => (Some(outer), Some(rejected.verdict())),
            State::Taken { .. } | State::Over => (Some(outer), None),
        };
        foreign(|| match (late, cut) {
            (Some(late), Some(verdict)) => late.end(None, End::CutFurtherIn(verdict)),
            (late, _) => drop(late),
        });
    }

    /// When something came for a reader that waits, if it has. Told once.
    fn came(&self) -> Option<Instant> {
        match self.came_at.swap(0, Ordering::AcqRel) {
            0 => None,
            nanos => Some(Instant::from_nanos(nanos)),
        }
    }

    /// Polls the body, which nobody else can do. Once the call is settled nothing is left that would have to be cut.
    pub(super) fn poll_frame(self: &Arc<Self>, cx: &mut Context<'_>) -> (Polled, Settled) {
        // Mostly the same one is kept already, but to find that out is foreign code, too.
        let mut reader = Some(foreign(|| cx.waker().clone()));
        let taken = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, State::Over) {
                State::Kept { carried, waker } => {
                    *state = State::Taken { waker: std::mem::replace(&mut reader, waker), visited: None };
                    Ok(carried)
                }
                absent => Err(absent),
            }
        };
        let mut carried = match taken {
            Ok(carried) => carried,
            Err(State::Cut(rejected)) => return (Poll::Ready(Some(Err(rejected.into()))), true),
            Err(_) => return (Poll::Ready(None), true),
        };
        foreign(|| drop(reader));
        carried.as_mut().came(self.came());
        let unwinding = Unwinding(self);
        let frame = foreign(|| {
            let bell = Waker::from(Arc::clone(self));
            let _enforcing = scope::enforce(&bell);
            carried.as_mut().poll_frame(&mut Context::from_waker(&bell))
        });
        std::mem::forget(unwinding);
        // Settled by a frame, it has said that this was the last one.
        if carried.is_settled() || matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            let before = self.replace(State::Over);
            foreign(|| drop((before, carried)));
            return (frame, true);
        }
        // What was ready is handed on; there is no more after it.
        if let Some(carried) = self.put_back(carried, frame.is_ready()) {
            let (end, now) = (carried.layers().first_end(), time::now());
            let rejected = end.rejected(now).while_paused(true);
            let before = self.replace(State::Cut(rejected.clone()));
            foreign(|| drop(before));
            self.cut(carried, end, &rejected, now);
        }
        (frame, false)
    }

    /// Its owner has done with it. It is returned if its time is over and there is something to hand on, so that nobody waits
    /// for it now: it is to be cut.
    fn put_back(&self, carried: Parcel<B, G, J>, hands_on: bool) -> Option<Parcel<B, G, J>> {
        let mut state = lock(&self.state);
        match &mut *state {
            State::Taken { waker, visited }
                if !(hands_on && visited.is_some_and(|at| carried.layers().is_over(at))) =>
            {
                let waker = waker.take();
                *state = State::Kept { carried, waker };
                None
            }
            // Nobody takes from its owner what is not there.
            State::Taken { .. } | State::Kept { .. } | State::Cut(_) | State::Over => Some(carried),
        }
    }

    fn cut(&self, mut carried: Parcel<B, G, J>, reached: Reached, rejected: &Rejected, now: Instant) {
        carried.as_mut().came(self.came());
        foreign(|| {
            let age = now.since(self.since);
            telemetry::body_cut(rejected, carried.is_parked(now, age), age);
            observed::request_publication();
            carried.as_mut().cut(now, reached, rejected);
        });
    }

    /// Lets go of the body, if it is still there: its owner is gone.
    pub(super) fn clear(&self) {
        let mut before = self.replace(State::Over);
        foreign(|| {
            if let State::Kept { carried, .. } = &mut before {
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

    /// Asks the body, unlocked. It may be `over`; or be away, cut, or be asked by another thread, which is `unknown`.
    fn ask<T>(&self, question: impl FnOnce(&Carried<B, G, J>) -> T, over: T, unknown: T) -> T {
        let carried = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, State::Over) {
                State::Kept { carried, waker } => {
                    *state = State::Taken { waker, visited: None };
                    carried
                }
                State::Over => return over,
                absent => {
                    *state = absent;
                    return unknown;
                }
            }
        };
        let unwinding = Unwinding(self);
        let answer = foreign(|| question(&carried));
        std::mem::forget(unwinding);
        // If it is due by now, the reaper comes again for it.
        let left = self.put_back(carried, false);
        foreign(|| drop(left));
        answer
    }
}

/// A body that panics takes itself along: nothing is left to be polled, or to be cut.
struct Unwinding<'a, B, G: Guard, J: Judge>(&'a Slot<B, G, J>);

impl<B, G: Guard, J: Judge> Drop for Unwinding<'_, B, G, J> {
    fn drop(&mut self) {
        let before = self.0.replace(State::Over);
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
        // The refusal is made unlocked. So the body is looked at again afterwards: a layer may have joined, or the reader polled.
        let mut made: Option<(Reached, Rejected)> = None;
        let (carried, waker, reached, rejected) = loop {
            let mut state = lock(&self.state);
            let (reached, waits) = match &mut *state {
                State::Kept { carried, .. } => {
                    let waiting_since = carried.waiting_since().filter(|_| self.came_at.load(Ordering::Acquire) == 0);
                    match carried.layers().look(now, waiting_since) {
                        Ok(reached) => (reached, waiting_since.is_some()),
                        Err(later) => return Visit::Again(later),
                    }
                }
                State::Taken { visited, .. } => {
                    *visited = Some(now);
                    // Its owner is at work on it; the next time it may not be.
                    return Visit::Again(now + reaper::GRAIN);
                }
                State::Cut(_) | State::Over => return Visit::Done,
            };
            let Some((_, rejected)) = made.take_if(|(seen, _)| *seen == reached) else {
                drop(state);
                made = Some((reached, reached.rejected(now)));
                continue;
            };
            let rejected = rejected.while_paused(!waits);
            match std::mem::replace(&mut *state, State::Cut(rejected.clone())) {
                State::Kept { carried, waker } => break (carried, waker, reached, rejected),
                _ => return Visit::Done,
            }
        };
        // A body that panics when it is dropped must not leave its reader waiting for ever.
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

/// Something came, or may have: the reader that waits for it is woken.
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
        let now = scope::call_start();
        let _ = self.came_at.compare_exchange(0, now.as_nanos(), Ordering::AcqRel, Ordering::Relaxed);
        // Moved out, not cloned: a reader that has been woken polls again, and leaves its waker then.
        let waker = match &mut *lock(&self.state) {
            State::Kept { waker, .. } | State::Taken { waker, .. } => waker.take(),
            State::Cut(_) | State::Over => None,
        };
        if let Some(waker) = waker {
            // It may be that of a layer further out, which needs no reading of its own.
            foreign(|| scope::with_start(now, || waker.wake()));
        }
    }
}
