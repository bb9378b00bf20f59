use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::carried::Carried;
use super::judge::Judge;
use crate::admission::reaper::{self, Parked, Visit};
use crate::ground::context;
use crate::ground::error::{Reason, Rejected};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, lock};
use crate::ground::telemetry;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard};
use crate::middleware::observed;

/// Where a body is kept while nobody polls it, so that its owner and the reaper can both take it out.
///
/// Whoever takes it out has it alone, and puts it back, or not; so nothing foreign ever runs under the lock.
#[derive(Debug)]
pub(super) struct Slot<B, G: Guard, J: Judge> {
    state: Mutex<State<B, G, J>>,
    /// When something came for a reader that waits, in nanoseconds; 0 until it does. He may be busy with other things then, and
    /// the rest of the time is his own.
    came_at: AtomicU64,
    expiry: Expiry,
    /// When the head of the response was there.
    since: Instant,
}

#[derive(Debug)]
enum State<B, G: Guard, J: Judge> {
    /// => Taken | Cut | Over
    Kept { carried: Pin<Box<Carried<B, G, J>>>, waker: Option<Waker> },
    /// It is being polled => Kept | Cut | Over. `due` is set if the reaper came meanwhile, as it may each time where a body is
    /// always being polled.
    Taken { waker: Option<Waker>, due: Option<Rejected> },
    /// The reaper has taken it, and its owner does not know yet => Over
    Cut(Rejected),
    /// There is nothing more to come.
    Over,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Whether what the call holds has been given back.
type Settled = bool;

impl<B, G, J> Slot<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    pub(super) fn new(carried: Carried<B, G, J>, expiry: Expiry, since: Instant) -> Self {
        let state = State::Kept { carried: Box::pin(carried), waker: None };
        Self { state: Mutex::new(state), came_at: AtomicU64::new(0), expiry, since }
    }

    /// When the reaper has to look for the first time.
    pub(super) fn due(&self) -> Instant {
        self.expiry.idle.map_or(self.expiry.at, |idle| self.expiry.at.min(self.since + idle))
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
        let reader = cx.waker();
        let (mut carried, replaced) = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, State::Over) {
                State::Kept { carried, waker } => {
                    let (waker, replaced) = match waker {
                        Some(waker) if waker.will_wake(reader) => (waker, None),
                        replaced => (reader.clone(), replaced),
                    };
                    *state = State::Taken { waker: Some(waker), due: None };
                    (carried, replaced)
                }
                State::Cut(rejected) => return (Poll::Ready(Some(Err(rejected.into()))), true),
                State::Taken { .. } | State::Over => return (Poll::Ready(None), true),
            }
        };
        drop(replaced);
        carried.as_mut().came(self.came());
        let unwinding = Unwinding(&self.state);
        let frame = {
            let bell = Waker::from(Arc::clone(self));
            let _enforcing = context::enforce(&bell);
            carried.as_mut().poll_frame(&mut Context::from_waker(&bell))
        };
        std::mem::forget(unwinding);
        // Settled by a frame, it has said that this was the last one.
        if carried.is_settled() || matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            let taken = std::mem::replace(&mut *lock(&self.state), State::Over);
            drop((taken, carried));
            return (frame, true);
        }
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Over) {
            // What was ready is handed on; there is no more after it.
            State::Taken { due: Some(rejected), .. } if frame.is_ready() => {
                *state = State::Cut(rejected.clone());
                drop(state);
                self.cut(carried, &rejected, time::now());
                (frame, false)
            }
            // The waker is kept: mostly it is the same the next time.
            State::Taken { waker, .. } => {
                *state = State::Kept { carried, waker };
                (frame, false)
            }
            // Nobody takes it from us.
            State::Kept { .. } | State::Cut(_) | State::Over => (frame, true),
        }
    }

    fn cut(&self, mut carried: Pin<Box<Carried<B, G, J>>>, rejected: &Rejected, now: Instant) {
        carried.as_mut().came(self.came());
        telemetry::body_cut(rejected, carried.waiting_since().is_some(), now.since(self.since));
        observed::stir();
        carried.as_mut().cut(now, rejected.reason());
    }

    /// As the reaper would.
    pub(super) fn cut_if_late(&self, now: Instant) {
        if self.expiry.at <= now {
            self.visit(now);
        }
    }

    /// Lets go of the body, if it is still there: its owner is gone.
    pub(super) fn clear(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), State::Over);
        if let State::Kept { mut carried, .. } = state {
            carried.as_mut().came(self.came());
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &*lock(&self.state) {
            State::Kept { carried, .. } => carried.size_hint(),
            State::Over => SizeHint::with_exact(0),
            State::Taken { .. } | State::Cut(_) => SizeHint::default(),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match &*lock(&self.state) {
            State::Kept { carried, .. } => carried.is_end_stream(),
            State::Over => true,
            State::Taken { .. } | State::Cut(_) => false,
        }
    }
}

/// A body that panics takes itself along: nothing is left to be polled, or to be cut.
struct Unwinding<'a, B, G: Guard, J: Judge>(&'a Mutex<State<B, G, J>>);

impl<B, G: Guard, J: Judge> Drop for Unwinding<'_, B, G, J> {
    fn drop(&mut self) {
        let taken = std::mem::replace(&mut *lock(self.0), State::Over);
        drop(taken);
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
        let mut state = lock(&self.state);
        let waiting_since = match &*state {
            State::Kept { carried, .. } => {
                carried.waiting_since().filter(|_| self.came_at.load(Ordering::Acquire) == 0)
            }
            State::Taken { .. } => {
                if self.expiry.at <= now {
                    if let State::Taken { due, .. } = &mut *state {
                        // It is used only if there is something to hand on, and then nobody waits.
                        *due = Some(Rejected::by(self.expiry.source, self.expiry.reason).while_parked(true));
                    }
                }
                // It is not parked; the next time it may be.
                return Visit::Again(now + reaper::GRAIN);
            }
            State::Cut(_) | State::Over => return Visit::Done,
        };
        let reason = if self.expiry.at <= now {
            self.expiry.reason
        } else if let Some(idle) = self.expiry.idle {
            let idle_at = waiting_since.unwrap_or(now) + idle;
            if idle_at > now {
                return Visit::Again(idle_at.min(self.expiry.at));
            }
            Reason::IdleTimeout
        } else {
            return Visit::Again(self.expiry.at);
        };
        let rejected = Rejected::by(self.expiry.source, reason).while_parked(waiting_since.is_none());
        let State::Kept { carried, waker } = std::mem::replace(&mut *state, State::Cut(rejected.clone())) else {
            return Visit::Done;
        };
        drop(state);
        // A body that panics when it is dropped must not leave its reader waiting for ever.
        let cut = catch_unwind(AssertUnwindSafe(|| self.cut(carried, &rejected, now)));
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Err(panic) = cut {
            resume_unwind(panic);
        }
        Visit::Done
    }
}

/// Something came, or may have: whoever waits for it is woken.
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
        let waker = match &*lock(&self.state) {
            State::Kept { waker, .. } | State::Taken { waker, .. } => waker.clone(),
            State::Cut(_) | State::Over => None,
        };
        if let Some(waker) = waker {
            // It may be that of a layer further out, which needs no reading of its own.
            time::hand_over(now, || waker.wake());
        }
    }
}
