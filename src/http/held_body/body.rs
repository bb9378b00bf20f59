use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower::BoxError;

use super::call::HeldCall;
use super::holding::Holding;
use super::joining::{self, Asked, Joinable};
use super::judge::Judge;
use crate::ground::time::Instant;
use crate::ground::verdict::Guard;
use crate::http::{ByStatus, MethodAndPathKey};

/// The body of a response, which holds a layer's resources for the call until it ends.
///
/// Readers see the inner body: its frames, trailers, length and end. The layer's resources are released when the body
/// ends, fails or is dropped. They are also released when the call's time is over, **whether or not anything polls the
/// body**: the inner body is dropped, which closes its connection or resets its stream; a waiting reader is woken; and
/// the next poll yields the layer's [`Rejected`](crate::error::Rejected).
///
/// The verdict on the dependency:
///
/// | the body | verdict |
/// |---|---|
/// | ends | that of the head, or of the trailers if the protocol puts it there |
/// | fails | [`Lost`](crate::verdict::Verdict::Lost), or [`TimedOut`](crate::verdict::Verdict::TimedOut) if the client's own timeout ended it |
/// | is cut while its reader waits for more | [`TimedOut`](crate::verdict::Verdict::TimedOut) |
/// | is cut while its reader does not wait, even briefly | [`Abandoned`](crate::verdict::Verdict::Abandoned), judged by the longest wait: a pause is the reader's own time |
/// | is dropped while its reader waits for more | [`Abandoned`](crate::verdict::Verdict::Abandoned); counts as a slow call if the wait was too long |
/// | is dropped otherwise | that of the head, if the head decides |
/// | is long-lived ([`LongLived`](crate::http::LongLived)), and is cut at its own timeout, or dropped | that of the head |
///
/// The dependency is charged for time only while a reader has asked for more and nothing has come. Once something has
/// come, the time is the reader's, even if it is busy elsewhere, as in a `select!`. The time of the call is the time to
/// the head, or the longest single wait if that is longer. It does not grow with the length of the response. For a
/// long-lived response it is the time to the head.
///
/// The layers of a stack hold one body together: the innermost layer keeps it, and the others join. The table applies
/// to each layer. The guards are settled from the inside to the outside, after the body has been dropped. The first
/// bound that is reached ends the body for all layers, and the refusal names the layer that set that bound.
///
/// **Cost:** an empty body costs nothing. Any other body costs two allocations, an entry in the reaper's schedule, two
/// short locks for each frame and each query (`is_end_stream`, `size_hint`), and one more for a frame that was waited
/// for. Each layer that joins costs one more small allocation, except a deadline, which costs none. Frames cost no
/// allocation. No lock is held while the inner body or a waker runs. A layer does not join a body that foreign code has
/// wrapped, that a reader is waiting for already, that is handed out at another pace, or that four layers hold. It then
/// wraps the body in a slot of its own, at the full cost.
///
/// # Panics
/// A body panics, as tokio's timers do, if it has to wait outside a tokio runtime and was not made in one either.
/// Nothing could end its wait.
#[pin_project(PinnedDrop)]
pub struct HeldBody<B, G, J = ByStatus>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    #[pin]
    kind: HeldBodyKind<B, G, J>,
}

#[pin_project(project = HeldBodyKindProj)]
enum HeldBodyKind<B, G: Guard, J: Judge> {
    /// This layer holds nothing, or it has joined the slot of an inner layer, which `inner` finds.
    Passed {
        #[pin]
        body: Option<B>,
        inner: Option<Asked>,
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
    /// A body whose call was over with the head.
    pub(in crate::http) fn over(body: B) -> Self {
        Self { kind: HeldBodyKind::Passed { body: Some(body), inner: None } }
    }

    /// A body whose layer has joined the slot that `inner` finds.
    pub(super) fn joined(body: B, inner: Asked) -> Self {
        Self { kind: HeldBodyKind::Passed { body: Some(body), inner: Some(inner) } }
    }

    pub(super) fn new(body: B, call: HeldCall<G, J>, named: Option<MethodAndPathKey>, now: Instant) -> Self {
        Self { kind: HeldBodyKind::Held(Holding::new(body, call, named, now)) }
    }

    /// The slot that outer layers can join, if there is one.
    pub(super) fn joinable(&mut self) -> Option<&mut dyn Joinable> {
        match &mut self.kind {
            HeldBodyKind::Held(holding) => Some(holding),
            HeldBodyKind::Passed { body: Some(body), inner: Some(inner) } => inner.find(body),
            HeldBodyKind::Passed { .. } => None,
        }
    }

    /// The inner body, if this layer holds nothing.
    pub(crate) fn passed(mut self) -> Result<B, Self> {
        let passed = match &mut self.kind {
            HeldBodyKind::Passed { body, .. } => body.take(),
            HeldBodyKind::Held(_) => None,
        };
        passed.ok_or(self)
    }
}

/// The slot that can be joined in a held body of this type.
fn joinable<B, G, J>(body: &mut dyn Any) -> Option<&mut dyn Joinable>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    body.downcast_mut::<HeldBody<B, G, J>>()?.joinable()
}

/// An empty body, for layers that make responses of their own.
impl<B, G, J> Default for HeldBody<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn default() -> Self {
        Self { kind: HeldBodyKind::Passed { body: None, inner: None } }
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
            HeldBodyKindProj::Passed { body, .. } => {
                body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx).map_err(Into::into))
            }
            HeldBodyKindProj::Held(holding) => holding.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.kind {
            HeldBodyKind::Passed { body, .. } => body.as_ref().is_none_or(B::is_end_stream),
            HeldBodyKind::Held(holding) => holding.is_end_stream(),
        };
        joining::asked(joinable::<B, G, J>);
        is_over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            HeldBodyKind::Passed { body, .. } => body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint),
            HeldBodyKind::Held(holding) => holding.size_hint(),
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
        if let HeldBodyKindProj::Held(holding) = self.project().kind.project() {
            holding.release();
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
            HeldBodyKind::Passed { inner, .. } => inner.is_none(),
            HeldBodyKind::Held(holding) => holding.is_settled(),
        };
        f.debug_struct("HeldBody").field("settled", &settled).finish_non_exhaustive()
    }
}
