use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower::BoxError;

use super::call::{End, HeldCall};
use super::judge::Judge;
use super::layers::{Layers, Outer, Reached};
use super::pace::Paced;
use crate::ground::error::{Reason, Rejected};
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Guard;
use crate::http::MethodAndPathKey;

/// The shortest pause after which a reader counts as having stopped. A busy runtime may delay an active reader for some
/// tens of milliseconds. A body with less time than this never counts as parked: it could not have been kept for long.
const PUT_ASIDE: Duration = Duration::from_millis(100);

/// A body with the calls that go on in it.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub(super) struct CarriedBody<B, G: Guard, J: Judge> {
    /// Dropped before the calls are settled: otherwise the next call could get the permit while the connection is still
    /// in use.
    #[pin]
    body: Option<Paced<B>>,
    /// The call of the innermost layer. `None` once the calls are settled.
    call: Option<HeldCall<G, J>>,
    layers: Layers,
    /// What names the request, if a layer knows that.
    named: Option<MethodAndPathKey>,
    /// Since when a reader has been waiting for the dependency.
    waiting_since: Option<Instant>,
    /// Since when the reader has not been waiting: since its last poll, or since something came for it after that.
    turn_since: Instant,
    /// The beginning and the end of a wait that seemed to be over.
    ended: Option<(Instant, Instant)>,
}

impl<B, G: Guard, J: Judge> CarriedBody<B, G, J> {
    pub(super) fn new(body: B, call: HeldCall<G, J>, named: Option<MethodAndPathKey>, now: Instant) -> Self {
        let (body, layers) = (Some(Paced::new(body, call.expiry.pace)), Layers::new(call.expiry));
        Self { body, call: Some(call), layers, named, waiting_since: None, turn_since: now, ended: None }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.call.is_none()
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether the body was put aside by `now`, `age` after its head: it has not been polled in the second half of that
    /// time, nor in the last [`PUT_ASIDE`]. A reader between two polls polls again after a while, however busy it is. A
    /// forgotten response has usually not been polled since its head.
    pub(super) fn is_parked(&self, now: Instant, age: Duration) -> bool {
        self.waiting_since.is_none() && now.since(self.turn_since) >= PUT_ASIDE.max(age / 2)
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(super) fn named(&self) -> Option<&MethodAndPathKey> {
        self.named.as_ref()
    }

    /// See [`Layers::join`]. Takes what names the request, unless an inner layer has set that. The caller drops the rest without a lock.
    pub(super) fn join(self: Pin<&mut Self>, outer: Outer, named: &mut Option<MethodAndPathKey>) -> Option<Outer> {
        let this = self.project();
        if this.named.is_none() {
            *this.named = named.take();
        }
        this.layers.join(outer)
    }

    /// Ends a reader's wait at the time when something came. From then on, until its next poll, the time is the
    /// reader's own.
    pub(super) fn came(self: Pin<&mut Self>, at: Option<Instant>) {
        let this = self.project();
        let (Some(since), Some(at)) = (*this.waiting_since, at) else { return };
        *this.waiting_since = None;
        *this.turn_since = at;
        *this.ended = Some((since, at));
        waited(this.call.as_mut(), this.layers, at.since(since));
    }

    /// Cuts the body at a layer's bound. It is the dependency's fault if a reader was waiting.
    pub(super) fn cut(self: Pin<&mut Self>, now: Instant, reached: Reached, rejected: &Rejected) {
        let mut this = self.project();
        // Taken first, so that its guard is dropped even if the body panics.
        let call = this.call.take();
        let for_slowness = rejected.reason() == Reason::IdleTimeout;
        if for_slowness {
            scope::cutting_idle(|| this.body.set(None));
        } else {
            this.body.set(None);
        }
        let Some(mut call) = call else { return };
        let waiting_since = this.waiting_since.take();
        if let Some(since) = waiting_since {
            waited(Some(&mut call), this.layers, now.since(since));
        }
        let waits = waiting_since.is_some();
        let end = |layer: usize| {
            if layer < reached.layer {
                End::Dropped { now, waits, for_slowness }
            } else if layer == reached.layer {
                End::Cut { reason: rejected.reason(), waits }
            } else {
                End::CutFurtherIn(rejected.verdict())
            }
        };
        call.end(end(0));
        this.layers.end(None, end);
    }
}

fn waited<G: Guard, J: Judge>(call: Option<&mut HeldCall<G, J>>, layers: &mut Layers, time: Duration) {
    if let Some(call) = call {
        call.waited(time);
        layers.waited(time);
    }
}

impl<B, G, J> CarriedBody<B, G, J>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    pub(super) fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
            if this.waiting_since.is_none() {
                let now = time::now();
                *this.turn_since = now;
                // A reader that still holds earlier pieces does not wait for the dependency.
                if !body.is_held_up() {
                    // If nothing had come, the same wait continues, without the time that the reader took to poll.
                    *this.waiting_since =
                        Some(this.ended.take().map_or(now, |(since, until)| since + now.since(until)));
                }
            }
            return Poll::Pending;
        };
        *this.ended = None;
        let mut reading = None;
        if let Some(since) = this.waiting_since.take() {
            let now = *reading.insert(time::now());
            waited(this.call.as_mut(), this.layers, now.since(since));
        }
        let is_last = match &frame {
            None | Some(Err(_)) => true,
            // A reader that sees the end here does not poll again.
            Some(Ok(frame)) => frame.is_trailers() || body.is_end_stream(),
        };
        if let Some(call) = this.call.take_if(|_| is_last) {
            // One clock reading serves all layers.
            let reading = reading.or_else(|| this.layers.has_calls().then(time::now));
            call.end_at(reading, End::Read(&frame));
            this.layers.end(reading, |_| End::Read(&frame));
        } else {
            *this.turn_since = reading.unwrap_or_else(time::now);
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Paced::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Paced::size_hint)
    }
}

#[pinned_drop]
impl<B, G: Guard, J: Judge> PinnedDrop for CarriedBody<B, G, J> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let for_slowness = scope::is_cutting_idle();
        let call = this.call.take();
        this.body.set(None);
        // Without the call, the others have been settled, or the body has panicked when it was cut.
        let Some(mut call) = call else { return };
        let now = time::now();
        if let Some(since) = *this.waiting_since {
            waited(Some(&mut call), this.layers, now.since(since));
        }
        let end = End::Dropped { now, waits: this.waiting_since.is_some(), for_slowness };
        call.end_at(Some(now), end);
        this.layers.end(Some(now), |_| end);
    }
}
