use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tokio::runtime::Handle;
use tower::BoxError;

use super::carried::{Call, Carried};
use super::judge::Judge;
use super::slot::Slot;
use crate::admission::reaper::{self, Parked as _, Place};
use crate::ground::context::{self, Context};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Guard;
use crate::http::ByStatus;

/// After so many frames without a pause a body looks at the clock by itself.
const LOOKS_AFTER: u8 = 8;

/// The body of a response, with what a layer gave to the call in it.
///
/// It is the inner body in all that a reader sees: its frames, trailers, length and end. What the layer holds is given back when
/// the body ends, fails or is dropped; and when the call's time is over, **whether anyone polls the body or not**: then the
/// inner body is dropped, which closes its connection or resets its stream, a waiting reader is woken, and the next poll
/// yields the layer's [`Rejected`](crate::error::Rejected).
///
/// What it says about the callee:
///
/// | the body | verdict |
/// |---|---|
/// | comes to its end | that of the head, or of the trailers where the protocol has it there |
/// | fails | [`Lost`](crate::verdict::Verdict::Lost), or [`TimedOut`](crate::verdict::Verdict::TimedOut) by a timeout of the client |
/// | is cut while its reader waits for more | [`TimedOut`](crate::verdict::Verdict::TimedOut) |
/// | is cut while nobody reads | [`Abandoned`](crate::verdict::Verdict::Abandoned) |
/// | is dropped while its reader waits for more | [`Abandoned`](crate::verdict::Verdict::Abandoned), a slow call if that was late |
/// | is dropped otherwise | that of the head, if the head decides |
/// | is meant to go on ([`LongLived`](crate::http::LongLived)), and is cut at the end of its time, or dropped | that of the head |
///
/// Time counts as the callee's only while a reader has asked for more and waits, until it comes: a reader that is busy with other
/// things by then, as one in a `select!` may be, takes its own time. The time of the call is that to the head, or the longest single
/// wait if that is more; it does not grow with the length of the response. Of a response that is meant to go on it is that to the head.
///
/// **Cost:** a body that is empty costs nothing; any other two allocations, a place in the reaper's schedule, two short locks for a
/// frame and for each question (`is_end_stream`, `size_hint`), and one more for a frame that was waited for. Nothing is allocated for
/// a frame. No lock is held while the inner body or a waker is at work.
///
/// # Panics
/// A body panics, as tokio's timers do, if it has to wait outside a tokio runtime and was not made in one either: nothing could
/// end its wait.
#[pin_project(PinnedDrop)]
pub struct HeldBody<B, G, J = ByStatus>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    #[pin]
    kind: Kind<B, G, J>,
}

#[pin_project(project = KindProj)]
enum Kind<B, G: Guard, J: Judge> {
    /// The call was over with the head, or there is none.
    Over(#[pin] Option<B>),
    Held {
        slot: Arc<Slot<B, G, J>>,
        /// In the reaper's schedule; none where there is no reaper, and once there is nothing left to cut.
        place: Option<Place>,
        settled: bool,
        /// In the schedule of the runtime that it is read in, if that is another one: the first may exist and not be run by anybody.
        guest: Option<Place>,
        /// Frames that came without a pause.
        in_a_row: u8,
        /// That of the call.
        context: Context,
    },
}

impl<B, G, J> HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    pub(super) fn over(body: B) -> Self {
        Self { kind: Kind::Over(Some(body)) }
    }

    pub(super) fn new(body: B, call: Call<G, J>, now: Instant) -> Self {
        let expiry = call.expiry;
        let inherited = context::current();
        let deadline = inherited.deadline.map(|_| expiry.at);
        let context = inherited.with_deadline(deadline).with_end(None, false).with_enforced(deadline.is_some());
        let slot = Arc::new(Slot::new(Carried::new(body, call), expiry, now));
        let place = reaper::watch(Arc::clone(&slot) as _, slot.due());
        Self { kind: Kind::Held { slot, place, settled: false, guest: None, in_a_row: 0, context } }
    }
}

/// An empty body, for layers that answer by themselves.
impl<B, G, J> Default for HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn default() -> Self {
        Self { kind: Kind::Over(None) }
    }
}

impl<B, G, J> Body for HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let (slot, place, settled, guest, in_a_row, context) = match self.project().kind.project() {
            KindProj::Over(body) => {
                return body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx).map_err(Into::into));
            }
            KindProj::Held { slot, place, settled, guest, in_a_row, context } => {
                (slot, place, settled, guest, in_a_row, context)
            }
        };
        if *settled {
            return Poll::Ready(None);
        }
        if !place.as_ref().is_some_and(Place::is_watched) {
            *place = reaper::watch(Arc::clone(slot) as _, slot.due());
            if place.is_none() {
                slot.visit(time::now());
            }
        }
        *in_a_row += 1;
        if *in_a_row == LOOKS_AFTER {
            // A body that never pauses may keep the reaper from running, or its task from being begun at all.
            *in_a_row = 0;
            slot.cut_if_late(time::now());
        }
        let frame;
        (frame, *settled) = {
            let _entered = context::enter(*context);
            slot.poll_frame(cx)
        };
        if frame.is_pending() {
            *in_a_row = 0;
            let is_here = |place: &Option<Place>| place.as_ref().is_some_and(Place::is_here);
            if !is_here(place) && !is_here(guest) {
                *guest = reaper::watch(Arc::clone(slot) as _, slot.due());
            }
            let is_watched = |place: &Option<Place>| place.as_ref().is_some_and(Place::is_watched);
            if !is_watched(place) && !is_watched(guest) {
                // It would wait for ever. Panics in tokio's words where there is no runtime.
                drop(Handle::current());
            }
        } else if *settled {
            (*place, *guest) = (None, None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Over(body) => body.as_ref().is_none_or(B::is_end_stream),
            Kind::Held { settled: true, .. } => true,
            Kind::Held { slot, .. } => slot.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Over(body) => body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint),
            Kind::Held { settled: true, .. } => SizeHint::with_exact(0),
            Kind::Held { slot, .. } => slot.size_hint(),
        }
    }
}

#[pinned_drop]
impl<B, G, J> PinnedDrop for HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn drop(self: Pin<&mut Self>) {
        if let KindProj::Held { slot, .. } = self.project().kind.project() {
            slot.clear();
        }
    }
}

impl<B, G, J> fmt::Debug for HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settled = match &self.kind {
            Kind::Over(_) => true,
            Kind::Held { settled, .. } => *settled,
        };
        f.debug_struct("HeldBody").field("settled", &settled).finish_non_exhaustive()
    }
}
