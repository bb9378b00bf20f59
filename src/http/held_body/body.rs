use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower::BoxError;

use super::call::Call;
use super::holding::Holding;
use super::joining::{self, Find, Joinable};
use super::judge::Judge;
use crate::ground::time::Instant;
use crate::ground::verdict::Guard;
use crate::http::ByStatus;

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
/// | is cut while its reader does not wait, be it for a moment | [`Abandoned`](crate::verdict::Verdict::Abandoned), judged by the longest wait: a pause is the reader's own time |
/// | is dropped while its reader waits for more | [`Abandoned`](crate::verdict::Verdict::Abandoned), a slow call if that was late |
/// | is dropped otherwise | that of the head, if the head decides |
/// | is meant to go on ([`LongLived`](crate::http::LongLived)), and is cut at the end of its time, or dropped | that of the head |
///
/// Time counts as the callee's only while a reader has asked for more and waits, until it comes: a reader that is busy with other
/// things by then, as one in a `select!` may be, takes its own time. The time of the call is that to the head, or the longest single
/// wait if that is more; it does not grow with the length of the response. Of a response that is meant to go on it is that to the head.
///
/// The layers of a stack hold one body together: the innermost keeps it, and the others join. The table holds for each layer, and
/// they are told from the inside to the outside, when the body has gone. The first bound that is reached ends it for all, and the
/// refusal names the layer whose bound that was.
///
/// **Cost:** a body that is empty costs nothing; any other two allocations, a place in the reaper's schedule, two short locks for a
/// frame and for each question (`is_end_stream`, `size_hint`), and one more for a frame that was waited for. Each layer that joins
/// costs one small allocation more, and a deadline none. Nothing is allocated for a frame. No lock is held
/// while the inner body or a waker is at work. A layer does not join a body that somebody else has wrapped, that a reader waits for
/// already, that is handed out at another pace, or that four layers hold: then it holds the body in turn, at the full cost.
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
    /// There is nothing to hold, or a layer further in holds it, whose slot this one has joined: then `find` finds that.
    Passed {
        #[pin]
        body: Option<B>,
        find: Option<Find>,
    },
    Held(Holding<B, G, J>),
}

impl<B, G, J> HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    /// The call was over with the head.
    pub(super) fn over(body: B) -> Self {
        Self { kind: Kind::Passed { body: Some(body), find: None } }
    }

    /// The layer has joined the slot that `find` finds.
    pub(super) fn joined(body: B, find: Find) -> Self {
        Self { kind: Kind::Passed { body: Some(body), find: Some(find) } }
    }

    pub(super) fn new(body: B, call: Call<G, J>, now: Instant) -> Self {
        Self { kind: Kind::Held(Holding::new(body, call, now)) }
    }

    /// What can be joined by layers further out, if there is something.
    pub(super) fn joinable(&mut self) -> Option<&mut dyn Joinable> {
        match &mut self.kind {
            Kind::Held(holding) => Some(holding),
            Kind::Passed { body: Some(body), find: Some(find) } => find(body),
            Kind::Passed { .. } => None,
        }
    }

    /// The inner body, if nothing is held here.
    pub(crate) fn passed(mut self) -> Result<B, Self> {
        let passed = match &mut self.kind {
            Kind::Passed { body, .. } => body.take(),
            Kind::Held(_) => None,
        };
        passed.ok_or(self)
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
        Self { kind: Kind::Passed { body: None, find: None } }
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

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Passed { body, .. } => {
                body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx).map_err(Into::into))
            }
            KindProj::Held(holding) => holding.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.kind {
            Kind::Passed { body, .. } => body.as_ref().is_none_or(B::is_end_stream),
            Kind::Held(holding) => holding.is_end_stream(),
        };
        joining::asked(joining::find::<B, G, J>);
        is_over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body, .. } => body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint),
            Kind::Held(holding) => holding.size_hint(),
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
        if let KindProj::Held(holding) = self.project().kind.project() {
            holding.let_go();
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
            Kind::Passed { find, .. } => find.is_none(),
            Kind::Held(holding) => holding.is_settled(),
        };
        f.debug_struct("HeldBody").field("settled", &settled).finish_non_exhaustive()
    }
}
