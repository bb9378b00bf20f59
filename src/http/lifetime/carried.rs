use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower::BoxError;

use super::judge::Judge;
use super::pace::Paced;
use crate::ground::context;
use crate::ground::error::{Reason, rejection};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, Verdict};
use crate::http::transport;

/// A call that goes on in the body of its response.
#[derive(Debug)]
pub(super) struct Call<G, J> {
    pub(super) guard: G,
    pub(super) judge: J,
    /// What the head said.
    pub(super) head: Verdict,
    /// Whether that is all there is to say.
    pub(super) decided: bool,
    /// The response is meant to go on: it is judged by its head, and by an error if it ends in one.
    pub(super) lasts: bool,
    pub(super) expiry: Expiry,
}

impl<G: Guard, J> Call<G, J> {
    fn waited(&mut self, time: Duration) {
        if !self.lasts {
            self.guard.waited(time);
        }
    }

    /// What it says that the call's time is over, while its reader `waits` or does not. `None`: the reader has given it up.
    fn at_expiry(&self, waits: bool) -> Option<Verdict> {
        if self.lasts { Some(self.head) } else { waits.then_some(Verdict::TimedOut) }
    }
}

/// A body with the call that goes on in it.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub(super) struct Carried<B, G: Guard, J: Judge> {
    /// It goes before the call is settled: whoever gets the permit must not begin while the connection is still there.
    #[pin]
    body: Option<Paced<B>>,
    /// Gone once it is settled.
    call: Option<Call<G, J>>,
    /// Since when a reader waits for the callee.
    waiting_since: Option<Instant>,
}

impl<B, G: Guard, J: Judge> Carried<B, G, J> {
    pub(super) fn new(body: B, call: Call<G, J>) -> Self {
        Self { body: Some(Paced::new(body, call.expiry.pace)), call: Some(call), waiting_since: None }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.call.is_none()
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Something came for a reader that waits, if there is one: from then on the time is the reader's own, until it has looked.
    pub(super) fn came(self: Pin<&mut Self>, at: Option<Instant>) {
        let this = self.project();
        let (Some(since), Some(at)) = (*this.waiting_since, at) else { return };
        *this.waiting_since = None;
        if let Some(call) = this.call {
            call.waited(at.since(since));
        }
    }

    /// The call's time is over: the callee's fault if a reader waited for it.
    pub(super) fn cut(self: Pin<&mut Self>, now: Instant, reason: Reason) {
        let mut this = self.project();
        // Taken first, so that it comes to its end even if the body panics.
        let call = this.call.take();
        let is_idle = reason == Reason::IdleTimeout;
        if is_idle {
            context::cut_for_slowness(|| this.body.set(None));
        } else {
            this.body.set(None);
        }
        let Some(mut call) = call else { return };
        let waiting_since = this.waiting_since.take();
        if let Some(since) = waiting_since {
            call.waited(now.since(since));
        }
        let verdict = if is_idle { Some(Verdict::TimedOut) } else { call.at_expiry(waiting_since.is_some()) };
        if let Some(verdict) = verdict {
            call.guard.settle(verdict);
        }
    }
}

impl<B, G, J> Carried<B, G, J>
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
            // A reader that has not taken what it was given does not wait for the callee.
            if this.waiting_since.is_none() && !body.is_held_up() {
                *this.waiting_since = Some(time::now());
            }
            return Poll::Pending;
        };
        if let (Some(since), Some(call)) = (this.waiting_since.take(), this.call.as_mut()) {
            call.waited(time::now().since(since));
        }
        // A head that has said all is not unsaid by an end that says nothing.
        let silent = |call: &Call<G, J>| if call.decided { call.head } else { call.judge.at_end(call.head, None) };
        let end = |call: &Call<G, J>| match &frame {
            None => Some(silent(call)),
            Some(Err(error)) => Some(of_error(error)),
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => Some(call.judge.at_end(call.head, Some(trailers))),
                // Whoever sees that this was all does not poll again.
                None => body.is_end_stream().then(|| silent(call)),
            },
        };
        if let Some(verdict) = this.call.as_ref().and_then(end) {
            if let Some(call) = this.call.take() {
                call.guard.settle(verdict);
            }
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

/// The head was there, so the request was executed, and what it led to is lost; unless a layer further in says that it
/// was its doing, or the client that it has waited long enough.
fn of_error(error: &BoxError) -> Verdict {
    match rejection(error) {
        Some(rejected) => rejected.verdict(),
        None if transport::verdict(error) == Verdict::TimedOut => Verdict::TimedOut,
        None => Verdict::Lost,
    }
}

#[pinned_drop]
impl<B, G: Guard, J: Judge> PinnedDrop for Carried<B, G, J> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let is_cut = context::is_cut_for_slowness();
        let call = this.call.take();
        this.body.set(None);
        let Some(mut call) = call else { return };
        let now = time::now();
        if let Some(since) = *this.waiting_since {
            call.waited(now.since(since));
        }
        let waits = this.waiting_since.is_some();
        let verdict = if is_cut && waits {
            // By a layer further out, which has a bound for the waits.
            Some(Verdict::TimedOut)
        } else if call.expiry.at <= now {
            // It was cut by a layer further out, which had the same bound; or put aside until it was too late.
            call.at_expiry(waits)
        } else if call.lasts || !waits && call.decided {
            // Its reader has seen enough.
            Some(call.head)
        } else {
            None
        };
        if let Some(verdict) = verdict {
            call.guard.settle(verdict);
        }
    }
}
